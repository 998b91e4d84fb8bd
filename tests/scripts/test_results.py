"""scripts/results.py: what is kept of a run, and the page drawn from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.lib.errors import DataError
from scripts import results

LOG = [
    "2026-01-01 | INFO | fairseq_cli.train | {'common': {'seed': 1}}",
    '2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 0.5, "ppl": "90.5", "num_updates": "50", "lr": "0.1"}',
    '{"epoch": 1, "valid_loss": "5.0", "valid_ppl": "60.25", "valid_num_updates": "60"}',
    '{"epoch": 1, "train_loss": "6.0", "train_ppl": "95", "train_num_updates": "60"}',
    '{"epoch": 2, "update": 1.5, "ppl": "33", "num_updates": "100"}',
    '{"epoch": 2, "update": 1.5, "ppl": "30", "num_updates": "100"}',
    '{"epoch": 2, "valid_loss": "4.0", "valid_ppl": "20", "valid_num_updates": "120"}',
]
SCORE = {
    "bleu": {"score": 34.5, "signature": "nrefs:1|case:mixed", "brevity_penalty": 0.98},
    "chrf": {"score": 55.25, "signature": "nrefs:1"},
    "exact_match": 0.125,
    "checkpoint": {"updates": 120},
}


def run_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "train.log").write_text("\n".join(LOG) + "\n")
    (folder / "checkpoint_best.test.json").write_text(json.dumps(SCORE))
    return folder


def test_history_keeps_the_latest_of_each_update() -> None:
    assert results.history(LOG) == {"train": [[50, 90.5], [100, 30.0]], "valid": [[60, 60.25], [120, 20.0]]}


def test_store_and_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    path = results.store(run_folder(tmp_path / "run"), "toy-masked", "bash toy.sh")
    stored: dict[str, Any] = json.loads(path.read_text())
    assert (stored["command"], stored["test"]) == ("bash toy.sh", SCORE)
    results.draw()
    page = (tmp_path / "results" / "tables.md").read_text()
    assert "| [masked](toy-masked.json) | 120 | 20.00 | 34.50 | 55.25 | 12.5% |" in page
    assert (tmp_path / "results" / "toy.png").stat().st_size > 1000


def test_store_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such log: .*train\.log"):
        results.store(tmp_path, "toy-masked", "bash toy.sh")
    folder = run_folder(tmp_path / "run")
    (folder / "checkpoint_best.test.json").unlink()
    with pytest.raises(DataError, match=r"checkpoint_best\.test\.json is missing"):
        results.store(folder, "toy-masked", "bash toy.sh")
