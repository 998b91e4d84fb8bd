"""scripts/options.py: the README's table is what the options give."""

from __future__ import annotations

from dataclasses import fields

from fairseq_plugins.listing import listed
from fairseq_plugins.options import MaskOptions
from scripts import options
from scripts.results import ROOT


def test_the_readme_lists_the_options_as_they_are() -> None:
    _, found, rest = (ROOT / "README.md").read_text().partition(f"<!-- table: {options.COMMAND} -->\n")
    assert found
    table, _, _ = rest.partition("\n<!-- end of table -->")
    assert table == options.table(), f"run: {options.COMMAND}"


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
