"""fairseq's binary training text as lines of subwords separated by spaces, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset
from fairseq.data.indexed_dataset import make_builder

from .errors import DataError
from .manifest import Settings


def dictionary(folder: Path, language: str) -> Dictionary:
    """The dictionary of one side."""
    return Dictionary.load(str(folder / f"dict.{language}.txt"))


def read_train(folder: Path, settings: Settings, language: str) -> Iterator[str]:
    """The lines of one side of the training text."""
    words = dictionary(folder, language)
    text = load_indexed_dataset(str(folder / _name(settings, language)), words)
    if text is None:
        raise DataError(f"{folder} has no {_name(settings, language)}: delete it and prepare it again")
    return (words.string(line) for line in text)


def write_train(folder: Path, settings: Settings, language: str, lines: Iterable[str]) -> None:
    """Replace one side of the training text, which may be what `lines` is being read from."""
    words, name = dictionary(folder, language), _name(settings, language)
    builder = make_builder(str(folder / f"{name}.new.bin"), "mmap", vocab_size=len(words))
    for line in lines:
        builder.add_item(words.encode_line(line, add_if_not_exist=False).int())
    builder.finalize(str(folder / f"{name}.new.idx"))
    for part in ("bin", "idx"):
        os.replace(folder / f"{name}.new.{part}", folder / f"{name}.{part}")


def _name(settings: Settings, language: str) -> str:
    return f"train.{settings.source}-{settings.target}.{language}"
