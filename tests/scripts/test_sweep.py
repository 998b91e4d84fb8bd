"""scripts/sweep.py and scripts/tables.py: what a study means, and one whole run of fairseq."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from data_prep.lib.errors import DataError
from data_prep.lib.subwords import Subword
from scripts import plots, sweep, tables
from tests.plugin.running import SIZE, prepared

STUDY = """
title = "Toys"
data = "data-bin/toy"
seeds = [1, 2]

[flags]
arch = "one_layer_masked_tiny"
lr = 1e-3
dropout = 0.1

[runs]
"reference" = {}
"lr 5e-4, no dropout" = { lr = 5e-4, dropout = false, seeds = [7] }
"dense" = { dense = true, splits = ["valid", "test"], last = 3, lenpen = [1, 1.5] }
"""


def study(folder: Path, text: str = STUDY) -> Path:
    path = folder / "toys.toml"
    path.write_text(text)
    return path


def test_runs_change_the_flags_and_settings_of_their_study(tmp_path: Path) -> None:
    runs = sweep.read_study(study(tmp_path))
    slugs = ["reference-s1", "reference-s2", "lr-5e-4-no-dropout-s7", "dense-s1", "dense-s2"]
    assert [run.slug for run in runs] == slugs
    assert runs[2].flags == {"arch": "one_layer_masked_tiny", "lr": 5e-4, "dropout": False}
    command = " ".join(runs[2].command())
    assert "--dropout" not in command
    assert "--lr 0.0005 --seed 7 --mask-seed 7" in command
    assert command.endswith("--save-dir runs/toys/lr-5e-4-no-dropout-s7")
    dense = runs[4]
    assert "--dense --seed 2 --num-workers" in " ".join(dense.command())  # nothing is masked
    assert (dense.splits, dense.last, dense.lenpen) == (("valid", "test"), 3, (1, 1.5))
    assert (runs[0].splits, runs[0].last, runs[0].lenpen) == (("valid",), None, (1.0,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr = ", "is no TOML"),
        ("lr = 1\n[runs.a]", "unknown key 'lr'; flags of fairseq-train go under"),
        ('data = "x"', r"has no \[runs\]"),
        ("[runs]\na = {}", "the run 'a' has no data"),
        ('data = "x"\n[runs]\na = 1', "the run 'a' must be a table of flags"),
        ('data = "x"\n[runs]\n"a b" = {}\n"a-b" = {}', "'a b' would share its files"),
    ],
)
def test_bad_studies_are_named(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"toys\.toml.*{expected}"):
        sweep.read_study(study(tmp_path, text))
    with pytest.raises(DataError, match=r"no such study: .*none\.toml"):
        sweep.read_study(tmp_path / "none.toml")


def result(bleu: float, perplexity: float) -> dict[str, Any]:
    score = {"bleu": {"score": bleu, "signature": "nrefs:1"}, "checkpoint": {"updates": 400}}
    curve = {"valid": [[100, 2 * perplexity], [400, perplexity]], "train": []}
    return {"command": "", "curve": curve, "valid": score, "seconds": 90, "size": {"weights": 8, "bytes": 12_345}}


def test_runs_are_chosen_by_name_or_by_one_seed(tmp_path: Path) -> None:
    runs = sweep.read_study(study(tmp_path))
    slugs = [run.slug for run in sweep.chosen(runs, ["dense", "reference-s2", "dense-s1"])]
    assert slugs == ["dense-s1", "dense-s2", "reference-s2"]
    with pytest.raises(DataError, match=r"unknown run .reference-s3.; choose of: reference; lr 5e-4"):
        sweep.chosen(runs, ["dense", "reference-s3"])


def test_page_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    path = study(tmp_path)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    kept = {"reference-s1": result(20, 9), "reference-s2": result(22, 11), "dense-s2": result(30.5, 5)}
    kept["lr-5e-4-no-dropout-s7"] = {"command": "", "diverged": "FloatingPointError: gradients are Nan/Inf"}
    for name, value in kept.items():
        sweep.keep(tmp_path / "results" / "toys" / f"{name}.json", value)
    page = list(tables.page(path, tables.rows_of(path)))
    links = "[1](toys/reference-s1.json) [2](toys/reference-s2.json)"
    assert f"| reference | 400 | {links} | 10.00 ± 1.41 | 21.00 ± 1.41 |  | 12 | 2 |" in page
    assert "| dense | 400 | [2](toys/dense-s2.json) | 5.00 | 30.50 | +9.50 | 12 | 2 |" in page
    assert "| lr 5e-4, no dropout |  | [7](toys/lr-5e-4-no-dropout-s7.json) | diverged |  |  |  |  |" in page


def test_models_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tables, "STUDIES", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    text = STUDY.replace("last = 3, lenpen = [1, 1.5]", "bits = [8]")
    path = study(tmp_path, text).rename(tmp_path / "sizes.toml")
    for seed, bleu in ((1, 30.0), (2, 32.0)):
        masked, dense = result(bleu - 5, 9), result(bleu, 5)
        for one in (masked, dense):
            one["test"] = one["valid"] | {"tokenised_bleu": None, "exact_match": 0.125}
        dense["int8"] = {"test": dense["test"] | {"bleu": {"score": bleu - 1}}, "size": {"bytes": 4000}}
        sweep.keep(tmp_path / "results" / "sizes" / f"reference-s{seed}.json", masked)
        sweep.keep(tmp_path / "results" / "sizes" / f"dense-s{seed}.json", dense)
    points = list(tables.sized(tables.rows_of(path)))
    assert points == [
        plots.Sized("reference", "masked, ticket", 12_345, 26.0),
        plots.Sized("dense", "dense, float32", 12_345, 31.0),
        plots.Sized("dense", "dense, 8 bits", 4000, 30.0),
    ]
    lines = list(tables.by_size(points, best=33.4))  # of which nine tenths are 30.06
    assert "| dense | dense, 8 bits | 4 | 30.00 | 89.8% |" in lines
    found = ["- masked, ticket: none", "- dense, float32: 12,345 bytes (dense)", "- dense, 8 bits: none"]
    assert lines[-4:-1] == found
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    assert {file.name for file in (tmp_path / "results").glob("*.*")} == {"sizes.md", "sizes.png", "sizes-bytes.png"}
    assert "| 26.00 ± 1.41 | 12.5% |" in (tmp_path / "results" / "sizes.md").read_text()
    dense_first = tables.rows_of(path)[::-1]
    page = "\n".join(tables.page(path, dense_first))
    assert "| 31.00 ± 1.41 |  |" in page
    assert "| -5.00 | 26.00 ± 1.41 | 83.9% |" in page


def test_a_run_is_trained_scored_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60))
    size = dict(zip((flag.removeprefix("--") for flag in SIZE[::2]), SIZE[1::2]))
    flags = {"arch": "one_layer_masked_tiny", **size, "optimizer": "adam", "lr": "5e-3", "max-update": 4}
    flags["required-batch-size-multiple"] = 1
    flags |= {"max-tokens": 200, "criterion": "label_smoothed_cross_entropy", "no-epoch-checkpoints": True}
    run = sweep.Run("toys", "a run", 1, flags, str(data), ("valid",), beam=2, lenpen=(1.0, -2.0), last=None)
    monkeypatch.setattr(sweep, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sweep.Run, "folder", tmp_path / "run")
    assert sweep.make(run, threads=1).startswith("valid perplexity")
    kept = json.loads(run.result.read_text())
    assert kept["valid"]["checkpoint"]["updates"] == 4
    assert kept["valid"]["sentences"] == 4
    assert kept["valid"]["bleu"]["score"] == max(kept["lenpen"].values())
    assert kept["lenpen"][f"{kept['valid']['lenpen']:g}"] == max(kept["lenpen"].values())
    assert 0 < kept["size"]["bytes"] < kept["size"]["weights"]  # less than a byte a weight
    assert [file.name for file in (tmp_path / "run").glob("*.pt")] == ["checkpoint_best.pt"]
    assert sweep.make(run, threads=1) == "kept"
    other = sweep.Run("toys", "a run", 1, {**flags, "lr": 1}, str(data), ("valid",), beam=1, lenpen=(1.0,), last=None)
    with pytest.raises(DataError, match=r"a-run-s1\.json is of other flags"):
        sweep.make(other, threads=1)
