"""A training that leaves the numbers ends in one line, and its last good checkpoint stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from .running import load_state, train

QUIET = ["--no-epoch-checkpoints", "--disable-validation"]


@pytest.mark.parametrize("kind", [(), ("--dense",)], ids=["masks", "dense"])
def test_what_is_not_finite_is_named_and_not_saved(
    kind: tuple[str, ...], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = train(corpus, tmp_path, *QUIET, *kind, updates=2)
    with pytest.raises(SystemExit) as ended:
        train(corpus, tmp_path, *QUIET, *kind, "--lr", "1e38", "--reset-optimizer", "--reset-lr-scheduler", updates=6)
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("fairseq-train: error: ")
    assert said.endswith("try a lower learning rate; the last checkpoint is kept")
    kept = load_state(last)["model"]
    assert any(name in said for name in kept), said
    assert all(tensor.isfinite().all() for tensor in kept.values())


def test_a_gradient_that_is_not_finite_is_named(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the loss is NaN: fairseq's own check finds it."""
    from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion as Criterion

    usual = Criterion.compute_loss
    monkeypatch.setattr(
        Criterion, "compute_loss", lambda *args, **to: [part * float("nan") for part in usual(*args, **to)]
    )
    with pytest.raises(SystemExit) as ended:
        train(corpus, tmp_path, *QUIET)
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("fairseq-train: error: gradients are Nan/Inf, of encoder.embed_tokens.")
    assert "after update 0" in said
    assert not (tmp_path / "checkpoint_last.pt").exists()
