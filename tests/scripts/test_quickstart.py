"""scripts/quickstart.py: it trains once, scores once, and shows what came of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from one_layer_lt.files import sha256, write_json
from one_layer_lt.text.subwords import Subword
from scripts import quickstart
from scripts.study import Run, read_study
from tests.plugin.running import TICKET_RECIPE, prepared, train

LINE = '2026-01-01 | INFO | train_inner | {"epoch": 1, "ppl": "90.5", "num_updates": "%d"}\n'


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The quickstart's two, in folders of the test's own."""
    monkeypatch.setattr(Run, "folder", property(lambda run: tmp_path / "runs" / run.slug))
    monkeypatch.setattr(quickstart, "ROOT", tmp_path)
    return read_study(quickstart.STUDY)


def test_training_is_shown_and_not_done_again(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    bars: list[Any] = []

    class Bar(quickstart.progress):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            bars.append(self)

    def run(command: list[str], *, log: Path, each: Any, cwd: Path) -> None:
        asked.append(command)
        for line in ("epoch 001\n", LINE % 20, LINE % 60):
            each(line)

    monkeypatch.setattr(quickstart, "progress", Bar)
    monkeypatch.setattr(quickstart.process, "run", run)
    masked = runs[0]
    quickstart.train(masked)
    assert (bars[0].n, bars[0].total, bars[0].note) == (60, masked.flags["max-update"], "perplexity 90.5")
    assert asked[0][: len(masked.command())] == masked.command()
    assert "--stop-time-hours" in asked[0]
    quickstart.train(masked)
    assert len(asked) == 1


def test_the_score_is_kept_for_its_checkpoint(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "score", lambda checkpoint, data: {"new": checkpoint.name})
    checkpoint = runs[0].folder / "checkpoint_best.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    assert quickstart.scored(runs[0]) == {"new": "checkpoint_best.pt"}
    kept = {"checkpoint": {"sha256": sha256(checkpoint)}}
    write_json(checkpoint.with_suffix(".test.json"), kept)
    assert quickstart.scored(runs[0]) == kept
    checkpoint.write_bytes(b"other weights")
    assert quickstart.scored(runs[0]) == {"new": "checkpoint_best.pt"}


def test_the_report_shows_translations_scores_and_the_ticket(tmp_path: Path, runs: list[Run]) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60), ("en", "de"))
    masked, dense = (Run("toys", run.name, 1, run.flags, str(data), results=tmp_path) for run in runs)
    best = train(data, masked.folder, *TICKET_RECIPE, updates=1).rename(masked.folder / "checkpoint_best.pt")
    best.with_suffix(".test.txt").write_text("EINS\nZWEI\n")
    bleu = {"score": 97.5, "signature": "nrefs:1|case:mixed", "brevity_penalty": 1.0}
    result = {"bleu": bleu, "exact_match": 0.25}
    write_json(dense.result, {"test": {**result, "exact_match": 0.5}})
    lines = list(quickstart.report(masked, dense, result))
    source, reference = ((data / "raw" / f"test.{language}").read_text().splitlines()[0] for language in ("en", "de"))
    assert f"  {source} | EINS | {reference}" in lines
    shown = [line for line in lines if "exact match" in line]
    assert [line.rpartition(" ")[2] for line in shown] == ["25.0%", "50.0%"]
    assert all("97.50" in line for line in shown)
    counts = next(line for line in lines if "trained numbers other than scores" in line)
    assert re.search(r"\b0 trained numbers other than scores", counts)
    size = (masked.folder / "numbers.ticket").stat().st_size
    assert f"all of it as one file of {size:,} bytes; to use it:" in lines
    assert json.loads(dense.result.read_text())["test"]["bleu"] == bleu
