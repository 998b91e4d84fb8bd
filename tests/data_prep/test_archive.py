"""Archives that nobody has vouched for."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.lib.archive import collect, extract
from one_layer_lt.errors import UserError


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_takes_only_what_was_asked_for_and_nothing_climbs(tmp_path: Path) -> None:
    archive = tgz(tmp_path / "a.tgz", {"../../a.de": b"A", "/abs/b.de": b"B", "deep/c.de": b"C"})
    into = tmp_path / "box" / "in"
    found = extract(archive, ["a.de", "b.de"], into)
    files = {name: path for place in found.values() for name, path in place.items()}
    assert {name: path.read_bytes() for name, path in files.items()} == {"a.de": b"A", "b.de": b"B"}
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [archive, *sorted(files.values())]
    assert all(path.parent.parent == into for path in files.values())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_passed_over(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        entry = tarfile.TarInfo("a.de")
        entry.type, entry.linkname = kind, str(tmp_path / "secret")
        tar.addfile(entry)
    with pytest.raises(UserError, match=r"lacks a\.de"):
        collect(tmp_path / "a.tgz", [["a.de"]], tmp_path / "in")


@pytest.mark.parametrize("left", [0, 10, 300, 3000])
def test_cut_short(tmp_path: Path, left: int) -> None:
    content = bytes((i * i) % 251 for i in range(20_000))
    whole = tgz(tmp_path / "whole.tgz", {"a.de": content}).read_bytes()
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(whole[: min(left, len(whole) // 2)])
    with pytest.raises(UserError, match=r"cut\.tgz.*cut short"):
        extract(cut, ["a.de"], tmp_path / "in")
    assert not list(tmp_path.glob("in/*/a.de"))


def test_zip_and_its_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("deep/../../a.de", "A")
    assert collect(path, [["a.de"]], tmp_path / "in")["a.de"].read_text() == "A"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="cut short"):
        extract(path, ["a.de"], tmp_path / "other")


def test_collect_looks_in_folders_and_archives_and_takes_gzip(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.de").write_text("A")
    (tmp_path / "sub" / "b.de.gz").write_text("B")
    tgz(tmp_path / "c.tgz", {"x/c.de.gz": b"C", "x/a.de": b"not this one"})
    found = collect(tmp_path, [["a.de"], ["b.de"], ["c.de"]], tmp_path / "in")
    assert [found[name].read_text() for name in ("a.de", "b.de", "c.de")] == ["A", "B", "C"]


def test_collect_names_all_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_text("A")
    with pytest.raises(UserError, match=r"lacks b\.de, c\.de \(plain or \.gz\)"):
        collect(tmp_path, [["a.de", "b.de"], ["c.de"]], tmp_path / "in")
    with pytest.raises(UserError, match="nowhere does not exist"):
        collect(tmp_path / "nowhere", [["a.de"]], tmp_path / "in")
    with pytest.raises(UserError, match="neither a folder nor an archive"):
        collect(tmp_path / "a.de", [["a.de"]], tmp_path / "in")


PAIR = [["a.de", "a.en"]]


def folders(root: Path, **holds: str) -> Path:
    """Folders of files, each of which says which folder it is from."""
    for folder, names in holds.items():
        (root / folder).mkdir(parents=True)
        for name in names.split():
            (root / folder / name).write_text(folder)
    return root


def packed(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tgz"), "w:gz") as tar:
        tar.add(folder, "top")
    return folder.with_suffix(".tgz")


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
def test_what_belongs_together_comes_from_one_folder(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    origin = form(folders(tmp_path / "in", old="a.de", whole="a.de a.en"))
    found = collect(origin, PAIR, tmp_path / "out")
    assert [path.read_text() for path in found.values()] == ["whole", "whole"]


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
def test_halves_of_different_folders_are_refused(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    origin = form(folders(tmp_path / "in", old="a.de", new="a.en"))
    with pytest.raises(UserError, match=r"no folder with all of a\.de, a\.en: .*new has a\.en") as caught:
        collect(origin, PAIR, tmp_path / "out")
    assert "old has a.de" in str(caught.value)


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
def test_two_whole_folders_are_refused_unless_one_is_above(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    origin = form(folders(tmp_path / "in", old="a.de a.en", new="a.de a.en"))
    with pytest.raises(UserError, match=r"in .*new and in .*old: give one"):
        collect(origin, PAIR, tmp_path / "out")
    above = form(folders(tmp_path / "two", **{".": "a.de a.en", "old": "a.de a.en"}))
    assert [path.read_text() for path in collect(above, PAIR, tmp_path / "more").values()] == [".", "."]
