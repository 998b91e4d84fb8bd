"""Two processes that train as one, against one process with the same batches: what they end with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fairseq.checkpoint_utils import load_checkpoint_to_cpu

import fairseq_plugins  # noqa: F401  allows the types in fairseq's checkpoints
from one_layer_lt import process
from one_layer_lt.rules.edge_popup import EdgePopup
from scripts.bench.timing import Row
from scripts.results import ROOT

UPDATES, PAIRS = 50, 5000
KEEP = 0.5


def rows() -> Iterator[Row]:
    """The figure."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        process.run(["python", "-m", "data_prep.numbers", "--pairs", str(PAIRS), "--out", str(data)], cwd=ROOT)
        one, two = Path(scratch, "one"), Path(scratch, "two")
        process.run(["fairseq-train", *_arguments(data, one), "--cpu", "--update-freq", "2"], cwd=ROOT)
        process.run(["one-layer-lt", "launch", "--processes", "2", "--", *_arguments(data, two)], cwd=ROOT)
        first, second = (load_checkpoint_to_cpu(str(folder / "checkpoint_last.pt"))["model"] for folder in (one, two))
    scores = [name for name in first if name.endswith("parametrizations.weight.original")]
    rule = EdgePopup(KEEP)
    same = sum(int((rule.mask(first[name]) == rule.mask(second[name])).sum()) for name in scores)
    count = sum(first[name].numel() for name in scores)
    apart = max(float((first[name] - second[name]).abs().max()) for name in scores)
    detail = {"updates": UPDATES, "scores": count, "masks_that_differ": count - same, "largest_difference": apart}
    yield Row("two gloo processes against one, share of masks that agree", same / count, least=0.999, detail=detail)
    largest = max(float(first[name].abs().max()) for name in scores)
    yield Row(
        "two gloo processes against one, largest difference of scores / largest score", apart / largest, most=1e-4
    )


def _arguments(data: Path, out: Path) -> Sequence[str]:
    arguments = [str(data), "--user-dir", "fairseq_plugins", "--arch", "one_layer_masked_tiny", "--keep", str(KEEP)]
    arguments += ["--dropout", "0", "--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--lr", "1e-3", "--seed", "1"]
    arguments += ["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--max-tokens", "1024"]
    arguments += ["--max-update", str(UPDATES), "--disable-validation", "--no-epoch-checkpoints", "--num-workers", "0"]
    return [*arguments, "--save-dir", str(out)]
