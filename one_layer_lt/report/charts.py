"""The charts of a report: matplotlib's SVG, made to stand in a page and to take its colours, light or dark."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from torch import Tensor

from ..optional import need

COLOURS, DASHES = 8, ("solid", "dashed", "dotted")
_INK, _SOFT, _LINE = "#0000a0", "#0000a1", "#0000a2"  # stand for variables of the page, as #0000b0 to b7 do
_VARIABLES = {
    _INK: "ink",
    _SOFT: "soft",
    _LINE: "line",
    **{f"#0000b{number}": f"s{number}" for number in range(COLOURS)},
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "one",
    "text.parse_math": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.linewidth": 0.5,
    "text.color": _INK,
    "font.size": 10,
    **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), _SOFT),
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), _LINE),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "none"),
}
_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
Drawn = tuple[int, str]  # the number of an entry, which gives its colour, and what is said of what is drawn of it


def curves(label: str, across: str, lines: Mapping[Drawn, Sequence[Sequence[float]]], log: bool = False) -> str:
    """(step, value) lines. log: the axis of values, which leaves out the heights that all begin from."""

    def draw(axes: Any) -> None:
        for drawn, points in lines.items():
            axes.plot(*zip(*points), lw=1.4, linestyle=DASHES[drawn[0] // COLOURS % len(DASHES)], **_of(drawn))
        axes.set(xlabel=across, ylabel=label)
        if log:
            lowest = min(value for points in lines.values() for _, value in points)
            _log(axes.yaxis, (1, 1.5, 2, 3, 5, 7), "{x:g}")
            axes.set_ylim(lowest * 0.93, lowest * math.e**2.5)

    return _svg(label, draw, 2.9)


def intervals(label: str, rows: Mapping[Drawn, tuple[float, Sequence[float]]]) -> str:
    """A score a row, from above, and its interval, which may be empty."""

    def draw(axes: Any) -> None:
        for row, (drawn, (score, ends)) in enumerate(rows.items()):
            axes.plot(ends, [row] * len(ends), lw=3, alpha=0.45, solid_capstyle="round", **_of(drawn))
            axes.plot(score, row, "o", **_of(drawn))
        axes.set_yticks(range(len(rows)), [str(number + 1) for number, _ in rows])
        axes.set(xlabel=label, ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="y", visible=False)

    return _svg(label, draw, 0.65 + 0.24 * len(rows))


def sizes(label: str, points: Mapping[Drawn, tuple[float, float]]) -> str:
    """(bytes, score) points, each with the number of its entry."""

    def draw(axes: Any) -> None:
        for drawn, point in points.items():
            axes.plot(*point, "o", markersize=7, **_of(drawn))
            axes.annotate(str(drawn[0] + 1), point, (6, 4), textcoords="offset points", gid=_of(drawn)["gid"])
        axes.set(ylabel=label, xlabel="bytes")
        _log(axes.xaxis, (1, 3), None)
        axes.margins(0.12, 0.15)

    return _svg(label, draw, 2.9)


def histogram(label: str, scores: Mapping[Drawn, Tensor], bins: int = 48) -> str:
    """How scores are spread; what is beyond their 0.1% and 99.9% points is left out."""
    arrays = {drawn: tensor.numpy()[np.isfinite(tensor.numpy())] for drawn, tensor in scores.items()}
    ends = np.array([np.quantile(array, (0.001, 0.999)) for array in arrays.values() if array.size] or [(0, 1)])
    edges = np.histogram_bin_edges(ends, bins)

    def draw(axes: Any) -> None:
        for drawn, array in arrays.items():
            heights = np.histogram(array, edges)[0] / max(array.size, 1)
            axes.stairs(heights, edges, fill=True, alpha=0.25, **_of(drawn))
            axes.stairs(heights, edges, lw=1.2, **_of(drawn))
        axes.set_yticks([])
        axes.locator_params("x", nbins=4)
        axes.spines["left"].set_visible(False)

    return _svg(label, draw, 1.1, 2.2)


def _of(drawn: Drawn) -> dict[str, str]:
    """The colour of what is drawn, and the name by which ``_for_a_page`` finds it."""
    said = "".join(letter if letter.isprintable() else " " for letter in drawn[1])
    return {"color": f"#0000b{drawn[0] % COLOURS}", "gid": f"run {drawn[0]} {said}"}


def _log(axis: Any, subs: Sequence[float], form: str | None) -> None:
    ticker = need("matplotlib.ticker", "plots")
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(ticker.LogLocator(subs=subs))
    axis.set_major_formatter(ticker.StrMethodFormatter(form) if form else ticker.EngFormatter("B"))
    axis.set_minor_locator(ticker.NullLocator())


def _svg(label: str, draw: Any, height: float, width: float = 4.6) -> str:
    matplotlib, file = need("matplotlib", "plots"), io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure = need("matplotlib.figure", "plots").Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _for_a_page(file.getvalue(), label)


def _for_a_page(svg: str, label: str) -> str:
    """The element of an SVG file: its ids its own, no address in it, its colours the page's."""
    root = ElementTree.fromstring(svg[svg.index("<svg") :])
    used = {found for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg) for found in pair}
    own = f"#c{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    for element in list(root.iter()):
        for child in list(element):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                element.remove(child)
        name = element.attrib.pop("id", "")
        if name in used:
            element.set("id", own[1:] + name)
        elif name.startswith("run "):
            _, number, said = name.split(" ", 2)
            element.set("class", f"r{number}")
            ElementTree.SubElement(element, "title").text = said
        if target := element.attrib.pop(_HREF, None):
            element.set("href", own + target[1:])
        for key, value in element.attrib.items():
            value = value.replace("url(#", f"url({own}")
            element.set(key, re.sub(r"#0000[ab]\d", lambda found: f"var(--{_VARIABLES[found[0]]})", value))
        element.tag = element.tag.replace(_SVG, "")
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")
