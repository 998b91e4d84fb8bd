"""Studies: tables of trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.engine import ACCEPTED, REFUSED, Case

HONEST = 'data = "data-bin/x.de-en"\n[flags]\nlr = 1e-3\n[runs]\n"a" = {}\n'


def study(content: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "s.toml").write_bytes(content.encode() if isinstance(content, str) else content)
        return folder / "s.toml"

    return make


def read(path: Path) -> None:
    """What `scripts/sweep.py --list` does, and where it would write."""
    import shlex

    from scripts.study import ROOT, read_study

    for run in read_study(path):
        print(shlex.join(run.command()))
        assert run.result.resolve().is_relative_to(path.parent / "results")
        assert (ROOT / run.folder).resolve().is_relative_to(ROOT / "runs")


def with_run(name: str, settings: str = "{}") -> str:
    return HONEST.replace('"a" = {}', f"{name} = {settings}")


def cases() -> list[Case]:
    made: dict[str, tuple[str | bytes, Any]] = {
        "arrays nested 100,000 deep": ("x = " + "[" * 100_000, REFUSED),
        "tables nested 50,000 deep": ("x" + ".x" * 50_000 + " = 1", REFUSED),
        "a number of 10,000 digits": ("data = " + "9" * 10_000, REFUSED),
        "a date that is none": ("data = 2024-02-31", REFUSED),
        "no UTF-8": (b'data = "\xff"', REFUSED),
        "NUL bytes": (b"\0\0\0", REFUSED),
        "nothing": ("", REFUSED),
        "100,000 comments": ("#\n" * 100_000 + HONEST, ACCEPTED),
        "a run that climbs": (with_run('"../../x"'), ACCEPTED),
        "a run of nothing but dots": (with_run('".."'), ACCEPTED),
        "a run with a command": (with_run('"$(touch trace); `touch trace`"'), ACCEPTED),
        "a run that drives terminals": (with_run('"\\u001b[2J"'), REFUSED),
        "a flag that drives terminals": (with_run('"a"', '{ arch = "\\u001b[2J" }'), REFUSED),
        "a flag's name that drives terminals": (with_run('"a"', '{ "\\u0007" = 1 }'), REFUSED),
        "a flag with a command": (with_run('"a"', '{ arch = "; touch trace" }'), ACCEPTED),
        "a run called nothing": (with_run('""'), None),
        "a run that is a number": (with_run('"a"', "3"), REFUSED),
        "flags that are a number": (HONEST.replace("[flags]\nlr = 1e-3", "flags = 3"), REFUSED),
        "runs that are a list": (
            HONEST.replace('[runs]\n"a" = {}', "").replace("[flags]", "runs = [1]\n[flags]"),
            REFUSED,
        ),
    }
    for key, values in {
        "seeds": ("3", '["x"]', "[1.5]", "{}", "[[1]]", "[]", "true"),
        "splits": ("3", "[1]", "{}", '["../x"]'),
        "beam": ('"x"', "0", "-1", "[1]", "1e9"),
        "lenpen": ('"x"', '["x"]', "nan", "[{}]"),
        "last": ('"x"', "-1", "[1]"),
        "bits": ('"x"', '["x"]', "[1e9]"),
        "gpus": ('"x"', "0", "[1]"),
        "data": ("3", "[]", '"\\u0000"', "{}"),
        "title": ("3", "[]"),
    }.items():
        for value in values:
            old = 'data = "data-bin/x.de-en"\n'
            content = HONEST.replace(old, ("" if key == "data" else old) + f"{key} = {value}\n")
            made[f"{key} = {value}"] = content, None
    for value in ("[1]", "{ x = 1 }", "1979-05-27", "inf", "nan"):
        made[f"a flag of {value}"] = with_run('"a"', "{ lr = " + value + " }"), None
    return [Case(name, study(content), read, outcome) for name, (content, outcome) in made.items()]
