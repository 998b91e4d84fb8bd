"""scripts/flips.py: bits counted by hand, and a watched training that goes as one that nobody watches."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from one_layer_lt.errors import UserError
from one_layer_lt.text.subwords import Subword
from scripts import flips
from tests.plugin.running import prepared, train_arguments


def test_flips_by_kind() -> None:
    bits = torch.tensor([True, False, True, False])
    before = {"encoder.layers.0.fc1": bits, "encoder.layers.1.fc1": bits, "decoder.embed_tokens": bits[:2]}
    after = {"encoder.layers.0.fc1": ~bits, "encoder.layers.1.fc1": bits, "decoder.embed_tokens": bits[:2].flip(0)}
    assert flips.flipped(before, after) == {"fc1": 0.5, "embed_tokens": 1.0, "all": 0.6}


@pytest.mark.parametrize("criterion", ["cross_entropy", "label_smoothed_cross_entropy"])
def test_losses_are_nats_a_token_with_any_criterion(criterion: str, tmp_path: Path) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60))
    arguments = train_arguments(data, tmp_path / "run", "--sentence-avg", "--logit-scale", "1e-6", updates=10)
    at = arguments.index("--criterion")
    changed = [*arguments[:at], "--criterion", criterion, *arguments[at + 2 :]]
    for flag in ("--user-dir",) if criterion != "cross_entropy" else ("--user-dir", "--label-smoothing"):
        changed[changed.index(flag) : changed.index(flag) + 2] = []
    watch = flips.Watch(changed)
    (seen,) = watch.run()
    alike = math.log(len(watch.task.target_dictionary))  # logits of zero: every subword is as likely
    assert [seen["loss"], seen["held_loss"]] == pytest.approx([alike, alike], abs=1e-3)


@pytest.mark.parametrize(("flags", "expected"), [(["--dense"], "leave --dense out"), ([], "--max-update N is missing")])
def test_nothing_to_watch(flags: list[str], expected: str, tmp_path: Path) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60))
    arguments = train_arguments(data, tmp_path / "run", *flags, updates=10 if flags else 0)
    arguments[arguments.index("--user-dir") : arguments.index("--user-dir") + 2] = []
    with pytest.raises(UserError, match=expected):
        flips.Watch(arguments)


def test_watching_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60))
    arguments = train_arguments(data, tmp_path / "run", "--dropout", "0.1", updates=20)
    arguments[arguments.index("--user-dir") : arguments.index("--user-dir") + 2] = []
    watch = flips.Watch(arguments)
    start, seen = flips.masks_of(watch.model), watch.run()
    assert [entry["update"] for entry in seen] == [10, 20]
    assert all(entry["moved"]["all"] >= entry["flips"]["all"] > 0 for entry in seen)  # at a steady rate, few flip back
    whole = flips.flipped(start, flips.masks_of(watch.model))["all"]
    assert 0 < whole <= sum(entry["moved"]["all"] for entry in seen)
    monkeypatch.setattr(flips, "EVERY", 1000)
    unwatched = flips.Watch(arguments)
    assert unwatched.run() == []
    assert flips.flipped(flips.masks_of(watch.model), flips.masks_of(unwatched.model))["all"] == 0
