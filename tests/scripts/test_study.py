"""scripts/study.py: what a study means."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from one_layer_lt.errors import UserError
from scripts import study
from scripts.study import chosen, read_study

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


def write(folder: Path, text: str = STUDY) -> Path:
    path = folder / "toys.toml"
    path.write_text(text)
    return path


def test_runs_change_the_flags_and_settings_of_their_write(tmp_path: Path) -> None:
    runs = read_study(write(tmp_path))
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
        ("lr = 1\n[runs.a]", "unknown key 'lr'; flags of the training go under"),
        ('data = "x"', r"has no \[runs\]"),
        ("[runs]\na = {}", "the run 'a' has no data"),
        ('data = "x"\n[runs]\na = 1', "the run 'a' must be a table of flags"),
        ('data = "x"\n[runs]\n"a b" = {}\n"a-b" = {}', "'a b' would share its files"),
        ('data = "x"\n[runs]\na = {bits = 4}', "the run 'a' has bits, but is not dense"),
        ('data = "x"\n[runs]\na = {dense = true, bits = [4, 16]}', "the run 'a' asks for 16 bits: they must be from 2"),
        ('data = "x"\n[runs]\na = {dense = true, train-bits = "x"}', "the run 'a' asks for x bits"),
        ('data = "x"\n[runs]\na = {dense = true, train-bits = 2, bits = 4}', "the run 'a' has bits and train-bits"),
    ],
)
def test_bad_studies_are_named(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"toys\.toml.*{expected}"):
        read_study(write(tmp_path, text))
    with pytest.raises(UserError, match=r"no such study: .*none\.toml"):
        read_study(tmp_path / "none.toml")


def test_runs_are_chosen_by_name_or_by_one_seed(tmp_path: Path) -> None:
    runs = read_study(write(tmp_path))
    slugs = [run.slug for run in chosen(runs, ["dense", "reference-s2", "dense-s1"])]
    assert slugs == ["dense-s1", "dense-s2", "reference-s2"]
    with pytest.raises(UserError, match=r"unknown run .reference-s3.; choose of: reference; lr 5e-4"):
        chosen(runs, ["dense", "reference-s3"])


def test_a_result_is_of_its_run_s_flags_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    run = read_study(write(tmp_path))[-1]
    assert run.kept() is None
    run.result.parent.mkdir(parents=True)
    run.result.write_text(json.dumps({"command": shlex.join(run.command()), "settings": run.settings()}))
    assert run.kept() is not None
    for other in (replace(run, beam=4), replace(run, bits=(8,)), replace(run, flags={**run.flags, "lr": 1})):
        with pytest.raises(UserError, match=r"dense-s2\.json is of other flags or settings than the study's"):
            other.kept()


def test_results_of_a_study_elsewhere_lie_beside_it(tmp_path: Path) -> None:
    own = read_study(study.STUDIES / "quickstart.toml")[0]
    assert own.result == study.RESULTS / "quickstart" / "masked-s1.json"
    path = write(tmp_path)
    assert read_study(path)[0].result == tmp_path / "results" / "toys" / "reference-s1.json"
    assert read_study(path, tmp_path / "out")[0].result == tmp_path / "out" / "toys" / "reference-s1.json"
