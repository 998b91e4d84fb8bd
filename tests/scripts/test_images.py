"""Studies of networks for images: scripts/images.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from one_layer_lt.cli import call
from one_layer_lt.cli.parser import Parser
from one_layer_lt.cli.vision import add_arguments
from one_layer_lt.errors import UserError
from one_layer_lt.vision.recipes import Recipe, recipe_of
from scripts import images, results, study, sweep, tables
from scripts.study import STUDIES, Run, read_study

STUDY = """
kind = "vision"

[flags]
recipe = "digits"
epochs = 2

[runs]
"masks" = { keep = 0.3, seeds = [1, 2] }
"dense" = { dense = true }
"elsewhere" = { data = "data/none", recipe = "mnist-conv2", scale-fan = true, bf16 = false }
"""


def written(folder: Path, text: str = STUDY) -> Path:
    path = folder / "nets.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", ["vision", "toys"])
def test_the_command_trains_the_recipe_that_the_tables_show(path: str, tmp_path: Path) -> None:
    for run in read_study(STUDIES / "vision.toml" if path == "vision" else written(tmp_path)):
        parser = Parser()
        add_arguments(parser)
        args = vars(parser.parse_args(run.command()[2:]))
        settings = {name: args[name] for name in Recipe.__dataclass_fields__ if args[name] is not None}
        assert recipe_of(args["recipe"], settings) == images.recipe(run)
        assert args["out"] == run.folder
        assert str(args["root"] or "") == run.data


def test_bad_studies_of_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nets\.toml: unknown key 'beam'"):
        read_study(written(tmp_path, "beam = 4\n" + STUDY))
    with pytest.raises(UserError, match=r"nets\.toml: unknown kind 'sound'; choose of fairseq, vision"):
        read_study(written(tmp_path, STUDY.replace('"vision"', '"sound"')))


def test_runs_are_trained_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(Run, "folder", property(lambda run: tmp_path / "runs" / run.slug))
    monkeypatch.setattr(sweep.process, "run", lambda command, **_: call(command[1:]))  # in this process
    path = written(tmp_path)
    masks, _, dense, _ = read_study(path)
    assert sweep.make(masks, threads=1).startswith("test accuracy ")
    sweep.make(dense, threads=1)
    assert sweep.make(masks, threads=1) == "kept"
    kept, other = (json.loads(run.result.read_text()) for run in (masks, dense))
    assert [epoch for epoch, _ in kept["curve"]["test"]] == [epoch for epoch, _ in kept["curve"]["train"]] == [1, 2]
    assert kept["test"]["accuracy"] == kept["curve"]["test"][-1][1] > 0.5
    weights = 64 * 300 + 300 * 100 + 100 * 10
    assert kept["size"]["weights"] == weights
    assert 0 < kept["size"]["bytes"] < weights / 7
    assert other["size"] == {"weights": weights, "bytes": 4 * weights}
    assert (kept["settings"], kept["added"], kept["inputs"], kept["threads"]) == ({}, [], {}, 1)
    assert kept.keys() == other.keys()
    assert (masks.folder / "checkpoint.pt").is_file()
    page = tables.draw(path, tables.rows_of(path), tmp_path).read_text().splitlines()
    assert "| run | network | rule | keep | epochs | seeds | results | test accuracy | file, kB | minutes |" in page
    (line,) = (line for line in page if line.startswith("| masks |"))
    shown = f"{100 * kept['test']['accuracy']:.2f}%"
    assert f"| lenet_300_100 | edge_popup | 0.3 | 2 | 1 | [1](nets/masks-s1.json) | {shown} |" in line
    assert any(line.startswith("| dense | lenet_300_100 | dense |  | 2 |") for line in page)
    assert (tmp_path / "nets.png").stat().st_size > 1000
    assert results.RESULTS not in masks.result.parents


def test_images_are_asked_for_where_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sweep.py", str(written(tmp_path)), "elsewhere"])
    with pytest.raises(UserError, match=r"^data/none is missing: put the images there$"):
        sweep.main()


def test_the_images_files_are_told_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "ROOT", tmp_path)
    for name, text in (("a", "1"), ("b", "2"), ("whole", "12")):
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        (tmp_path / name).rename(tmp_path / "folder" / name)
    folder, file, none = (Run("nets", "a", 1, {}, data, kind="vision") for data in ("folder", "whole", ""))
    assert images.inputs(folder) == images.inputs(file) != images.inputs(none) == {}
    assert study.KINDS["vision"].keys() == {"data", "seeds"}
