"""scripts/science.py: sections and tables of docs/science.md, from invented measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from scripts import science

HEAD = "# What masks hold\n\nWhatever stands here.\n"
PLACES = "".join(
    f"\n## {kind}\n\nThe answer.\n\n<!-- table: {science.COMMAND.format(kind)} -->\n<!-- end of table -->\n"
    for kind in science.ROWS
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "science.md").write_text(HEAD + PLACES)
    return tmp_path / "science.md"


def controls(bleu: float, **more: Any) -> dict[str, Any]:
    def result(score: float, loss: float) -> dict[str, Any]:
        return {"bleu": score, "brevity_penalty": 0.95, "signature": "nrefs:1", "loss": loss}

    shuffled = [{"seed": seed, **result(score, 6.0)} for seed, score in ((1, 0.25), (2, 0.75))]
    rows = [{"name": "the ticket", "results": [result(bleu, 2.0)]}, {"name": "shuffled", "results": shuffled}]
    return {"kind": "controls", "ticket": "runs/m30k.ticket", "rows": rows, "refused": {}, **more}


def pair(weight: str, value: float, sign: float | None = None) -> dict[str, Any]:
    chance = None if sign is None else 0.5
    figures = dict(
        zip(("overlap", "overlap by chance", "same sign", "same sign by chance"), (value, 1 / 3, sign, chance))
    )
    return {"weight": weight, "masks": ["a", "b"], **figures}


def test_without_measurements_the_page_stays(page: Path, tmp_path: Path) -> None:
    science.tables(page, tmp_path / "none")
    assert page.read_text() == HEAD + PLACES


def test_controls(page: Path, tmp_path: Path) -> None:
    results = tmp_path / "science"
    write_json(results / "a.json", controls(38.5, refused={"another layer's": "none can"}))
    science.tables(page, results)
    said = page.read_text()
    link = "[m30k](results/science/a.json)"
    assert "| ticket | masks | seeds | BLEU | brevity penalty | loss, nats | perplexity |" in said
    assert f"| {link} | the ticket | 1 | 38.50 | 0.950 | 2.000 | 7.389 |" in said
    assert f"| {link} | shuffled | 2 | 0.50 ± 0.35 | 0.950 ± 0.000 | 6.000 ± 0.000 | 403.4 |" in said
    assert f"| {link} | another layer's | none |  |  |  |  |" in said
    assert said.startswith(HEAD)
    assert said.count("The answer.") == len(science.ROWS)

    write_json(results / "b.json", controls(41.25))
    science.tables(page, results)
    assert "| [m30k](results/science/b.json) | the ticket | 1 | 41.25 |" in page.read_text()


def test_a_table_without_a_place(page: Path, tmp_path: Path) -> None:
    page.write_text(HEAD)
    write_json(tmp_path / "science" / "a.json", controls(38.5))
    with pytest.raises(UserError, match="has no place for the table"):
        science.tables(page, tmp_path / "science")
    assert page.read_text() == HEAD


def test_overlap(page: Path, tmp_path: Path) -> None:
    pairs = [pair("layers.*.fc1", 0.25), pair("layers.*.fc1", 0.75), pair("layers.*.fc2", 0.5, 0.625)]
    between = [{**pair("", 0.5), "mask": "layers.0.fc1", "weights": False}]
    measured = {"kind": "overlap", "ticket": "a.ticket", "other": "b.ticket", "pairs": pairs, "between": between}
    write_json(tmp_path / "science" / "a.json", measured)
    science.tables(page, tmp_path / "science")
    said = page.read_text()
    link = "[a](results/science/a.json)"
    columns = (
        "ticket | random weight | pairs | overlap | least | most | overlap by chance | same sign | same sign by chance"
    )
    assert f"| {columns} |" in said
    assert f"| {link} | `layers.*.fc1` | 2 | 0.500 | 0.250 | 0.750 | 0.333 |  |  |" in said
    assert f"| {link} | `layers.*.fc2` | 1 | 0.500 | 0.500 | 0.500 | 0.333 | 0.625 | 0.500 |" in said
    assert f"| {link} | all, in `b` | 1 | 0.500 | 0.500 | 0.500 | 0.333 |  |  |" in said
