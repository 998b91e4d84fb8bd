"""Folders of images, and archives as such: classes, splits, and images that cannot be decoded."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from one_layer_lt.vision.data import load
from tests.support.datasets import cifar10_files, mnist
from tests.support.pictures import (
    BLUE,
    BROKEN,
    TREE,
    A,
    B,
    C,
    all_of,
    check_tree,
    packed,
    placed,
    planes,
    png,
    refused,
    tar,
)


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
