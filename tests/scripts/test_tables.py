"""scripts/tables.py: pages of what studies gave."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from one_layer_lt.files import write_json
from scripts import plots, study, tables
from scripts.rows import effect
from tests.scripts.test_study import STUDY, write


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies and results of the test's own, in place of the project's."""
    for module in (study, tables):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tables, "STUDIES", tmp_path)
    monkeypatch.setattr(tables, "FINDINGS", {})
    monkeypatch.setattr(tables, "ROOT", tmp_path)


def result(bleu: float, perplexity: float, brevity: float = 0.975) -> dict[str, Any]:
    measured = {"score": bleu, "signature": "nrefs:1", "brevity_penalty": brevity}
    score = {"bleu": measured, "checkpoint": {"updates": 400}}
    curve = {"valid": [[100, 2 * perplexity], [400, perplexity]], "train": []}
    return {"curve": curve, "valid": score, "seconds": 90, "size": {"weights": 8, "bytes": 12_345}}


def kept(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Keep results of a study's runs, by their slugs."""
    runs = {run.slug: run for run in study.read_study(path)}
    for slug, value in results.items():
        write_json(runs[slug].result, {**value, "command": shlex.join(runs[slug].command())})


def test_page_of_a_study(tmp_path: Path) -> None:
    path = write(tmp_path)
    results = {"reference-s1": result(20, 9, 0.875), "reference-s2": result(22, 11, 1), "dense-s2": result(30.5, 5)}
    results["lr-5e-4-no-dropout-s7"] = {"diverged": "FloatingPointError: gradients are Nan/Inf"}
    kept(path, results)
    page = list(tables.page(path, tables.rows_of(path)))
    links = "[1](toys/reference-s1.json) [2](toys/reference-s2.json)"
    assert f"| reference | 400 | 2 | {links} | 10.00 ± 1.41 | 21.00 ± 1.41 | 0.938 |  | 12 | 2 |" in page
    assert "| dense | 400 | 1 | [2](toys/dense-s2.json) | 5.00 | 30.50 | 0.975 | +9.50 | 12 | 2 |" in page
    assert (
        "| lr 5e-4, no dropout |  | 0 | [7](toys/lr-5e-4-no-dropout-s7.json) (1 diverged) |  |  |  |  |  |  |" in page
    )
    assert any("A figure with ± is the mean of several seeds and their standard deviation." in line for line in page)
    assert not any("95% interval" in line for line in page)


def test_the_interval_of_the_test_set_stands_where_every_seed_has_one(tmp_path: Path) -> None:
    path = write(tmp_path)
    results = {}
    for slug, bleu, low, high in (
        ("dense-s1", 30, 28, 32.25),
        ("dense-s2", 32, 30.5, 33),
        ("reference-s1", 20, 18, 22),
    ):
        results[slug] = result(bleu, 5)
        measured = {**results[slug]["valid"]["bleu"], "brevity_penalty": 0.95, "ci95": [low, high]}
        results[slug]["test"] = {**results[slug]["valid"], "bleu": measured, "exact_match": 0.5}
    older = result(22, 9, 0.9)
    older["test"] = {**older["valid"], "exact_match": 0.5}  # without
    kept(path, {**results, "reference-s2": older})
    page = "\n".join(tables.page(path, tables.rows_of(path)))
    assert "| test BLEU | 95% interval | test brevity penalty | share of dense BLEU |" in page
    assert "| 31.00 ± 1.41 | 29.25 to 32.62 | 0.950 |  | 50.0% |" in page
    assert "| 21.00 ± 1.41 |  | 0.925 | 67.7% | 50.0% |" in page  # one interval is not around the mean of two
    assert "The 95% interval is sacrebleu's, over resamples of the test sentences" in page


def test_models_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STUDY.replace("last = 3, lenpen = [1, 1.5]", "bits = [8]")
    path = write(tmp_path, text).rename(tmp_path / "sizes.toml")
    for seed, bleu in ((1, 30.0), (2, 32.0)):
        masked, dense = result(bleu - 5, 9), result(bleu, 5)
        for one in (masked, dense):
            one["test"] = one["valid"] | {"tokenised_bleu": None, "exact_match": 0.125}
        dense["int8"] = {
            "test": dense["test"] | {"bleu": {"score": bleu - 1, "brevity_penalty": 0.5}},
            "size": {"bytes": 4000},
        }
        kept(path, {f"reference-s{seed}": masked, f"dense-s{seed}": dense})
    points = list(tables.sized(tables.rows_of(path)))
    assert points == [
        plots.Sized("reference", "masked, ticket", 12_345, 26.0, "0.975"),
        plots.Sized("dense", "dense, float32", 12_345, 31.0, "0.975"),
        plots.Sized("dense", "dense, 8 bits", 4000, 30.0, "0.500"),
    ]
    lines = list(tables.by_size(points, best=33.4))  # of which nine tenths are 30.06
    assert "| dense | dense, 8 bits | 4 | 30.00 | 0.500 | 89.8% |" in lines
    found = ["- masked, ticket: none", "- dense, float32: 12,345 bytes (dense)", "- dense, 8 bits: none"]
    assert lines[-4:-1] == found
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    assert {file.name for file in (tmp_path / "results").glob("*.*")} == {"sizes.md", "sizes.png", "sizes-bytes.png"}
    assert "| 26.00 ± 1.41 | 0.975 | 83.9% | 12.5% |" in (tmp_path / "results" / "sizes.md").read_text()
    page = "\n".join(tables.page(path, tables.rows_of(path)))
    assert "| 26.00 ± 1.41 | 0.975 | 83.9% | 12.5% |" in page
    assert "| +5.00 | 31.00 ± 1.41 | 0.975 |  | 12.5% |" in page
    assert "The share of dense BLEU is the test BLEU over that of 'dense', the dense model of highest" in page


def test_effects_are_of_one_text_and_against_the_first_run(tmp_path: Path) -> None:
    runs = '[runs]\n"a" = {}\n"b" = {lr = 1}\n"c" = {data = "data-bin/toy.en-de"}\n'
    path = write(tmp_path, 'data = "data-bin/toy.de-en"\n' + runs)
    kept(path, {"b-s1": result(22, 9), "c-s1": result(21, 9)})
    later = tables.rows_of(path)
    assert [effect(row, None) for row in later] == [None, None]
    kept(path, {"a-s1": result(20, 9)})
    rows = tables.rows_of(path)
    assert [effect(row, rows[0]) for row in rows] == [None, 2.0, None]
    assert tables.effects(rows, rows[0]) == {"b": 2.0}


def test_readme_shows_what_was_tested_of_the_main_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    path = write(tmp_path).rename(tmp_path / "multi30k.toml")
    dense, masked = result(40, 5), result(30, 9)
    other = result(31, 8)
    for one in (dense, masked, other):
        one["test"] = {**one["valid"], "exact_match": 0.1}
    kept(path, {"dense-s1": dense, "reference-s1": masked, "lr-5e-4-no-dropout-s7": other})
    columns = tables.SHOWN["README.md"][1]
    monkeypatch.setitem(tables.SHOWN, "README.md", ({"multi30k": ("dense", "reference")}, columns))
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table: python -m scripts.tables -->\nold\n<!-- end of table -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    assert readme.read_text().splitlines() == [
        "before",
        "<!-- table: python -m scripts.tables -->",
        "| run | seeds | test BLEU | test brevity penalty | share of dense BLEU | file, kB |",
        "| --- | --- | --- | --- | --- | --- |",
        "| reference | 1 | 30.00 | 0.975 | 75.0% | 12 |",
        "| dense | 1 | 40.00 | 0.975 |  | 12 |",
        "",
        "BLEU is sacrebleu's, `nrefs:1`, with beam 5. A brevity penalty below 1 means that translations are too short. "
        "The share of dense BLEU is the test BLEU over that of 'dense', the dense model of highest validation BLEU. "
        "The file is a ticket, or a dense model in float32, without dictionaries and tokenizer.",
        "<!-- end of table -->",
        "after",
    ]


def test_findings_show_runs_of_several_studies_beside_the_first_study_s_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    one = write(tmp_path).rename(tmp_path / "one.toml")
    two = write(tmp_path).rename(tmp_path / "two.toml")
    kept(one, {"reference-s1": result(20, 9), "dense-s1": result(30, 5)})
    kept(two, {"reference-s1": result(23, 9), "dense-s1": result(31, 5)})
    shown = {"a finding": ({"one": (), "two": ("reference",), "none": ()}, ("run", "valid BLEU", "effect"))}
    monkeypatch.setattr(tables, "FINDINGS", shown)
    page = tmp_path / "results" / "README.md"
    page.write_text("<!-- table: python -m scripts.tables: a finding -->\n<!-- end of table -->\n")
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    assert page.read_text().splitlines()[1:-1] == [
        "| run | valid BLEU | effect |",
        "| --- | --- | --- |",
        "| reference | 20.00 |  |",
        "| dense | 30.00 | +10.00 |",
        "| reference | 23.00 | +3.00 |",
    ]


def test_other_pages_show_some_columns_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    runs = '[runs]\n"first" = {}\n"second" = {lr = 1}\n'
    path = write(tmp_path, 'data = "x"\nsplits = ["test"]\n' + runs).rename(tmp_path / "rules.toml")
    first = {**result(20, math.e**2), "size": {"weights": 16, "bytes": 3}}
    first["test"] = {**first.pop("valid"), "exact_match": 0}
    del first["seconds"]
    kept(path, {"first-s1": first})
    page = tmp_path / "docs" / "rules.md"
    page.parent.mkdir()
    page.write_text("<!-- table: python -m scripts.tables -->\n<!-- end of table -->\n")
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    shown = page.read_text().splitlines()
    head, line = "| run | bits a weight | valid loss | test BLEU |", "| first | 1.50 | 2.000 | 20.00 |"
    assert shown[1:4] == [head, "| --- | --- | --- | --- |", line]
    assert "Valid loss is the lowest of all epochs, in nats a token" in shown[5]
    whole = (tmp_path / "results" / "rules.md").read_text()
    assert "| first | 400 | 1 | [1](rules/first-s1.json) | 7.39 | 20.00 | 0.975 | 0.0% | 0 |" in whole  # 0.003 kB


def test_a_study_of_many_rows_has_its_effects_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(tables, "CURVES", 2)
    drawn: dict[str, object] = {}
    monkeypatch.setattr(plots, "effects", lambda path, *what: drawn.update({path.name: what}))
    path = write(tmp_path)
    results = {"reference-s1": result(20, 9), "reference-s2": result(22, 11), "dense-s2": result(30.5, 5)}
    kept(path, {**results, "lr-5e-4-no-dropout-s7": {"diverged": "FloatingPointError"}})
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    assert drawn == {"toys.png": ({"dense": 9.5}, [20, 22])}
    assert "![effects](toys.png)" in (tmp_path / "results" / "toys.md").read_text()


def test_effects_are_drawn_beyond_the_span_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots.effects(tmp_path / "effects.png", {"far": -26.3, "near": 0.5}, [1.0])
    assert (tmp_path / "effects.png").stat().st_size > 1000


def test_models_trained_through_the_rounding_are_of_their_bits(tmp_path: Path) -> None:
    runs = '[runs]\n"a" = {dense = true, train-bits = 2, splits = ["test"]}\n'
    path = write(tmp_path, 'data = "data-bin/toy.de-en"\n' + runs)
    kept(path, {"a-s1": {**result(30, 5), "test": result(29, 5)["valid"]}})
    assert list(tables.sized(tables.rows_of(path))) == [
        plots.Sized("a", "dense, trained in 2 bits", 12_345, 29, "0.975")
    ]
