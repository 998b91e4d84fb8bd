"""scripts/benchmark.py: what it measures, with sizes that take no time, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from one_layer_lt.errors import UserError
from scripts import benchmark
from scripts.bench import steps, tickets, timing, vision
from scripts.bench.timing import Row, interleaved

SMALL: dict[ModuleType, dict[str, Any]] = {
    steps: {
        "ARCH": "one_layer_masked_tiny",
        "VOCABULARY": 50,
        "LENGTH": 4,
        "TOKENS": 64,
        "WIDTHS": (8, 16),
        "LAYER": 8,
    },
    tickets: {"ARCH": "one_layer_masked_tiny"},
    vision: {"RECIPE": "mnist-lenet", "BATCH": 2},
}
SAID = {
    steps._MEMORY: "8192",
    steps._START: "0.5 1000",
    tickets._FIRST_TRANSLATION: "0.25 1.5",
    tickets._MEMORY: "4096",
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, sizes in SMALL.items():
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr(module, "interleaved", lambda functions, rounds, **_: interleaved(functions, 1, warmup=0))
    for subject in (steps, tickets):
        monkeypatch.setattr(subject, "in_process", lambda code, *_: SAID[code])


def measured(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark.py", *map(str, arguments)])
    monkeypatch.setattr("logging.disable", lambda level: None)  # for other tests' sake
    benchmark.main()


def test_figures_are_kept_by_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "it.json"
    measured(monkeypatch, "steps", "tickets", "--out", out)
    measured(monkeypatch, "vision", "--out", out)
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == ["steps", "tickets", "vision"]  # those of before stay
    for run in rows.values():
        assert run.keys() == {"commit", "machine", "versions", "figures"}
        assert run["versions"].keys() == {"python", "torch", "numpy"}
        for figure in run["figures"]:
            assert figure.keys() == {"name", "value", "least", "most", "detail", "holds"}
            assert figure["value"] > 0
    by_name = {figure["name"]: figure for run in rows.values() for figure in run["figures"]}
    assert by_name["peak resident memory of training, base size, masked / dense"]["value"] == 1
    start = by_name["from the seed to a ready model of 32 M weights, seconds"]
    assert (start["value"], start["most"], start["holds"]) == (0.5, 2, True)
    assert start["detail"] == {"seconds": {"masked": 0.5, "dense": 0.5}, "parameters": 1000}
    assert by_name["file to first translation, 32 M weights, seconds"]["detail"]["with_imports_s"] == 1.5
    page = out.with_suffix(".md").read_text()
    assert all(f"| {name} | " in page for name in by_name)
    assert out.with_suffix(".png").stat().st_size > 1000
    assert "training step, ResNet-18" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["speed"], "unknown subject 'speed'; choose of steps, ranks, tickets, vision"),
        (["tickets", "--ticket", "none.ticket"], "--ticket and --data go together"),
        (["tickets", "--ticket", "none.ticket", "--data", "none"], "no such file or folder: none.ticket"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((SystemExit, UserError)) as failed:
        measured(monkeypatch, *arguments)
    said = capsys.readouterr().err or f"error: {failed.value}\n"
    assert says in said
    assert said.count("\n") == 1


def test_a_bound_holds_or_not() -> None:
    assert [Row("a", value, least=1, most=2).holds for value in (0.5, 1, 2, 2.5)] == [False, True, True, False]
    assert Row("a", None, most=2).holds is None


def test_functions_are_timed_in_turns() -> None:
    calls: list[str] = []
    times = timing.interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, 2, warmup=1)
    assert calls == ["a", "b"] * 3
    assert times.keys() == {"a", "b"}


def test_the_last_line_of_a_process_is_its_figure() -> None:
    assert timing.in_process("import sys; print('warning'); print(sys.argv[1])", "7").split() == ["7"]
    with pytest.raises(UserError, match="a measurement ended with code 1: ValueError: no"):
        timing.in_process("raise ValueError('no')")
