"""Studies: tables of trainings, read from TOML files (scripts/studies)."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from one_layer_lt.errors import UserError
from one_layer_lt.rounding import BITS
from one_layer_lt.toml import read_toml
from scripts.results import RESULTS, ROOT

STUDIES = ROOT / "scripts" / "studies"
SETTINGS: dict[str, Any] = {
    "data": "",
    "seeds": [1],
    "splits": ["valid"],
    "beam": 5,
    "lenpen": 1.0,
    "last": None,
    "bits": [],
    "gpus": 1,
}
KINDS = {"fairseq": SETTINGS, "vision": {name: SETTINGS[name] for name in ("data", "seeds")}}
"""What a study trains, and the settings that it has."""


@dataclass(frozen=True)
class Run:
    """One training of a study.

    flags: of the command that trains it, by name; True for one without a value. results: the folder of the results of
    studies, None for the project's own. kind: of ``KINDS``. The other fields are the keys of ``SETTINGS``.
    """

    study: str
    name: str
    seed: int
    flags: Mapping[str, Any]
    data: str
    splits: tuple[str, ...] = ("test",)
    beam: int = 5
    lenpen: tuple[float, ...] = (1.0,)
    last: Optional[int] = None
    bits: tuple[int, ...] = ()
    gpus: int = 1
    results: Optional[Path] = None
    kind: str = "fairseq"

    @property
    def slug(self) -> str:
        """The name in those of files."""
        return f"{re.sub(r'[^A-Za-z0-9.=-]+', '-', self.name).strip('-')}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """Of its checkpoints, relative to the repository."""
        return Path("runs", self.study, self.slug)

    @property
    def result(self) -> Path:
        """The JSON that keeps what it gave."""
        return (self.results or RESULTS) / self.study / f"{self.slug}.json"

    @property
    def language_pair(self) -> str:
        """Of its data: folders are named so."""
        return Path(self.data).suffix

    @property
    def is_dense(self) -> bool:
        return bool(self.flags.get("dense"))

    @property
    def train_bits(self) -> Optional[int]:
        """Of each weight, where it is trained through the rounding."""
        return self.flags.get("train-bits") or None

    def command(self) -> list[str]:
        """The command that trains it, the same on every machine."""
        flags: list[str] = []
        for name, value in self.flags.items():
            if value is not False:
                flags += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        flags += ["--seed", str(self.seed)]
        if self.kind == "vision":
            root = ["--root", self.data] if self.data else []
            return ["one-layer-lt", "vision", "train", *root, *flags, "--out", str(self.folder)]
        arguments = ["fairseq-train", self.data, "--user-dir", "fairseq_plugins", *flags]
        arguments += [] if self.is_dense else ["--mask-seed", str(self.seed)]
        arguments += ["--num-workers", "0", "--update-epoch-batch-itr", "True"]
        return [*arguments, "--save-dir", str(self.folder)]

    def settings(self) -> dict[str, Any]:
        """How it is scored, as JSON would have it."""
        if self.kind == "vision":
            return {}
        lists = {"splits": self.splits, "lenpen": self.lenpen, "bits": self.bits}
        return {**{name: list(values) for name, values in lists.items()}, "beam": self.beam, "last": self.last}

    def kept(self) -> Optional[dict[str, Any]]:
        """What it gave, if it is done. Raises ``UserError`` where that is of other flags or settings."""
        if not self.result.is_file():
            return None
        result: dict[str, Any] = json.loads(self.result.read_text())
        same = result["command"] == shlex.join(self.command())
        if not same or result.get("settings", self.settings()) != self.settings():
            raise UserError(
                f"{self.result} is of other flags or settings than the study's: remove it and {self.folder}, or name "
                "the run anew"
            )
        return result


def results_of(path: Path) -> Path:
    """Where the results of a study go: the project's own to docs/results, others beside the study."""
    return RESULTS if path.resolve().parent == STUDIES else path.parent / "results"


def read_study(path: Path, results: Optional[Path] = None) -> list[Run]:
    """The runs of a study, seed by seed. Raises ``UserError`` that names the file and what is wrong in it.

    results: the folder that keeps what its runs give, in place of ``results_of``.
    """
    study = _parsed(path)
    kind = study.get("kind", "fairseq")
    if kind not in KINDS:
        raise UserError(f"{path}: unknown kind {kind!r}; choose of {', '.join(KINDS)}")
    for name in study:
        if name not in {"title", "kind", "flags", "runs", *KINDS[kind]}:
            raise UserError(f"{path}: unknown key {name!r}; flags of the training go under [flags]")
    if not isinstance(study.get("runs"), dict) or not study["runs"]:
        raise UserError(f"{path} has no [runs]")
    runs = [
        run
        for name, changes in study["runs"].items()
        for run in _runs(path, study, name, changes, results or results_of(path))
    ]
    slugs = [run.slug for run in runs]
    for run in runs:
        if slugs.count(run.slug) > 1:
            raise UserError(f"{path}: the run {run.name!r} would share its files with another: change its name")
    return runs


def chosen(runs: list[Run], names: list[str]) -> list[Run]:
    """The runs of these names, or slugs, in their order, each once. Raises ``UserError`` where none has a name."""
    for name in names:
        if not any(name in (run.name, run.slug) for run in runs):
            raise UserError(f"unknown run {name!r}; choose of: {'; '.join(dict.fromkeys(run.name for run in runs))}")
    found = [run for name in names for run in runs if name in (run.name, run.slug)]
    return [run for number, run in enumerate(found) if run not in found[:number]]  # two trainings must not share files


def title_of(path: Path) -> str:
    """What a study says it is about."""
    return str(_parsed(path).get("title", path.stem))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except FileNotFoundError:
        raise UserError(f"no such study: {path}") from None


def _check_types(path: Path, name: str, settings: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Raises ``UserError`` for settings and flags of other types than they can be, and what terminals would obey."""

    def is_count(value: Any) -> bool:
        return type(value) is int and value >= 1

    checks = {
        "data": (lambda value: isinstance(value, str), "a folder"),
        "seeds": (lambda value: isinstance(value, list) and all(type(part) is int for part in value), "integers"),
        "splits": (lambda value: all(part in ("train", "valid", "test") for part in value), "train, valid and test"),
        "beam": (is_count, "an integer above 0"),
        "lenpen": (lambda value: all(type(part) in (int, float) and math.isfinite(part) for part in value), "numbers"),
        "last": (lambda value: value is None or is_count(value), "an integer above 0"),
        "bits": (lambda value: all(type(part) is int for part in value), "integers"),
        "gpus": (is_count, "an integer above 0"),
    }
    for key, (holds, must) in checks.items():
        if key in settings and not holds(settings[key]):
            raise UserError(f"{path}: the run {name!r} has {key} {settings[key]!r:.60}: it must be {must}")
    for flag, value in flags.items():
        if not isinstance(value, (str, int, float)):
            raise UserError(f"{path}: the run {name!r} has {flag!r} {value!r:.60}: a flag takes a word or a number")
    for word in (name, settings["data"], *flags, *map(str, flags.values())):
        if not word.isprintable():
            raise UserError(f"{path}: the run {name!r} has {word!r:.60}, which holds characters that cannot be printed")


def _runs(path: Path, study: Mapping[str, Any], name: str, changes: Mapping[str, Any], results: Path) -> Iterator[Run]:
    if not isinstance(changes, dict):
        raise UserError(f"{path}: the run {name!r} must be a table of flags, as {{ lr = 1e-3 }}")
    if not isinstance(study.get("flags", {}), dict):
        raise UserError(f"{path}: [flags] must be a table, as lr = 1e-3")
    kind = study.get("kind", "fairseq")
    settings = {key: changes.get(key, study.get(key, default)) for key, default in KINDS[kind].items()}
    flags = {**study.get("flags", {}), **{key: value for key, value in changes.items() if key not in settings}}
    for key in ("splits", "bits", "lenpen") if kind == "fairseq" else ():
        settings[key] = tuple(settings[key]) if isinstance(settings[key], list) else (settings[key],)
    _check_types(path, name, settings, flags)
    if kind == "fairseq":
        _check(path, name, settings, flags)
    for seed in settings.pop("seeds"):
        yield Run(study=path.stem, name=name, seed=seed, flags=flags, results=results, kind=kind, **settings)


def _check(path: Path, name: str, settings: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a translator's settings make no sense."""
    if not settings["data"]:
        raise UserError(f"{path}: the run {name!r} has no data: name a prepared folder")
    if settings["bits"] and not flags.get("dense"):
        raise UserError(f"{path}: the run {name!r} has bits, but is not dense: tickets hold about one a weight anyway")
    trained = flags.get("train-bits")
    if settings["bits"] and trained:
        raise UserError(f"{path}: the run {name!r} has bits and train-bits: it is rounded to those of its training")
    for bits in (trained,) if trained else settings["bits"]:
        if bits not in BITS:
            raise UserError(f"{path}: the run {name!r} asks for {bits} bits: they must be from {BITS[0]} to {BITS[-1]}")
