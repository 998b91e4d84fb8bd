"""Pictures whose pixels are known, in folders and archives, and what is read from them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from one_layer_lt.vision.data import DataError, DataSet, Split


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def refused(what: Callable[[], object], *words: str) -> str:
    """The message of the DataError that this raises: one line, with these words in it."""
    with pytest.raises(DataError) as caught:
        what()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message
    return message


def tar(path: Path, files: dict[str, bytes], mode: str | None = None) -> Path:
    """An archive of these files, packed as its name says."""
    mode = mode or {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def placed(folder: Path, files: dict[str, bytes]) -> Path:
    """The folder, with these files in it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


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

BROKEN = {**TREE, "train/cat/3.png": b"nothing", "train/dog/2.jpg": png(*A)[:45], "test/cat/0.png": b""}


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive of these files."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def packed(tmp_path: Path, form: str, files: dict[str, bytes]) -> Path:
    """These files as a folder, or as an archive whose name ends in ``form``."""
    if form == "folder":
        return placed(tmp_path / "folder", files)
    path = tmp_path / f"a{form}"
    return zipped(path, files) if form == ".zip" else tar(path, files)


def all_of(split: Split, size: int = 2) -> tuple[Tensor, Tensor]:
    """All images and labels of a split, in order."""
    images, labels = zip(*split.batches(size))
    return torch.cat(images), torch.cat(labels)


def check_tree(data: DataSet) -> None:
    """It is what ``TREE`` holds."""
    assert data.classes == ("cat", "dog")
    assert data.train.shape == (3, 2, 2)
    images, labels = all_of(data.train)
    assert images.tolist() == [planes(*A), planes(*B), planes(*C)]
    assert labels.tolist() == [0, 0, 1]
    images, labels = all_of(data.test)
    assert images.tolist() == [planes(*A), planes(*D)]
    assert labels.tolist() == [0, 1]
    assert data.mean[0] == pytest.approx(4 / 12)  # of twelve training pixels, four are red
