"""Decoded images kept in a file, with what they were decoded from: a safetensors file of two splits."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ...files import whole
from .splits import Images, Reading

logger = logging.getLogger(__name__)

_KEY = "one_layer_lt.images"  # the one entry of the metadata
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a folder or an archive holds: its classes, its splits, and how many files were left out of them."""

    classes: tuple[str, ...]
    train: Images
    test: Images
    left_out: int


def source_of(root: Path, files: Iterable[Path]) -> str:
    """A digest (hex) of the names, sizes and times of the files below ``root``, or of ``root`` itself, a file."""
    digest = hashlib.sha256()
    for path in files:
        at = path.stat()
        digest.update(json.dumps([str(path.relative_to(root)), at.st_size, at.st_mtime_ns]).encode())
    return digest.hexdigest()


def read(path: Path, source: str, reading: Reading) -> Decoded | None:
    """What the cache holds, or None: unless it is there and whole, and of the same source, read in the same way."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            expected = _about(source, reading)
            fits = {key: about.get(key) for key in expected} == expected
            if not fits or (about["left_out"] and reading.broken == "refuse"):
                logger.info("%s is not of this data, or was read otherwise: decoding again", path)
                return None
            tensors = [file.get_tensor(name) for name in ("train", "train_labels", "test", "test_labels")]
        decoded = Decoded(tuple(about["classes"]), Images(*tensors[:2]), Images(*tensors[2:]), about["left_out"])
        for split in (decoded.train, decoded.test):
            if not len(split) or not 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(decoded.classes):
                raise ValueError("labels out of range")
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("%s cannot be read (%s): decoding again", path, error)
        return None
    if decoded.left_out:
        logger.warning("%s: %s images that cannot be decoded are left out", path, f"{decoded.left_out:,}")
    return decoded


def write(path: Path, decoded: Decoded, source: str, reading: Reading) -> None:
    """Write the cache, whole or not at all. Where that fails, a warning says why."""
    about = {**_about(source, reading), "classes": decoded.classes, "left_out": decoded.left_out}
    tensors = {
        "train": decoded.train.images,
        "train_labels": decoded.train.labels,
        "test": decoded.test.images,
        "test_labels": decoded.test.labels,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, {_KEY: json.dumps(about)})
    except (OSError, SafetensorError) as error:
        logger.warning("%s cannot be written (%s): see to its folder and its disk", path, error)


def _about(source: str, reading: Reading) -> dict[str, object]:
    return {"version": _VERSION, "source": source, "size": reading.size}
