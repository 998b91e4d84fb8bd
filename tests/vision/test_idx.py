"""MNIST, read from tiny files whose pixels are known, from files that lie, and from the real ones."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from one_layer_lt.vision.data import Images, load
from tests.support.datasets import FILES, TEST_PIXELS, TRAIN_PIXELS, idx, mnist
from tests.support.pictures import refused

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_idx_round_trip(tmp_path: Path, zipped: bool, dotted: bool) -> None:
    data = load("mnist", mnist(tmp_path, zipped, dotted))
    assert isinstance(data.train, Images)
    assert isinstance(data.test, Images)
    assert data.train.images.tolist() == [[image] for image in TRAIN_PIXELS]
    assert data.train.labels.tolist() == [3, 0, 9]
    assert data.test.images.tolist() == [[image] for image in TEST_PIXELS]
    assert data.mean == pytest.approx((np.mean(TRAIN_PIXELS) / 255,))
    assert data.std == pytest.approx((np.std(TRAIN_PIXELS) / 255,))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("train_images", FILES["train-images-idx3-ubyte"][:-1], "holds less than the 3x2x2 bytes"),
        ("train_images", FILES["train-images-idx3-ubyte"] + b"\0", "holds more than the 3x2x2 bytes"),
        ("train_images", FILES["train-labels-idx1-ubyte"], "in 3 dimensions (it begins with 00000801)"),
        ("train_images", b"", "it begins with nothing"),
        ("train_images", idx(TRAIN_PIXELS, kind=13), "00000d03"),
        ("train_images", idx(TRAIN_PIXELS)[:9], "cut short"),
        ("train_images", idx(np.zeros((0, 2, 2))), "claims to hold 0x2x2"),
        ("train_images", struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "claims to hold"),
        ("train_labels", idx([3, 0]), "2 labels"),
        ("train_labels", idx([3, 0, 10]), "the label 10"),
        ("t10k_images", idx([[[9, 8, 7]]]), "images of 1x3"),
        ("t10k_labels", None, "lacks t10k-labels-idx1-ubyte (plain or .gz)"),
    ],
)
def test_idx_that_lies(tmp_path: Path, zipped: bool, file: str, content: bytes | None, words: str) -> None:
    changed: dict[str, Any] = {file: content}
    mnist(tmp_path, zipped, **changed)
    refused(lambda: load("mnist", tmp_path), file.replace("_", "-"), words)


def test_gzip_that_lies(tmp_path: Path) -> None:
    path = mnist(tmp_path, zipped=True) / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for damaged in (b"", b"plain", whole[:-1], whole[:15], whole[:-8] + bytes(4) + whole[-4:], whole + b"more"):
        path.write_bytes(damaged)
        refused(lambda: load("mnist", tmp_path), "train-images-idx3-ubyte.gz", "get it again")


def test_gzip_is_unpacked_no_further_than_its_header_says(tmp_path: Path) -> None:
    mnist(tmp_path, zipped=True, train_images=idx(TRAIN_PIXELS) + bytes(100 << 20))
    tracemalloc.start()
    refused(lambda: load("mnist", tmp_path), "holds more")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="needs ../shared/data/mnist")
def test_the_real_mnist() -> None:
    data = load("mnist", REAL / "mnist")
    assert (len(data.train), len(data.test), data.train.shape) == (60_000, 10_000, (1, 28, 28))
    assert next(data.train.batches(5))[1].tolist() == [5, 0, 4, 1, 9]
    assert next(data.test.batches(5))[1].tolist() == [7, 2, 1, 0, 4]
    assert data.mean == pytest.approx((0.1307,), abs=1e-4)
    assert data.std == pytest.approx((0.3081,), abs=1e-4)
