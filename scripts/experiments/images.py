"""What do masks look like, and do pruned networks beat reinitialised ones? LeNet-300-100 on MNIST.

Each round of iterative magnitude pruning trains the network, keeps the largest weights, and sets these back to where
they started (Frankle & Carbin 2018, arXiv 1803.03635, section 2). Beside it, the same masks get new weights, or as many
weights are kept at random in each layer. Masks over random weights are trained at some of the same kept fractions.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from one_layer_lt import MaskConfig, markdown, mask_, parametrization_of, prunable_, prune_, scores_of
from one_layer_lt.lab.locality import CHANCES, mean_distance, neighbours, shuffled
from one_layer_lt.parametrization import cached_weights
from one_layer_lt.pruning import pruned_modules, pruned_weight
from one_layer_lt.vision.data import Split, load
from one_layer_lt.vision.models import build
from scripts import plots

SEEDS = (1, 2, 3)
STEP, ROUNDS, EPOCHS, BATCH, RATE = 0.5, 6, 2, 256, 2e-3
KEEPS = tuple(round(STEP**at, 4) for at in range(ROUNDS + 1))
SEARCHED = KEEPS[1::2]
"""At which masks over random weights are trained."""
BRANCHES = {
    "rewound": "pruned by magnitude, rewound",
    "reinitialised": "the same masks, reinitialised",
    "random": "pruned at random, rewound",
    "masks": "masks over random weights",
}
Curve = list[float]


def run(root: Path, before: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result after each seed; seeds that ``before`` has are taken from there. root: the folder of MNIST."""
    torch.set_flush_denormal(True)  # Adam's averages of gradients that have gone, which would slow it down
    data = load("mnist", root)
    train, test = _tensors(data.train), _tensors(data.test)
    settings = {"keeps": list(KEEPS), "epochs": EPOCHS, "batch": BATCH, "rate": RATE}
    seeds = dict(before["seeds"]) if settings.items() <= before.items() else {}
    for seed in SEEDS:
        if str(seed) not in seeds:
            pruned = list(_pruning(train, test, seed, data.train.shape))
            masks = [_searching(train, test, seed, data.train.shape, keep) for keep in SEARCHED]
            seeds[str(seed)] = {"pruned": pruned, "masks": masks}
        yield {**settings, "seeds": dict(seeds)}


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    ((images, labels),) = split.batches(len(split))
    return images.flatten(1) / 255, labels


def _pruning(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], seed: int, shape: tuple[int, int, int]
) -> Iterator[dict[str, Any]]:
    """A round each: the test accuracy of every branch after each epoch, and how local the first layer's mask is."""
    torch.manual_seed(seed)
    model = prunable_(build("lenet_300_100", shape=shape, classes=10))
    start = [weight.detach().clone() for weight in model.parameters()]
    generator = torch.Generator().manual_seed(seed)
    for keep in KEEPS:
        if keep < 1:
            prune_(model, keep, scope="global")
        _set(model, start)
        found: dict[str, Any] = {"keep": keep}
        if keep < 1:
            other = copy.deepcopy(model)
            _set(other, list(prunable_(build("lenet_300_100", shape=shape, classes=10)).parameters()))
            found["reinitialised"] = _train(other, train, test, seed)
            other = copy.deepcopy(model)
            for _, module in pruned_modules(other):
                mask = pruned_weight(module).mask
                mask.copy_(mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view_as(mask))
            found["random"] = _train(other, train, test, seed)
        found["rewound"] = _train(model, train, test, seed)
        first = next(pruned_weight(module).mask for _, module in pruned_modules(model))
        yield {**found, "first": _locality(first, shape[1:], generator)}


def _searching(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], seed: int, shape: tuple[int, int, int], keep: float
) -> dict[str, Any]:
    model = build("lenet_300_100", shape=shape, classes=10)
    config = MaskConfig(seed=seed, keep=keep, init="signed_constant", scale_fan=True, share="none")
    accuracies = _train(mask_(model, config), train, test, seed)
    layer = next(module for module in model.modules() if isinstance(module, nn.Linear))
    first = parametrization_of(layer).mask(scores_of(layer).detach()).bool()
    generator = torch.Generator().manual_seed(seed)
    return {"keep": keep, "masks": accuracies, "first": _locality(first, shape[1:], generator)}


def _set(model: nn.Module, weights: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights):
            parameter.copy_(weight)


def _train(model: nn.Module, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], seed: int) -> Curve:
    """Train in place by Adam, the rate down a cosine: the test accuracy after each epoch."""
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=RATE)
    images, labels = train
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(images) // BATCH))
    generator, accuracies = torch.Generator().manual_seed(seed), []
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            with cached_weights():
                nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            accuracies.append(float((model(test[0]).argmax(1) == test[1]).float().mean()))
    return accuracies


def _locality(mask: Tensor, shape: tuple[int, int], generator: torch.Generator) -> dict[str, Any]:
    """Of the mask, and of what each kind of chance makes of it."""
    masks = {"mask": mask, **{chance: shuffled(mask, chance, generator) for chance in CHANCES}}
    found = {name: [neighbours(each, shape), mean_distance(each, shape)] for name, each in masks.items()}
    return {"kept": float(mask.float().mean()), **found}


def _lines(result: dict[str, Any], kind: str, value: Any) -> tuple[Curve, list[Curve]]:
    """The kept fractions, and of each the seeds' values: those there are."""
    seeds = [each[kind] for each in result["seeds"].values()]
    found = [(rows[0]["keep"], [value(row) for row in rows]) for rows in zip(*seeds)]
    return [keep for keep, _ in found], [values for _, values in found]


def _accuracies(result: dict[str, Any]) -> dict[str, tuple[Curve, list[Curve]]]:
    found = {}
    for branch, name in BRANCHES.items():
        kind = "masks" if branch == "masks" else "pruned"
        keeps, values = _lines(result, kind, lambda row: row[branch][-1] if branch in row else None)  # noqa: B023
        there = [at for at, each in enumerate(values) if None not in each]
        found[name] = [keeps[at] for at in there], [[100 * v for v in values[at]] for at in there]
    return found


def _ratios(result: dict[str, Any], kind: str, chance: str, measure: int) -> tuple[Curve, list[Curve]]:
    """Locality over that of a kind of chance. measure: 0 neighbours, 1 distance."""
    return _lines(result, kind, lambda row: row["first"]["mask"][measure] / row["first"][chance][measure])


def _local(result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for kind, name in (("pruned", BRANCHES["rewound"]), ("masks", BRANCHES["masks"])):
        for chance in CHANCES:
            yield kind, chance, f"{name}, over {chance} shuffled"


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the page, by what they show."""
    accuracies = _accuracies(result)
    rows = []
    for keep in KEEPS:
        at = {name: dict(zip(keeps, values)).get(keep) for name, (keeps, values) in accuracies.items()}
        rows.append([_share(keep), *(f"{statistics.fmean(v):.2f}%" if v else "" for v in at.values())])
    local = []
    for kind, chance, name in _local(result):
        for measure, what in enumerate(("neighbours", "distance")):
            found = dict(zip(*_ratios(result, kind, chance, measure)))
            cells = [f"{statistics.fmean(found[keep]):.2f}" if keep in found else "" for keep in SEARCHED]
            local.append([name, what, *cells])
    return {
        "accuracy": "\n".join(markdown.table(["weights", *accuracies], *rows)),
        "locality": "\n".join(markdown.table(["mask", "ratio of", *(_share(keep) for keep in SEARCHED)], *local)),
    }


def _share(keep: float) -> str:
    return f"{100 * keep:.3g}% kept"


def draw(result: dict[str, Any], path: Path) -> None:
    """Accuracy against the kept fraction, and locality over that of chance."""
    local = {name: _ratios(result, kind, chance, 0) for kind, chance, name in _local(result)}
    axis = "fraction of the weights that is kept"
    panels = [
        plots.Panel("accuracy", axis, "test accuracy, %", _accuracies(result), "log"),
        plots.Panel("locality of the first layer", axis, "kept neighbours, over chance", local, "log", "log"),
    ]
    plots.spreads(path, panels)
