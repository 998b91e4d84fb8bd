"""Can a random network hold a given one? A trained network and an attention block, imitated by masks at several sizes.

Errors are measured against n, the number of mask bits for each given weight: candidates of ``lab.approximation``, or,
where masks are searched for, how many times as wide the random network is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
from torch import nn

from one_layer_lt import MaskConfig, markdown
from one_layer_lt.lab import approximation as lab
from one_layer_lt.lab.approximation import METHODS, Floats, Imitation, imitate
from one_layer_lt.vision.data import load
from scripts import plots
from scripts.experiments.images import tensors

SEEDS = (1, 2, 3, 4, 5)
FROM = ""
SIZES = {"single": tuple(2**k for k in range(11)), "subset": (1, *range(2, 25, 2))}
TIMES = (1, 2, 4, 8, 16)
HIDDEN, TRAINED, SEARCHED, RATE = 20, 300, 300, 5e-3
NUMBERS = 1000
WIDTH, HEADS, TOKENS, SEQUENCES = 16, 2, 8, 64
FITTED = 4
"""The smallest n that slopes are fitted to."""
SHOWN = (1, 2, 4, 8, 16, 64, 256, 1024)
NAMES = {"single": "best single candidate", "subset": "best subset"}
PARTS = {"numbers": "random numbers", "network": "trained network", "attention": "attention block"}
ERRORS = {"median": "median weight error", "largest": "largest weight error", "output": "relative output error"}
LAWS: dict[str, tuple[str, Callable[[float], float]]] = {
    "single": ("1/n", lambda n: 1 / n),
    "subset": ("sqrt(n)/2^n", lambda n: math.sqrt(n) / 2**n),
}
"""How errors should fall: 2^n sums lie within about sqrt(n), near enough to evenly."""

Measured = dict[str, float]


def run(source: Path | None, before: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All curves: of each the sizes n, and of each error a list of the seeds' for every n."""
    torch.manual_seed(1)
    data = load("digits")
    (train, labels), (test, truth) = tensors(data.train), tensors(data.test)
    given = _train(train, labels)
    weights = [module.weight.detach().double().numpy() for module in given if isinstance(module, nn.Linear)]
    images, logits = test.double().numpy(), given(test).detach()

    def judged(outputs: Floats) -> Measured:
        right = outputs.argmax(1) == truth.numpy()
        wanted = _forward(weights, images)
        return {"output": lab.relative_error(outputs, wanted), "accuracy": float(right.mean())}

    def network(method: str, n: int, seed: int) -> Measured:
        generator = np.random.default_rng(seed)
        found = [imitate(weight, n, method, generator) for weight in weights]
        return {**_worst(found, weights), **judged(_forward([each.weight for each in found], images))}

    def searched(rule: str, projected: bool, times: int, seed: int) -> Measured:
        masked = lab.masked_like(lab.widened(given, times), MaskConfig(seed=seed, rule=rule, share="none"), projected)
        lab.search_(masked, train, given(train).detach(), SEARCHED, RATE)
        return judged(masked(test).detach().double().numpy())

    parts = {"numbers": _numbers, "network": network, "attention": _attention}
    curves = [
        {"part": part, "way": NAMES[method], **_curve(partial(measure, method), SIZES[method])}
        for part, measure in parts.items()
        for method in METHODS
    ]
    for rule, projected in product(("edge_popup", "sign"), (False, True)):
        way = f"search by {rule} from {'projected' if projected else 'random'} masks"
        curves.append({"part": "network", "way": way, **_curve(partial(searched, rule, projected), TIMES)})
    accuracy = float((logits.argmax(1) == truth).float().mean())
    yield {"seeds": SEEDS, "given": {"accuracy": accuracy}, "curves": curves, "slopes": list(_slopes(curves))}


def _train(images: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    """The given network: without biases, by Adam on all images."""
    model = nn.Sequential(nn.Linear(images.shape[1], HIDDEN, bias=False), nn.ReLU(), nn.Linear(HIDDEN, 10, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(TRAINED):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def _forward(weights: Sequence[Floats], images: Floats) -> Floats:
    return np.maximum(images @ weights[0].T, 0) @ weights[1].T


def _worst(found: Sequence[Imitation], weights: Sequence[Floats]) -> Measured:
    """Errors of weights, as shares of the largest weight of their layer."""
    errors = np.concatenate([abs(a.weight - b).ravel() / abs(b).max() for a, b in zip(found, weights)])
    return {"median": float(np.median(errors)), "largest": float(errors.max())}


def _numbers(method: str, n: int, seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    weights = generator.uniform(-1, 1, (NUMBERS, 1))
    return _worst([imitate(weights, n, method, generator)], [weights])


def _attention(method: str, n: int, seed: int) -> Measured:
    """A random block of several heads: of each, the products of queries and keys and of values and outputs."""
    generator = np.random.default_rng(seed)
    inner = WIDTH // HEADS
    pairs = generator.normal(0, WIDTH**-0.5, (2, 2, HEADS, WIDTH, inner))
    asked, given = (list(first @ second.transpose(0, 2, 1)) for first, second in pairs)
    x = generator.normal(size=(SEQUENCES, TOKENS, WIDTH))

    def block(asked: Sequence[Floats], given: Sequence[Floats]) -> Floats:
        scores = [x @ each @ x.transpose(0, 2, 1) / math.sqrt(inner) for each in asked]
        powers = [np.exp(each - each.max(2, keepdims=True)) for each in scores]
        mixed = [power / power.sum(2, keepdims=True) @ x @ each for power, each in zip(powers, given)]
        return np.sum(mixed, axis=0)

    found = [imitate(each, n, method, generator) for each in asked + given]
    weights = [each.weight for each in found]
    output = lab.relative_error(block(weights[:HEADS], weights[HEADS:]), block(asked, given))
    return {**_worst(found, asked + given), "output": output}


def _curve(measure: Callable[[int, int], Measured], sizes: Sequence[int]) -> dict[str, Any]:
    measured = [[measure(n, seed) for seed in SEEDS] for n in sizes]
    return {"n": sizes, **{name: [[each[name] for each in seeds] for seeds in measured] for name in measured[0][0]}}


def _slopes(curves: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of the logarithm of errors: over n where subsets are taken, over the logarithm of n where single candidates."""
    for curve, method, error in product(curves, METHODS, ERRORS):
        if curve["way"] == NAMES[method] and error in curve:
            mean, low, high = lab.interval(_fit(method, curve["n"], curve[error]))
            yield {"part": curve["part"], "method": method, "error": error, "slope": mean, "ci95": [low, high]}


def _fit(method: str, sizes: Sequence[int], errors: Sequence[Sequence[float]]) -> list[float]:
    """The slope of each seed."""
    fitted = [(n, np.log(each)) for n, each in zip(sizes, errors) if n >= FITTED]
    over = [math.log(n) if method == "single" else n for n, _ in fitted]
    slopes: list[float] = np.polyfit(over, [each for _, each in fitted], 1)[0].tolist()
    return slopes


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the page, by what they show."""
    slopes = []
    for fit in result["slopes"]:
        law, error = LAWS[fit["method"]]
        (expected,) = _fit(fit["method"], SIZES[fit["method"]], [[error(n)] for n in SIZES[fit["method"]]])
        low, high = (f"{end:.2f}" for end in fit["ci95"])
        names = PARTS[fit["part"]], NAMES[fit["method"]], ERRORS[fit["error"]]
        slopes.append([*names, f"{fit['slope']:.2f}", f"{low} to {high}", f"{expected:.2f}, of {law}"])
    curves = [curve for curve in result["curves"] if curve["part"] == "network"]
    rows = []
    for curve in curves:
        at = {n: (np.mean(curve["output"][i]), np.mean(curve["accuracy"][i])) for i, n in enumerate(curve["n"])}
        rows.append([curve["way"], *(f"{at[n][0]:.2g}, {at[n][1]:.1%}" if n in at else "" for n in SHOWN)])
    columns = ["what is imitated", "way", "error", "slope", "95% interval", "expected slope"]
    return {
        "network": "\n".join(markdown.table(["way", *(f"n = {n:,}" for n in SHOWN)], *rows)),
        "slopes": "\n".join(markdown.table(columns, *slopes)),
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """Weight errors, and relative output errors, against n."""
    panels = []
    for part, error in (("numbers", "median"), ("network", "output"), ("attention", "output")):
        lines = {c["way"]: (c["n"], c[error]) for c in result["curves"] if c["part"] == part}
        panels.append(plots.Panel(PARTS[part], "n: mask bits for each weight", ERRORS[error], lines, "log", "log"))
    plots.spreads(path, panels)
