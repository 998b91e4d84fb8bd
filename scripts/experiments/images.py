"""What do masks look like, and do pruned networks beat reinitialised ones? LeNet-300-100 on MNIST.

Each round of iterative magnitude pruning trains the network, keeps the largest weights, and sets these back to where
they started (Frankle & Carbin 2018, arXiv 1803.03635, section 2). Beside it, the same masks get new weights, or as many
weights are kept at random in each layer. Masks over random weights are trained at some of the same kept fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import torch
from torch import Tensor, nn

from one_layer_lt import MaskConfig, markdown, mask_, parametrization_of, prunable_, prune_, scores_of
from one_layer_lt.lab.controls import randomly_pruned, reinitialised
from one_layer_lt.lab.locality import CHANCES, mean_distance, neighbours, shuffled
from one_layer_lt.parametrization import cached_weights
from one_layer_lt.pruning import pruned_modules, pruned_weight
from one_layer_lt.vision.data import Split, load
from one_layer_lt.vision.models import Shape, build
from scripts import plots
from scripts.rows import spread

SEEDS = (1, 2, 3)
STEP, ROUNDS, EPOCHS, BATCH, RATE = 0.8, 20, 2, 256, 2e-3
KEEPS = tuple(round(STEP**at, 4) for at in range(ROUNDS + 1))
SHOWN = KEEPS[::4]
SEARCHED = SHOWN[1:]
"""At which masks over random weights are trained."""
FROM = "the four files of MNIST"
BRANCHES = {
    "rewound": "pruned by magnitude, rewound",
    "reinitialised": "the same masks, reinitialised",
    "random": "pruned at random, rewound",
    "masks": "masks over random weights",
}
Curve = list[float]
Drawn = tuple[Curve, list[Curve]]
Labelled = tuple[Tensor, Tensor]


def run(source: Path | None, before: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result after each seed that ``before``, an earlier result, has not; those that it has are taken from there.

    source: the folder of MNIST.
    """
    data = load("mnist", source)
    train, test = tensors(data.train), tensors(data.test)
    settings = {"keeps": list(KEEPS), "epochs": EPOCHS, "batch": BATCH, "rate": RATE}
    seeds = dict(before["seeds"]) if settings.items() <= before.items() else {}
    for seed in SEEDS:
        if str(seed) not in seeds:
            pruned = list(_pruning(train, test, seed, data.train.shape))
            masks = [_searching(train, test, seed, data.train.shape, keep) for keep in SEARCHED]
            seeds[str(seed)] = {"pruned": pruned, "masks": masks}
            yield {**settings, "seeds": dict(seeds)}


def tensors(split: Split) -> Labelled:
    """All images as floats from 0 to 1, (n, pixels), and their labels, (n,)."""
    ((images, labels),) = split.batches(len(split))
    return images.flatten(1) / 255, labels


def _pruning(train: Labelled, test: Labelled, seed: int, shape: Shape) -> Iterator[dict[str, Any]]:
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
            other = reinitialised(model, build("lenet_300_100", shape=shape, classes=10))
            found["reinitialised"] = _train(other, train, test, seed)
            found["random"] = _train(randomly_pruned(model, seed), train, test, seed)
        found["rewound"] = _train(model, train, test, seed)
        first = next(pruned_weight(module).mask for _, module in pruned_modules(model))
        yield {**found, "first": _locality(first, shape[1:], generator)}


def _searching(train: Labelled, test: Labelled, seed: int, shape: Shape, keep: float) -> dict[str, Any]:
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


def _train(model: nn.Module, train: Labelled, test: Labelled, seed: int) -> Curve:
    """Train in place by Adam, the rate down a cosine: the test accuracy after each epoch."""
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=RATE)
    images, labels = train
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(images) // BATCH))
    generator, accuracies = torch.Generator().manual_seed(seed), []
    with _flushed():
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


@contextmanager
def _flushed() -> Iterator[None]:
    """Tiny numbers are zeros: Adam's averages of gradients that have gone, which would slow it down."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _locality(mask: Tensor, shape: tuple[int, int], generator: torch.Generator) -> dict[str, Any]:
    """Of the mask, and of what each kind of chance makes of it."""
    masks = {"mask": mask, **{chance: shuffled(mask, chance, generator) for chance in CHANCES}}
    found = {name: [neighbours(each, shape), mean_distance(each, shape)] for name, each in masks.items()}
    return {"kept": float(mask.float().mean()), **found}


def _values(result: dict[str, Any], kind: str, value: Callable[[dict[str, Any]], Optional[float]]) -> Drawn:
    """The kept fractions whose rows have a value, and of each the seeds' values."""
    rounds = zip(*(seed[kind] for seed in result["seeds"].values()))
    found = {rows[0]["keep"]: [at for row in rows if (at := value(row)) is not None] for rows in rounds}
    return [keep for keep, values in found.items() if values], [values for values in found.values() if values]


def _accuracies(result: dict[str, Any]) -> dict[str, Drawn]:
    """In percent, of each branch that a round has."""

    def of(branch: str) -> Drawn:
        kind = "masks" if branch == "masks" else "pruned"
        return _values(result, kind, lambda row: 100 * row[branch][-1] if branch in row else None)

    return {name: of(branch) for branch, name in BRANCHES.items()}


def _local(result: dict[str, Any], measure: int) -> dict[str, Drawn]:
    """Locality over that of each kind of chance. measure: 0 neighbours, 1 distance."""

    def of(kind: str, chance: str) -> Drawn:
        return _values(result, kind, lambda row: row["first"]["mask"][measure] / row["first"][chance][measure])

    kinds = {"pruned": BRANCHES["rewound"], "masks": BRANCHES["masks"]}
    return {f"{name}, over {chance} shuffled": of(kind, chance) for kind, name in kinds.items() for chance in CHANCES}


def _table(first: str, drawn: dict[str, Drawn], keeps: Sequence[float]) -> str:
    rows = []
    for name, (at, values) in drawn.items():
        means = {keep: spread(each) for keep, each in zip(at, values)}
        rows.append([name, *(means.get(keep, "") for keep in keeps)])
    return "\n".join(markdown.table([first, *(f"{100 * keep:.3g}% kept" for keep in keeps)], *rows))


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the page, by what they show."""
    seeds = f"seeds: {len(result['seeds'])}"
    return {
        "accuracy": _table(f"test accuracy in %, {seeds}", _accuracies(result), SHOWN),
        "neighbours": _table(f"neighbours, {seeds}", _local(result, 0), SEARCHED),
        "distance": _table(f"distance, {seeds}", _local(result, 1), SEARCHED),
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """Accuracy against the kept fraction, and locality over that of chance."""
    axis = "fraction of the weights that is kept"
    panels = [
        plots.Panel("accuracy", axis, "test accuracy, %", _accuracies(result), "log"),
        plots.Panel(
            "locality of the first layer", axis, "kept neighbours, over chance", _local(result, 0), "log", "log"
        ),
    ]
    plots.spreads(path, panels)
