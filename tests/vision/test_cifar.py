"""CIFAR, binary and pickled, and pickles that would run what they must not."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from one_layer_lt.vision.data import DataSet, Images, load
from one_layer_lt.vision.data.cifar import CIFAR100
from one_layer_lt.vision.data.pickles import UnsafePickle, load_plain
from tests.support.datasets import PIXELS, cifar10_files, cifar100_files, pickled
from tests.support.pictures import placed, refused, tar


def check_cifar10(data: DataSet) -> None:
    assert isinstance(data.train, Images)
    assert isinstance(data.test, Images)
    assert torch.equal(data.train.images, torch.from_numpy(PIXELS[:10]))
    assert torch.equal(data.test.images, torch.from_numpy(PIXELS[10:]))
    assert data.train.labels.tolist() == list(range(10))
    assert data.test.labels.tolist() == [0, 1]
    assert data.classes[3] == "cat"


def test_cifar10_binary(tmp_path: Path) -> None:
    files = cifar10_files()
    inside = {f"cifar-10-batches-bin/{name}": content for name, content in reversed(files.items())}
    check_cifar10(load("cifar10", placed(tmp_path / "flat", files)))
    check_cifar10(load("cifar10", placed(tmp_path / "deep", inside)))
    check_cifar10(load("cifar10", tar(tmp_path / "cifar-10-binary.tar.gz", inside)))


def test_cifar100_uses_the_fine_labels(tmp_path: Path) -> None:
    data = load("cifar100", placed(tmp_path, cifar100_files()))
    assert isinstance(data.train, Images)
    assert torch.equal(data.train.images, torch.from_numpy(PIXELS[:10]))
    assert data.train.labels.tolist() == list(range(99, 89, -1))
    assert len(data.classes) == 100
    assert data.classes == tuple(sorted(CIFAR100.classes))


def test_cifar_pickled(tmp_path: Path) -> None:
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    flat = PIXELS.reshape(12, 3072)
    files = {
        f"cifar-10-batches-py/{name}": pickled(flat[2 * i : 2 * i + 2], [2 * i % 10, (2 * i + 1) % 10])
        for i, name in enumerate(names)
    }
    check_cifar10(load("cifar10", tar(tmp_path / "cifar-10-python.tar.gz", files)))
    check_cifar10(load("cifar10", placed(tmp_path, files)))

    fine = pickled(flat[:2], [99, 1], "fine_labels")
    again = pickle.dumps({"data": np.asfortranarray(flat[:2]), "fine_labels": [99, 1], "coarse_labels": [0, 1]}, 4)
    data = load("cifar100", placed(tmp_path / "hundred", {"train": fine, "test": again}))
    assert isinstance(data.test, Images)
    assert torch.equal(data.test.images, torch.from_numpy(PIXELS[:2]))  # Python 3, column by column
    assert data.test.labels.tolist() == [99, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a multiple of 3,074"),
        (cifar100_files()["train.bin"][:-1], "not a multiple of 3,074"),
        (bytes([19, 100]) + bytes(3072), "the label 100"),
        (bytes([20, 99]) + bytes(3072), "the label 20"),
    ],
)
def test_cifar_binary_that_lies(tmp_path: Path, content: bytes, words: str) -> None:
    placed(tmp_path, {**cifar100_files(), "train.bin": content})
    refused(lambda: load("cifar100", tmp_path), "train.bin", words)


def test_cifar_missing(tmp_path: Path) -> None:
    files = cifar10_files()
    del files["data_batch_3.bin"]
    refused(lambda: load("cifar10", placed(tmp_path, files)), "lacks data_batch_3.bin: name the folder")
    tar(tmp_path / "a.tar.gz", files)
    refused(lambda: load("cifar10", tmp_path), "or name the archive in it, a.tar.gz")
    refused(lambda: load("cifar10", tmp_path / "a.tar.gz"), "a.tar.gz lacks data_batch_3.bin")
    refused(lambda: load("cifar10", tmp_path / "nowhere"), "nowhere does not exist")
    refused(lambda: load("cifar10", tmp_path / "test_batch.bin"), "neither a folder nor an archive")


class Evil:
    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call, self.arguments


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    for protocol in range(6):
        for evil in (
            Evil(os.system, f"touch {evidence}"),
            Evil(os.mkdir, str(evidence)),
            Evil(eval, f"open({str(evidence)!r}, 'w')"),
            Evil(getattr, "", "join"),
        ):
            content = pickle.dumps({"data": evil, "fine_labels": [1]}, protocol)
            placed(tmp_path, {"train": content, "test": content})
            refused(lambda: load("cifar100", tmp_path), "train asks for '", "get it again")
    assert not evidence.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}.",
        b"\x80\x02]r\xff\xff\xff\xff.",  # a note numbered 4,294,967,295: room for as many
        pickled(PIXELS[:1].reshape(1, 3072), [])[:-1] + b"u.",
        pickled(PIXELS[:2].reshape(2, 3072), [0], "fine_labels"),
        pickled(PIXELS[:1].reshape(1, 3072), [100], "fine_labels"),
        pickled(PIXELS[:1].reshape(1, 3072), [0], "fine_labels")[:-100],
        pickled(PIXELS[:1].reshape(1, 3072), [0], "labels"),
        pickled(PIXELS[:1].reshape(1, 3072)[:, :-1], [0], "fine_labels"),
        pickle.dumps({"data": PIXELS[:1].astype(np.float32), "fine_labels": [0]}, 4),
        pickle.dumps({"data": PIXELS[:1].reshape(1, 3072), "fine_labels": [-1]}, 4),
        pickle.dumps({"data": PIXELS[:1].reshape(1, 3072), "fine_labels": [2**80]}, 4),
        pickle.dumps({"data": PIXELS[:1].reshape(1, 3072), "fine_labels": ["0"]}, 4),
        pickle.dumps({"data": PIXELS[:1].reshape(1, 3072), "fine_labels": 0}, 4),
    ],
)
def test_a_pickle_that_lies(tmp_path: Path, content: bytes) -> None:
    placed(tmp_path, {"train": content, "test": content})
    refused(lambda: load("cifar100", tmp_path), "train", "get it again")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_damaged_pickle_is_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(pickled(PIXELS[:1, :, :1, :1].reshape(1, 3), [0]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(UnsafePickle):
        load_plain(bytes(content))
