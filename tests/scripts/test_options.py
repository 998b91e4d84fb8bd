"""scripts/options.py: docs/options.md has the options and the sizes as they are."""

from __future__ import annotations

from dataclasses import fields

from fairseq_plugins.listing import listed
from fairseq_plugins.options import MaskOptions
from one_layer_lt import MaskConfig
from scripts import options


def test_the_page_lists_options_and_sizes_as_they_are() -> None:
    page = options.PAGE.read_text()
    for command, table in options.tables().items():
        assert f"<!-- table: {command} -->\n{table}\n<!-- end of table -->" in page, f"run: {options.COMMAND}"


def test_a_size_is_what_its_arch_builds() -> None:
    sizes = options.tables()[f"{options.COMMAND}, sizes"]
    assert "| `one_layer_masked_small` | 256 | 1,024 | 4 | 3+3 |" in sizes.splitlines()


def test_a_setting_of_masks_is_named_with_its_options() -> None:
    settings = options.tables()[f"{options.COMMAND}, settings"].splitlines()
    assert [line.split("`")[1] for line in settings[2:]] == [field.name for field in fields(MaskConfig)]
    assert "| `drop` | `--frozen-dropped` |  |" in settings
    assert "| `rescale` | `--mask-rescale` | `--rescale` |" in settings


def test_every_option_is_listed_once_and_explained() -> None:
    own, others = listed()
    names = [f"--{option.name.replace('_', '-')}" for option in fields(MaskOptions) if option.name != "_name"]
    assert [option.flag for option in own] == names
    assert all(option.text for option in own)
    by_flag = {option.flag: option for option in own + others}
    assert by_flag["--mask-rule"].default == "edge_popup"
    assert by_flag["--dense"].default == "off"
    assert by_flag["--keep"].default == ""  # the rule's
    assert by_flag["--encoder-layers"].default == "6"  # the arch's
    assert by_flag["--share-decoder-input-output-embed"].default == "on"
