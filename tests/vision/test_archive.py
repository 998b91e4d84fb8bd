"""Archives of images: what they may hold, and those that are damaged or lie."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_layer_lt.vision.data import DataError, load
from tests.support.pictures import TREE, A, B, check_tree, packed, png, refused, tar, zipped

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
