"""fairseq translates and validates every line, whatever --required-batch-size-multiple says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fairseq.data import data_utils

from tests.support.translators import generate_with

from .running import train

EIGHT = ["--required-batch-size-multiple", "8"]  # fairseq's default


def test_all_of_twelve_lines_are_translated(data: Path, checkpoint: Path) -> None:
    assert len(generate_with(data, checkpoint, *EIGHT)) == 12
    assert len(generate_with(data, checkpoint, "--gen-subset", "valid", *EIGHT)) == 4
    assert len(generate_with(data, checkpoint, "--gen-subset", "train", "--max-tokens", "90", *EIGHT)) == 80


def test_validation_sees_all_lines_and_training_its_batches(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 lines are trained on, of which fairseq leaves out the last batch, for 60 is no multiple of 8; 8 validate."""
    made: list[tuple[int, list[int]]] = []
    original = data_utils.batch_by_size

    def kept(indices: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(indices, *args, **kwargs)
        made.append((len(indices), [len(batch) for batch in found]))
        return found

    monkeypatch.setattr(data_utils, "batch_by_size", kept)
    train(corpus, tmp_path, *EIGHT, "--batch-size-valid", "5", updates=2)
    (lines, training), *validations = made
    assert lines == 60
    assert 0 < sum(training) < 60
    assert not any(size % 8 for size in training)
    assert validations
    assert all(validation == (8, [5, 3]) for validation in validations)
