"""What a run of the kind "vision" is made from, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from one_layer_lt.files import sha256
from one_layer_lt.ticket.sizes import sizes
from one_layer_lt.vision import data as datasets
from one_layer_lt.vision.recipes import Recipe, recipe_of
from one_layer_lt.vision.ticket import ticket_of
from one_layer_lt.vision.train import CHECKPOINT, METRICS, lines, load_run
from scripts.results import ROOT
from scripts.study import Run

MEND = "put the images there"
LOGGED: list[str] = []


def recipe(run: Run) -> Recipe:
    """Its settings."""
    changes = {name.replace("-", "_"): value for name, value in run.flags.items() if name != "recipe"}
    return recipe_of(run.flags.get("recipe", "digits"), {**changes, "seed": run.seed})


def inputs(run: Run) -> dict[str, str]:
    """sha256 of the files of the images, where they are not scikit-learn's."""
    root = ROOT / run.data
    files = sorted(file for file in root.rglob("*") if file.is_file()) or [root]
    return {"data": sha256(*files)} if run.data else {}


def added(run: Run) -> list[str]:
    """What this machine adds to the command."""
    return []


def outcome(run: Run, environment: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    """The curve, the test accuracy, the seconds and the size of a run that is trained, and its checkpoint."""
    found = recipe(run)
    data = datasets.load(found.data, ROOT / run.data if run.data else None, size=found.size)
    trainer = load_run(ROOT / run.folder, data)
    epochs = list(lines(ROOT / run.folder / METRICS))
    weights = sum(tensor.numel() for tensor in trainer.trained if tensor.dim() > 1)
    bytes_ = 4 * weights if found.dense else sizes(ticket_of(trainer.model, found, data)).file
    curve = {
        split: [[line["epoch"], line[what]] for line in epochs]
        for split, what in (("train", "loss"), ("test", "accuracy"))
    }
    seconds, size = round(sum(line["seconds"] for line in epochs)), {"weights": weights, "bytes": bytes_}
    result = {"curve": curve, "test": {"accuracy": epochs[-1]["accuracy"]}, "seconds": seconds, "size": size}
    return result, ROOT / run.folder / CHECKPOINT


def in_words(result: Mapping[str, Any]) -> str:
    """What it gave, in a line."""
    return f"test accuracy {result['test']['accuracy']:.2%}"
