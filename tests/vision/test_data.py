"""Data sets, read from tiny files whose pixels are known, and from files that lie."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import pickle
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from one_layer_lt.optional import MissingPackage
from one_layer_lt.vision.data import DATASETS, DataError, DataSet, Images, Reading, Split, augment, load
from one_layer_lt.vision.data.augmentation import crop
from one_layer_lt.vision.data.cifar import CIFAR100
from one_layer_lt.vision.data.pickles import UnsafePickle, load_plain
from one_layer_lt.vision.data.pictures import Undecodable, decode, resize
from one_layer_lt.vision.data.splits import statistics
from one_layer_lt.vision.data.streamed import Streamed

REAL = Path(__file__).parents[3] / "shared" / "data"

unhurried = settings(deadline=None, max_examples=60)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int) -> Images:
    """Images of 1x1 whose only value, and whose label, is their number."""
    return Images(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(count))


def refused(what: Callable[[], object], *words: str) -> str:
    """The message of the DataError that this raises: one line, with these words in it."""
    with pytest.raises(DataError) as caught:
        what()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message
    return message


# --- splits -------------------------------------------------------------------------------------------------------


@unhurried
@given(st.integers(0, 40), st.integers(1, 45), st.booleans(), st.one_of(st.none(), st.integers(0, 2**31)))
def test_every_image_comes_once_with_its_label(count: int, size: int, drop_last: bool, seed: int | None) -> None:
    def numbers() -> list[list[int]]:
        generator = None if seed is None else seeded(seed)
        found = []
        for images, labels in numbered(count).batches(size, generator=generator, drop_last=drop_last):
            assert images.dtype == torch.uint8
            assert labels.dtype == torch.int64
            assert images.shape == (len(labels), 1, 1, 1)
            assert images.flatten().tolist() == labels.tolist()
            found.append(labels.tolist())
        return found

    batches = numbers()
    assert numbers() == batches  # the same seed, the same order
    whole = [len(batch) for batch in batches if len(batch) == size]
    assert len(whole) == count // size
    assert len(batches) == len(whole) + bool(count % size and not drop_last)
    flat = [number for batch in batches for number in batch]
    assert len(set(flat)) == len(flat) == (count // size * size if drop_last else count)
    if seed is None:
        assert flat == list(range(len(flat)))


def test_one_generator_draws_an_order_a_call() -> None:
    generator = seeded(0)
    first, second = (numbered(50).batches(50, generator=generator) for _ in range(2))
    later, sooner = next(second)[1], next(first)[1]  # drawn at the call, not when the batches are taken
    assert not torch.equal(sooner, later)
    assert torch.equal(sooner, next(numbered(50).batches(50, generator=seeded(0)))[1])


def test_a_batch_is_a_copy() -> None:
    split = numbered(3)
    next(split.batches(3))[0].zero_()
    assert split.images.flatten().tolist() == [0, 1, 2]


def test_images_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"images are float32, \(2, 1, 1, 1\)"):
        Images(torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels are int64, \(3,\): they must be int64, \(2,\)"):
        Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="a batch of 0"):
        numbered(3).batches(0)


def test_mean_and_std_by_hand() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 51]]], [[[0, 255]], [[51, 51]]]], dtype=torch.uint8)  # (2, 2, 1, 2)
    mean, std = statistics([images[:1], images[1:]])
    assert mean == (0.5, 0.2)
    assert std == (0.5, 1.0)  # a constant channel: 1, so that one can divide


def test_parameters_are_checked() -> None:
    assert list(DATASETS) == ["digits", "mnist", "cifar10", "cifar100", "folder"]
    refused(lambda: load("imagenet"), "'imagenet'", "digits, mnist")
    for wrong in ({"size": 0}, {"broken": "mend"}, {"workers": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            load("digits", None, **wrong)
    for name in ("mnist", "cifar10", "cifar100", "folder"):
        refused(lambda name=name: load(name), name, "root")  # type: ignore[misc]


# --- digits -------------------------------------------------------------------------------------------------------


def test_digits() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    data = load()
    assert (data.name, data.train.shape, data.classes) == ("digits", (1, 8, 8), tuple("0123456789"))
    assert len(data.train) + len(data.test) == 1797
    train, test = (next(split.batches(2000)) for split in (data.train, data.test))
    assert [abs(6 * n - m - n) <= 3 for n, m in zip(test[1].bincount(), train[1].bincount())] == [True] * 10
    again = load("digits")
    assert torch.equal(next(again.test.batches(2000))[0], test[0])

    # All images are there, each once, with its label; and 16 grey levels became 255.
    source = sklearn.load_digits()
    values = torch.tensor([round(v * 255 / 16) for v in range(17)], dtype=torch.uint8)
    expected = {(bytes(values[torch.tensor(i).long()].numpy()), int(t)) for i, t in zip(source.images, source.target)}
    found = [(bytes(i.numpy()), int(t)) for images, labels in (train, test) for i, t in zip(images, labels)]
    assert set(found) == expected
    assert len(found) == 1797


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingPackage, match=r"^sklearn is not installed: pip install 'one_layer_lt\[vision\]'$"):
        load()


def test_size_brings_every_set_to_it() -> None:
    pytest.importorskip("sklearn.datasets")
    assert load("digits", size=16).train.shape == (1, 16, 16)
    assert load("digits", size=8).mean == load("digits").mean
    refused(lambda: load("digits", size=512, in_memory=10_000_000), "digits at size 512", "smaller size")


def test_resize_takes_the_centred_square() -> None:
    images = torch.tensor([[[[9, 100, 200, 9], [9, 0, 100, 9]]]], dtype=torch.uint8)  # (1, 1, 2, 4)
    assert resize(images, 1).tolist() == [[[[100]]]]
    assert resize(images, 2).tolist() == [[[[100, 200], [0, 100]]]]
    assert resize(images.expand(1, 3, 2, 4), 2)[0, 2].tolist() == [[100, 200], [0, 100]]


# --- IDX ----------------------------------------------------------------------------------------------------------

TRAIN_PIXELS = [[[0, 1], [2, 3]], [[4, 5], [6, 255]], [[7, 7], [7, 7]]]
TEST_PIXELS = [[[9, 8], [7, 6]]]


def idx(values: Any, *, kind: int = 8) -> bytes:
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


# --- CIFAR --------------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), np.uint8)


def tar(path: Path, files: dict[str, bytes], mode: str | None = None) -> Path:
    mode = mode or {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def placed(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def cifar10_files() -> dict[str, bytes]:
    """Two images a file, of the labels 0 to 9, and 0 and 1 in the test file."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    records = [bytes([i % 10]) + PIXELS[i].tobytes() for i in range(12)]
    return {name: records[2 * i] + records[2 * i + 1] for i, name in enumerate(names)}


def cifar100_files() -> dict[str, bytes]:
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


# --- image folders ------------------------------------------------------------------------------------------------

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 200)


def png(*pixels: tuple[int, ...], width: int = 2, mode: str = "RGB") -> bytes:
    """Row by row, by default of 2 pixels."""
    array = np.array(pixels, np.uint8).reshape(-1, width, *([len(pixels[0])] if mode != "L" else []))
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def planes(*pixels: tuple[int, ...]) -> list[list[list[int]]]:
    """The same image as (3, 2, 2)."""
    return np.array(pixels).reshape(2, 2, 3).transpose(2, 0, 1).tolist()


A, B, C, D = (RED, GREEN, BLUE, RED), (BLUE,) * 4, (GREEN, GREEN, RED, RED), (RED, BLUE, RED, BLUE)
TREE = {
    "test/dog/1.png": png(*D),
    "train/dog/1.png": png(*C),
    "train/cat/2.PNG": png(*B),
    "train/cat/1.png": png(*A),
    "test/cat/1.png": png(*A),
    "train/cat/.hidden.png": b"no image",
    "train/cat/notes.txt": b"no image",
    "README.png": b"no image",
}


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def packed(tmp_path: Path, form: str, files: dict[str, bytes]) -> Path:
    if form == "folder":
        return placed(tmp_path / "folder", files)
    path = tmp_path / f"a{form}"
    return zipped(path, files) if form == ".zip" else tar(path, files)


def all_of(split: Split, size: int = 2) -> tuple[Tensor, Tensor]:
    images, labels = zip(*split.batches(size))
    return torch.cat(images), torch.cat(labels)


def check_tree(data: DataSet) -> None:
    assert data.classes == ("cat", "dog")
    assert data.train.shape == (3, 2, 2)
    images, labels = all_of(data.train)
    assert images.tolist() == [planes(*A), planes(*B), planes(*C)]
    assert labels.tolist() == [0, 0, 1]
    images, labels = all_of(data.test)
    assert images.tolist() == [planes(*A), planes(*D)]
    assert labels.tolist() == [0, 1]
    assert data.mean[0] == pytest.approx(4 / 12)  # of twelve training pixels, four are red


FORMS = ["folder", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip"]


@pytest.mark.parametrize("form", FORMS)
def test_folder_and_archives(tmp_path: Path, form: str) -> None:
    check_tree(load("folder", packed(tmp_path, form, TREE)))


@pytest.mark.parametrize("form", [".tar.gz", ".zip"])
def test_an_archive_may_have_folders_above_and_val(tmp_path: Path, form: str) -> None:
    files = {f"./some/set/{name}".replace("/test/", "/val/"): content for name, content in TREE.items()}
    check_tree(load("folder", packed(tmp_path, form, files)))
    both = {**files, "./some/set/test/unsorted.png": png(*A)}  # as in ImageNet: no folders, so no test images
    check_tree(load("folder", packed(tmp_path, form, both)))
    two = {**files, "./other/set/train/cat/7.png": png(*A)}
    refused(lambda: load("folder", packed(tmp_path, form, two)), "'train/cat/7.png'", "two places")


def test_a_member_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for content in (png(*A), png(*B)):
            entry = tarfile.TarInfo("train/cat/1.png")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    refused(lambda: load("folder", tmp_path / "a.tar"), "'train/cat/1.png'", "twice")


@pytest.mark.parametrize("form", [".tar", ".tar.xz", ".zip"])
@pytest.mark.parametrize(
    "name", ["../evil.jpg", "train/cat/../../../evil.jpg", "/train/cat/evil.jpg", "train/../x/e.jpg"]
)
def test_names_that_climb_are_refused(tmp_path: Path, form: str, name: str) -> None:
    path = packed(tmp_path, form, {**TREE, name: png(*A)})
    refused(lambda: load("folder", path), path.name, repr(name), "pack it again")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.FIFOTYPE, "neither"),
        (tarfile.CHRTYPE, "neither"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, words: str) -> None:
    path = tar(tmp_path / "a.tar", TREE)
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("train/cat/evil\n.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    refused(lambda: load("folder", path), r"'train/cat/evil\n.png'", words)


def test_zip_with_a_member_without_a_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {**TREE, "0": b""})
    content = path.read_bytes()
    at = content.rindex(b"PK\1\2")
    path.write_bytes(content[:at] + content[at:].replace(b"0PK\5\6", b"\0PK\5\6"))
    check_tree(load("folder", path))


def test_zip_with_a_link_a_password_or_another_compression(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zipped(path, TREE)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("train/cat/evil.png")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    refused(lambda: load("folder", path), "'train/cat/evil.png'", "a link")

    zipped(path, {"train/cat/1.png": png(*A)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    refused(lambda: load("folder", path), "'train/cat/1.png' is encrypted")

    zipped(path, TREE, zipfile.ZIP_LZMA)
    refused(lambda: load("folder", path), "neither stored nor deflated")


@pytest.mark.parametrize("form", FORMS[1:])
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    whole = packed(tmp_path, form, TREE).read_bytes()
    path = tmp_path / f"cut{form}"
    end = len(whole) - 1
    if form == ".tar":  # what follows the first block of zeros is padding
        end = max(at for at in range(0, len(whole), 512) if any(whole[at : at + 512])) + 1023
    for left in {*range(0, end, max(512, end // 40)), *range(0, end, end // 7), end}:
        path.write_bytes(whole[:left])
        refused(lambda: load("folder", path), path.name, "cut short or damaged: get it again")


@settings(deadline=None, max_examples=120)
@given(st.sampled_from([".tar", ".tar.gz", ".zip"]), st.data())
def test_a_damaged_archive_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, form: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = packed(folder, form, {"train/a/1.png": png(*A), "test/a/1.png": png(*B)})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(DataError):
        load("folder", path)


def test_a_header_cannot_ask_for_gigabytes(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2 << 20
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT) + bytes(3 << 20))
    refused(lambda: load("folder", tmp_path / "a.tar.gz"), "damaged")


@pytest.mark.parametrize("form", ["folder", ".tar"])
def test_classes_that_differ_are_listed(tmp_path: Path, form: str) -> None:
    files = {**TREE, "train/ant/1.png": png(*A), "test/bee/1.png": png(*A), "test/asp/1.png": png(*A)}
    path = packed(tmp_path, form, files)
    refused(lambda: load("folder", path), "train alone has 'ant', and test alone has 'asp', 'bee'")


@pytest.mark.parametrize("form", ["folder", ".tar"])
@pytest.mark.parametrize(("gone", "words"), [("train", "no image in train"), ("test", "no image in test or val")])
def test_a_split_that_is_missing(tmp_path: Path, form: str, gone: str, words: str) -> None:
    path = packed(tmp_path, form, {name: content for name, content in TREE.items() if not name.startswith(gone)})
    refused(lambda: load("folder", path), path.name, words, "train/CLASS/*.jpg")


@pytest.mark.parametrize("name", ["cifar10", "mnist", "folder"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(tmp_path, {**cifar10_files(), **TREE})
    mnist(tmp_path)

    def denied(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(Path, "read_bytes", denied)
    refused(lambda: load(name, tmp_path), "cannot be read (Permission denied): see to its rights")


def test_folder_where_there_is_none(tmp_path: Path) -> None:
    refused(lambda: load("folder", tmp_path / "nowhere"), "nowhere does not exist")
    (tmp_path / "file.bin").write_bytes(b"")
    refused(lambda: load("folder", tmp_path / "file.bin"), "neither a folder nor an archive (.tar, .tar.gz")
    tar(tmp_path / "a.tar.xz", TREE)
    refused(lambda: load("folder", tmp_path), "or name the archive in it, a.tar.xz")


BROKEN = {**TREE, "train/cat/3.png": b"nothing", "train/dog/2.jpg": png(*A)[:45], "test/cat/0.png": b""}


@pytest.mark.parametrize("form", ["folder", ".tar.xz", ".zip"])
def test_undecodable_images_are_named_and_counted(tmp_path: Path, form: str) -> None:
    path = packed(tmp_path, form, BROKEN)
    refused(lambda: load("folder", path), "3 of 8 images", "'train/cat/3.png': neither JPEG nor PNG", "test/cat/0.png")


@pytest.mark.parametrize("form", ["folder", ".tar.xz", ".zip"])
def test_undecodable_images_left_out(tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    check_tree(load("folder", packed(tmp_path, form, BROKEN), broken="skip"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "3 of 8 images cannot be decoded" in record.getMessage()


@pytest.mark.parametrize("form", ["folder", ".tar"])
def test_no_image_left(tmp_path: Path, form: str) -> None:
    for split in ("train", "test"):
        files = {name: b"nothing" if name.startswith(split) else content for name, content in TREE.items()}
        path = packed(tmp_path / split, form, files) if form == "folder" else packed(tmp_path, form, files)
        refused(lambda path=path: load("folder", path, broken="skip"), f"no image in {split}")  # type: ignore[misc]


@pytest.mark.parametrize("form", ["folder", ".tar"])
def test_images_of_several_sizes(tmp_path: Path, form: str) -> None:
    path = packed(tmp_path, form, {**TREE, "train/dog/0.png": png(*[BLUE] * 12, width=4)})
    refused(lambda: load("folder", path), "'train/dog/", "4x3", "2x2", "size=32")
    data = load("folder", path, size=2)
    assert all_of(data.train)[0].tolist() == [planes(*A), planes(*B), planes(*[BLUE] * 4), planes(*C)]


def test_decoding_by_hand() -> None:
    assert decode(png(RED, GREEN, BLUE, RED)).tolist() == planes(RED, GREEN, BLUE, RED)
    assert decode(png((7,), (8,), (9,), (250,), mode="L")).tolist() == [[[7, 8], [9, 250]]] * 3
    assert decode(png((1, 2, 3, 0), (4, 5, 6, 255), width=1))[:, 1, 0].tolist() == [4, 5, 6]  # RGBA
    assert decode(png((1, 2, 3, 0), (4, 5, 6, 255), width=1))[:, 0, 0].tolist() == [1, 2, 3]
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 256], [32768, 65535]], np.uint16)).save(out, "PNG")
    assert decode(out.getvalue()).tolist() == [[[0, 1], [128, 255]]] * 3
    out = io.BytesIO()
    Image.new("CMYK", (2, 2), (0, 0, 0, 255)).save(out, "JPEG")
    assert decode(out.getvalue()).max() <= 2


def test_decoding_refuses_bombs_and_other_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels in (3, 1):  # Pillow warns from one limit on, and raises from twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
        with pytest.raises(Undecodable, match="decompression bomb"):
            decode(png(*A))
    monkeypatch.undo()
    out = io.BytesIO()
    Image.new("RGB", (2, 2)).save(out, "BMP")
    with pytest.raises(Undecodable, match="neither JPEG nor PNG"):
        decode(out.getvalue())
    monkeypatch.setattr("one_layer_lt.vision.data.pictures.MOST_BYTES", 10)
    with pytest.raises(Undecodable, match="more than 10 bytes"):
        decode(png(*A))


# --- folders too large for memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_streaming_is_as_memory(tmp_path: Path, workers: int) -> None:
    shades = {f"train/{label}/{i}.png": png(*[(i, 0, 0)] * 4) for i in range(10) for label in ("cat", "dog")}
    path = placed(tmp_path, {**TREE, **shades})
    held, streamed = load("folder", path), load("folder", path, in_memory=0, workers=workers)
    assert isinstance(held.train, Images)
    assert isinstance(streamed.train, Streamed)
    assert (len(streamed.train), streamed.train.shape) == (len(held.train), held.train.shape)
    assert (streamed.mean, streamed.std) == (held.mean, held.std)
    state = torch.random.get_rng_state()
    for seed, drop_last in ((None, False), (3, False), (4, True)):
        passes = []
        for split in (held.train, streamed.train):
            generator = None if seed is None else seeded(seed)
            passes.append(list(split.batches(3, generator=generator, drop_last=drop_last)))
        assert [len(labels) for _, labels in passes[0]] == [len(labels) for _, labels in passes[1]]
        for (images, labels), (others, theirs) in zip(*passes):
            assert torch.equal(images, others)
            assert torch.equal(labels, theirs)
    assert torch.equal(torch.random.get_rng_state(), state)  # torch's own generator is left alone


def test_an_archive_too_large_for_memory(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", TREE)
    refused(lambda: load("folder", path, in_memory=40), "a.tar decodes to more than 40 bytes: unpack it")


def test_streaming_over_undecodable_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = placed(tmp_path, TREE)
    data = load("folder", path, in_memory=0, broken="skip", workers=0)
    (path / "train/cat/2.PNG").write_bytes(b"nothing")
    assert len(data.train) == 3
    for _ in range(2):
        images, labels = all_of(data.train, size=1)
        assert images.tolist() == [planes(*A), planes(*C)]
        assert labels.tolist() == [0, 1]
        assert len(data.train) == 2
    (record,) = caplog.records
    assert "1 of 3 images cannot be decoded ('train/cat/2.PNG': neither JPEG nor PNG): left out" in record.getMessage()

    (path / "test/cat/1.png").unlink()
    strict = Streamed(path, ["test/cat/1.png", "test/dog/1.png"], torch.tensor([0, 1]), (3, 2, 2), Reading(workers=0))
    refused(lambda: all_of(strict), "1 of 2 images", "'test/cat/1.png': No such file")
    wide = Streamed(path, ["test/dog/1.png"], torch.tensor([1]), (3, 4, 4), Reading(workers=0))
    refused(lambda: all_of(wide), "'test/dog/1.png'", "2x2", "4x4")


# --- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that are decoded during the test."""
    files: list[bytes] = []

    def counting(content: bytes, size: int | None = None) -> Any:
        files.append(content)
        return decode(content, size)

    monkeypatch.setattr("one_layer_lt.vision.data.folder.decode", counting)
    monkeypatch.setattr("one_layer_lt.vision.data.streamed.decode", counting)
    return files


@pytest.mark.parametrize("form", ["folder", ".tar.xz"])
def test_cache(tmp_path: Path, form: str, decoded: list[bytes]) -> None:
    path, cache = packed(tmp_path, form, TREE), tmp_path / "new" / "images.safetensors"

    def read(**how: Any) -> bool:
        """Whether images were decoded."""
        decoded.clear()
        check_tree(load("folder", path, cache=cache, workers=0, **how))
        assert [file.name for file in cache.parent.iterdir()] == [cache.name]
        return bool(decoded)

    assert read()
    assert not read()
    assert read(size=2)  # read otherwise
    assert not read(size=2)
    assert read()
    written = cache.read_bytes()
    for damaged in (b"", written[:-1], written[:50], b"\0" * 100):
        cache.write_bytes(damaged)
        assert read()
    changed = path / "train/cat/1.png" if path.is_dir() else path
    os.utime(changed, (1, 1))
    assert read()
    assert not read()


def test_cache_of_what_was_left_out(tmp_path: Path, decoded: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    path, cache = packed(tmp_path, ".tar", BROKEN), tmp_path / "c"
    load("folder", path, cache=cache, broken="skip")
    decoded.clear()
    caplog.clear()
    check_tree(load("folder", path, cache=cache, broken="skip"))
    assert not decoded
    assert "3 images that cannot be decoded are left out" in caplog.records[0].getMessage()
    refused(lambda: load("folder", path, cache=cache), "3 of 8 images")


def test_cache_that_lies(tmp_path: Path, decoded: list[bytes]) -> None:
    """The right metadata, over other tensors."""
    path, cache = packed(tmp_path, ".tar", TREE), tmp_path / "c"
    load("folder", path, cache=cache)
    with safe_open(cache, "pt") as file:
        about = file.metadata()
    tensors = load_file(cache)
    ((key, value),) = about.items()
    for change in ({"train_labels": tensors["train_labels"] + 1}, {"test": tensors["test"][:1]}):
        save_file({**tensors, **change}, cache, about)
        decoded.clear()
        check_tree(load("folder", path, cache=cache))
        assert decoded
    for other in ("[]", "{", json.dumps({**json.loads(value), "classes": 3})):
        save_file(tensors, cache, {key: other})
        check_tree(load("folder", path, cache=cache))


def test_a_cache_that_cannot_be_written_is_only_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    check_tree(load("folder", packed(tmp_path, ".tar", TREE), cache=tmp_path / "file" / "c"))
    assert "cannot be written" in caplog.records[0].getMessage()


# --- augmentation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_augmented_images_keep_shape_and_type(dtype: torch.dtype) -> None:
    images = torch.randint(1, 256, (5, 3, 4, 6), generator=seeded(0)).to(dtype)
    before = images.clone()
    for flip, padding in ((False, 0), (True, 0), (False, 2), (True, 2), (True, 9)):
        changed = augment(images, flip=flip, padding=padding, generator=seeded(1))
        assert (changed.shape, changed.dtype) == (images.shape, dtype)
        assert changed.data_ptr() != images.data_ptr()
        assert torch.equal(images, before)
        assert torch.equal(changed, augment(images, flip=flip, padding=padding, generator=seeded(1)))
    assert torch.equal(augment(images, flip=False, padding=0, generator=seeded(1)), images)
    assert augment(images[:0], flip=True, padding=2, generator=seeded(1)).shape == (0, 3, 4, 6)


def test_flips_are_of_half_the_images_and_undo_themselves() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3).expand(1000, 1, 2, 3)
    once = augment(images, flip=True, padding=0, generator=seeded(2))
    mirrored = (once == torch.tensor([[[2, 1, 0], [5, 4, 3]]])).flatten(1).all(1)
    same = (once == images).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 420 < int(mirrored.sum()) < 580
    assert torch.equal(augment(once, flip=True, padding=0, generator=seeded(2)), images)


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_a_crop_is_a_slice_of_the_padded_image_for_every_offset(padding: int) -> None:
    height, width, steps = 3, 4, 2 * padding + 1
    count = steps * steps
    images = torch.randint(0, 256, (count, 2, height, width), generator=seeded(3)).to(torch.uint8)
    top, left = torch.arange(count) // steps, torch.arange(count) % steps
    cut = crop(images, padding, top=top, left=left)
    for i in range(count):
        bordered = np.pad(images[i].numpy(), ((0, 0), (padding,) * 2, (padding,) * 2))
        y, x = i // steps, i % steps
        assert cut[i].tolist() == bordered[:, y : y + height, x : x + width].tolist()


def test_every_offset_is_drawn_an_image_at_a_time() -> None:
    image = torch.arange(1, 5, dtype=torch.uint8).view(1, 1, 2, 2)
    offsets = torch.tensor([(y, x) for y in range(3) for x in range(3)])
    possible = crop(image.expand(9, 1, 2, 2), 1, top=offsets[:, 0], left=offsets[:, 1]).flatten(1)
    drawn = augment(image.expand(900, 1, 2, 2), flip=False, padding=1, generator=seeded(4)).flatten(1)
    which = (drawn[:, None] == possible).all(2)
    assert which.sum(1).tolist() == [1] * 900
    assert int(which.sum(0).min()) > 60


def test_augment_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="padding is -1"):
        augment(torch.zeros(1, 1, 2, 2), flip=False, padding=-1, generator=seeded(0))
    with pytest.raises(ValueError, match=r"of shape \(2, 2\)"):
        augment(torch.zeros(2, 2), flip=True, padding=0, generator=seeded(0))


# --- the real ones ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="needs ../shared/data/mnist")
def test_the_real_mnist() -> None:
    data = load("mnist", REAL / "mnist")
    assert (len(data.train), len(data.test), data.train.shape) == (60_000, 10_000, (1, 28, 28))
    assert next(data.train.batches(5))[1].tolist() == [5, 0, 4, 1, 9]
    assert next(data.test.batches(5))[1].tolist() == [7, 2, 1, 0, 4]
    assert data.mean == pytest.approx((0.1307,), abs=1e-4)
    assert data.std == pytest.approx((0.3081,), abs=1e-4)
