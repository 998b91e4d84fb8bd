"""MNIST, and whatever else comes as its four IDX files.

The format (LeCun, Cortes & Burges, http://yann.lecun.com/exdb/mnist): two zero bytes, the type (8: bytes), the number
of dimensions, each dimension as a big-endian 32-bit number, and the values, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from .errors import DataError
from .splits import DataSet, Images, Reading, data_set

_BYTES = 8  # the type of the values
_MEND = "get it again"


def load_mnist(root: Path | None, reading: Reading) -> DataSet:
    """(1, 28, 28), labels 0 to 9, from ``train-images-idx3-ubyte`` and the other three in the folder ``root``.

    Each may be gzip (``.gz``), and have a dot before ``idx``. Raises ``DataError`` where one is missing or wrong.
    """
    if root is None:
        raise DataError("mnist: name the folder (root) of its four IDX files")
    paths = {(split, what): _find(root, split, what) for split in ("train", "t10k") for what in ("images", "labels")}
    train, test = (
        _split(paths[split, "images"], paths[split, "labels"], reading.in_memory) for split in ("train", "t10k")
    )
    if train.shape != test.shape:
        raise DataError(
            f"{paths['t10k', 'images']} holds images of {_times(test.shape[1:])}, and those for training are "
            f"{_times(train.shape[1:])}: take both files from one set"
        )
    return data_set("mnist", tuple("0123456789"), train, test, reading)


def _find(root: Path, split: str, what: str) -> Path:
    dimensions = {"images": 3, "labels": 1}[what]
    names = [f"{split}-{what}{mark}idx{dimensions}-ubyte" for mark in "-."]
    for name in [*names, *(name + ".gz" for name in names)]:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root} lacks {names[0]} (plain or .gz): give the folder that holds the four files of MNIST")


def _split(images_path: Path, labels_path: Path, most: int) -> Images:
    images, labels = read_idx(images_path, 3, most), read_idx(labels_path, 1, most)
    if len(images) != len(labels):
        counts = f"{len(images):,} images, and {labels_path} {len(labels):,} labels"
        raise DataError(f"{images_path} holds {counts}: take both files from one set")
    if int(labels.max()) > 9:
        raise DataError(f"{labels_path} holds the label {int(labels.max())}, and digits end at 9: {_MEND}")
    return Images(images[:, None], labels.long())


def read_idx(path: Path, dimensions: int, most: int = Reading.in_memory) -> Tensor:
    """The values of an IDX file, plain or gzip by its name: uint8, of its shape, on the CPU.

    Raises ``DataError`` unless it is whole, of bytes, of so many dimensions, none of them 0, and not above ``most``
    bytes. No more than one byte beyond what its header says is ever unpacked.
    """
    try:
        with _open(path) as file:
            magic = file.read(4)
            if magic != bytes([0, 0, _BYTES, dimensions]):
                kind = (
                    f"not an IDX file of bytes in {dimensions} dimensions (it begins with {magic.hex() or 'nothing'})"
                )
                raise DataError(f"{path} is {kind}: {_MEND}")
            header = file.read(4 * dimensions)
            if len(header) < 4 * dimensions:
                raise EOFError
            shape = struct.unpack(f">{dimensions}I", header)
            size = math.prod(shape)
            if not 0 < size <= most:
                raise DataError(f"{path} claims to hold {_times(shape)} bytes, of at most {most:,}: {_MEND}")
            content = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut short or damaged: {_MEND}") from error
    if len(content) != size:
        how = "less" if len(content) < size else "more"
        raise DataError(f"{path} holds {how} than the {_times(shape)} bytes that its header says: {_MEND}")
    return torch.from_numpy(np.frombuffer(bytearray(content), np.uint8).reshape(shape))


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
