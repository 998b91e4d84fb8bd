"""`data.json`: what a prepared data folder holds and how it was made. Written last, so its presence means "done"."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import sha256, write_whole
from .lines import read_lines

FILE = "data.json"
FORMAT = 1
SPLITS = ("train", "valid", "test")
MODELS = {"sentencepiece": "spm.model", "moses-bpe": "codes"}
ALPHA = 0.2
_TYPES = {"str": str, "int": int, "bool": bool, "float": float}
_SAMPLING = ("samples", "alpha", "seed")  # written only where there are samples


@dataclass(frozen=True)
class Settings:
    """What decides the contents of a data folder, apart from the text itself."""

    corpus: str
    source: str
    target: str
    tokenizer: str  # a key of MODELS
    size: int  # sentencepiece: pieces; moses-bpe: merges
    lowercase: bool
    aggressive: bool  # Moses' aggressive hyphen splitting
    joined_dictionary: bool
    samples: int = 1  # segmentations of each training pair, the best one first
    alpha: float = ALPHA  # of the sampled ones
    seed: int = 1  # of the sampled ones

    @property
    def model(self) -> str:
        """Name of the subword model's file."""
        return MODELS[self.tokenizer]

    @property
    def languages(self) -> tuple[str, str]:
        return self.source, self.target


@dataclass(frozen=True)
class Manifest:
    """The contents of `data.json`."""

    settings: Settings
    text: str  # sha256 of the text it was made from: the same settings with other text is other data
    pairs: Mapping[str, int]
    sha256: Mapping[str, str]  # every other file of the folder
    versions: Mapping[str, str]
    added: Sequence[str] = ()  # what else than the corpus is in the training text

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check `folder/data.json`. The files it lists must be there; `verify` looks into them."""
        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder} is not a prepared data folder (no {FILE}): make one with data_prep/<corpus>.sh")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not valid JSON ({error}): delete {folder} and prepare it again") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else None
            raise UserError(f"{path}: format {found!r} is not {FORMAT}: delete {folder} and prepare it again")
        try:
            manifest = cls(
                settings=Settings(
                    **{
                        f.name: _typed(data, f.name, _TYPES[str(f.type)])
                        for f in fields(Settings)
                        if f.name in data or f.name not in _SAMPLING
                    }
                ),
                text=_typed(data, "text", str),
                pairs=_mapping(data, "pairs", int),
                sha256=_mapping(data, "sha256", str),
                versions=_mapping(data, "versions", str),
                added=tuple(_strings(data.get("added", []))),
            )
            if manifest.settings.tokenizer not in MODELS:
                raise ValueError(f"tokenizer {manifest.settings.tokenizer!r} is not one of {', '.join(MODELS)}")
            samples = manifest.settings.samples
            if samples < 1 or manifest.pairs.get("train", 0) % samples:
                raise ValueError(f"samples {samples} must divide the number of training pairs")
            if set(manifest.pairs) != set(SPLITS):
                raise ValueError(f"pairs must name {', '.join(SPLITS)}")
            if any(Path(name).is_absolute() or ".." in Path(name).parts for name in manifest.sha256):
                raise ValueError("sha256 names a file outside the folder")
        except ValueError as error:
            raise UserError(f"{path}: {error}: delete {folder} and prepare it again") from error
        missing = [name for name in manifest.sha256 if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder} lacks {', '.join(missing)}: delete it and prepare it again")
        return manifest

    def verify(self, folder: Path, *patterns: str) -> None:
        """Compare files with their checksums: all, or those whose names match one of ``patterns``.

        Raises ``UserError`` that names the first one that has changed.
        """
        for name, expected in self.sha256.items():
            if name.endswith(".log"):  # no data, and fairseq may go on writing it
                continue
            if any(fnmatch(name, pattern) for pattern in patterns or ("*",)) and sha256(folder / name) != expected:
                raise UserError(f"{folder / name} has changed: delete {folder} and prepare it again")

    def write(self, folder: Path) -> None:
        """Write `folder/data.json`, whole or not at all."""
        settings = asdict(self.settings)
        if self.settings.samples == 1:
            settings = {name: value for name, value in settings.items() if name not in _SAMPLING}
        data = {"format": FORMAT, **settings, "model": self.settings.model, "text": self.text}
        data.update(pairs=dict(self.pairs), sha256=dict(self.sha256), versions=dict(self.versions))
        data.update({"added": list(self.added)} if self.added else {})
        write_whole(folder / FILE, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_split(folder: Path, split: str, language: str) -> list[str]:
    """One side of a split, from a data folder's `raw` or `tok`."""
    path = folder / f"{split}.{language}"
    if not path.is_file():
        raise UserError(f"{folder.parent} has no split {split!r} to score: {path} is missing; prepare the folder again")
    lines = list(read_lines(path))
    if not lines:
        raise UserError(f"{path} is empty: delete {folder.parent} and prepare it again")
    return lines


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file of the folder but `data.json`, by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def _typed(data: Mapping[str, Any], name: str, kind: type) -> Any:
    if type(data.get(name)) is not kind:
        raise ValueError(f"{name!r} must be {kind.__name__}, not {data.get(name)!r}")
    return data[name]


def _mapping(data: Mapping[str, Any], name: str, kind: type) -> dict[str, Any]:
    return {key: _typed(data[name], key, kind) for key in _typed(data, name, dict)}


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or any(type(item) is not str for item in value):
        raise ValueError(f"'added' must be a list of strings, not {value!r}")
    return value
