"""Files of MNIST and CIFAR, with a few small images that are known."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

TRAIN_PIXELS = [[[0, 1], [2, 3]], [[4, 5], [6, 255]], [[7, 7], [7, 7]]]
TEST_PIXELS = [[[9, 8], [7, 6]]]


def idx(values: Any, *, kind: int = 8) -> bytes:
    """An IDX file of bytes."""
    array = np.array(values, np.uint8)
    return struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


FILES = {
    "train-images-idx3-ubyte": idx(TRAIN_PIXELS),
    "train-labels-idx1-ubyte": idx([3, 0, 9]),
    "t10k-images-idx3-ubyte": idx(TEST_PIXELS),
    "t10k-labels-idx1-ubyte": idx([1]),
}


def mnist(folder: Path, zipped: bool = False, dotted: bool = False, **changed: bytes | None) -> Path:
    """The four files, of which some have another content, or are missing: ``train_labels=...``."""
    for name, content in FILES.items():
        other = changed.get("_".join(name.split("-")[:2]), content)
        if other is not None:
            path = folder / (name.replace("-idx", ".idx") if dotted else name)
            path = path.with_name(path.name + ".gz") if zipped else path
            path.write_bytes(gzip.compress(other) if zipped else other)
    return folder


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), np.uint8)


def cifar10_files() -> dict[str, bytes]:
    """Two images a file, of the labels 0 to 9, and 0 and 1 in the test file."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    records = [bytes([i % 10]) + PIXELS[i].tobytes() for i in range(12)]
    return {name: records[2 * i] + records[2 * i + 1] for i, name in enumerate(names)}


def cifar100_files() -> dict[str, bytes]:
    """Ten training images of the labels 99 to 90, and two test images."""

    def record(i: int) -> bytes:
        return bytes([19 - i, 99 - i]) + PIXELS[i].tobytes()

    return {"train.bin": b"".join(map(record, range(10))), "test.bin": record(10) + record(11)}


def pickled(images: np.ndarray, labels: list[int], key: str = "labels") -> bytes:
    """As Python 2 wrote them: protocol 2, strings of bytes, keys in no order."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    raw = images.tobytes()
    dtype = b"cnumpy\ndtype\nq\x02" + text(b"u1") + b"K\x00K\x01\x87Rq\x03(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + b"(" + number(len(images)) + number(3072) + b"t" + dtype
    array += b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + listed + b"u."
