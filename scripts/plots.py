"""The plots of docs/results."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from one_layer_lt.files import whole
from one_layer_lt.optional import need


@dataclass(frozen=True)
class Sized:
    """A model as a file. kind: which line of the plot it belongs to. brevity: the penalty, as the tables show it."""

    name: str
    kind: str
    bytes: int
    bleu: float
    brevity: str = ""


@dataclass(frozen=True)
class Panel:
    """One of several plots side by side. lines: name -> (x, for each x the values of several seeds)."""

    title: str
    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]
    across: str = "linear"
    up: str = "linear"


def spreads(path: Path, panels: Sequence[Panel]) -> None:
    """Means over seeds as lines, and from the lowest to the highest seed shaded."""
    pyplot = set_up()
    figure, row = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 4.4), layout="constrained", squeeze=False)
    for axes, panel in zip(row[0], panels):
        for name, (x, values) in panel.lines.items():
            axes.plot(x, [statistics.fmean(each) for each in values], "o-", label=name, markersize=3, linewidth=1.2)
            axes.fill_between(x, [min(each) for each in values], [max(each) for each in values], alpha=0.2)
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y, xscale=panel.across, yscale=panel.up)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    save(figure, path)


def curves(path: Path, drawn: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Validation perplexity over the updates: (update, perplexity) by name."""
    pyplot = set_up()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    colours = pyplot.colormaps["turbo"]
    for number, (label, points) in enumerate(drawn.items()):
        axes.plot(*zip(*points), label=label, color=colours((number + 0.5) / len(drawn)), linewidth=1.2)
    axes.set(xlabel="updates", ylabel="validation perplexity", yscale="log")
    ticker = pyplot.matplotlib.ticker
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_ylim(top=math.e**2 * min(value for points in drawn.values() for _, value in points))
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def accuracies(path: Path, drawn: Mapping[str, Sequence[Sequence[float]]], panels: Mapping[str, str]) -> None:
    """Test accuracy over the epochs: (epoch, fraction) by name; panels: the title of the one that a name is in."""
    pyplot = set_up()
    titles = list(dict.fromkeys(panels.values()))
    figure, axes = pyplot.subplots(1, len(titles), figsize=(3.2 * len(titles), 3), layout="constrained", squeeze=False)
    for label, points in drawn.items():
        title = panels[label]
        panel = axes[0][titles.index(title)]
        panel.plot([epoch for epoch, _ in points], [100 * accuracy for _, accuracy in points], label=label)
        panel.set(title=title, xlabel="epoch", ylabel="test accuracy, %")
        panel.legend()
    save(figure, path)


def effects(path: Path, gains: Mapping[str, float], base: Sequence[float], span: float = 9) -> None:
    """What each run gains in BLEU over a base, whose standard deviation is shaded; beyond the span, at its edge."""
    pyplot = set_up()
    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.17 * len(gains)), layout="constrained")
    ordered = sorted(gains.items(), key=lambda item: item[1])
    if len(base) > 1:
        deviation = statistics.stdev(base)
        axes.axvspan(-deviation, deviation, color="grey", alpha=0.25, linewidth=0)
    bars = axes.barh(
        [name for name, _ in ordered],
        [max(-span, min(span, gain)) for _, gain in ordered],
        color=["tab:blue" if gain >= 0 else "tab:orange" for _, gain in ordered],
        height=0.6,
    )
    axes.bar_label(bars, [f"{gain:+.1f}" for _, gain in ordered], padding=2, fontsize=6)
    axes.set(xlabel="effect on validation BLEU", xlim=(-span - 1.5, span + 1.5), ylim=(-0.7, len(gains) - 0.3))
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="x", alpha=0.3)
    save(figure, path)


def sizes(path: Path, points: Sequence[Sized], best: Optional[float] = None) -> None:
    """BLEU against bytes, a line a kind of file; dotted, the best dense model's."""
    pyplot = set_up()
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for kind in dict.fromkeys(point.kind for point in points):
        line = sorted((point.bytes, point.bleu, point.name) for point in points if point.kind == kind)
        style = "o-" if kind.startswith("masked") else "s--"
        axes.plot([size for size, _, _ in line], [bleu for _, bleu, _ in line], style, label=kind, markersize=4)
    if best is not None:
        axes.axhline(best, color="grey", linestyle=":", linewidth=1, label=f"best dense model, {best:.1f}")
    axes.set(xlabel="bytes of the model, without dictionaries and tokenizer", ylabel="test BLEU", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def flips(path: Path, seen: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """What ``scripts/flips.py`` saw: bits that flip, those that stay flipped, and what an update gains."""
    pyplot = set_up()
    figure, (bits, gains) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for colour, (name, entries) in zip(pyplot.colormaps["tab10"].colors, seen.items()):
        updates = [entry["update"] for entry in entries]
        bits.plot(updates, [1000 * entry["flips"]["all"] for entry in entries], color=colour, label=name)
        bits.plot(updates, [100 * entry["moved"]["all"] for entry in entries], ":", color=colour)
        gains.plot(updates, _smooth([entry["gain"] for entry in entries]), color=colour, label=name)
        gains.plot(updates, _smooth([entry["held_gain"] for entry in entries]), ":", color=colour)
    bits.set(
        xlabel="updates",
        ylabel="% of bits in ten updates",
        yscale="log",
        title="flips (—) and what is left of them (···)",
    )
    gains.set(xlabel="updates", ylabel="nats a token and update", title="gain on the batch (—) and on validation (···)")
    bits.legend(fontsize=7)
    save(figure, path)


def _smooth(values: Sequence[float], width: int = 5) -> list[float]:
    return [sum(values[max(0, i - width + 1) : i + 1]) / min(i + 1, width) for i in range(len(values))]


def set_up() -> Any:
    """matplotlib's pyplot, drawing to files; imported here, for most of what scripts do needs no plots."""
    matplotlib = need("matplotlib", "plots")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write a figure, whole."""
    from matplotlib import pyplot

    with whole(path) as part:
        figure.savefig(part, dpi=110, format=path.suffix[1:])
    pyplot.close(figure)
