"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256, whole, write_json, write_state, write_whole


def test_text_and_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "grün\r\n")
    assert (tmp_path / "text").read_bytes() == b"gr\xc3\xbcn\r\n"
    write_whole(tmp_path / "text", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == b"\x00\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_the_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "")
        with whole(tmp_path / "folder") as part:
            part.mkdir()
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), whole(path) as part, part.open("w", encoding="ascii") as file:
        file.writelines(["half", "ü"])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_user_calls_part_stays(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_text("mine")
    (tmp_path / "folder.part").mkdir()
    (tmp_path / "folder.part" / "mine").touch()
    write_whole(tmp_path / "file", "new")
    with whole(tmp_path / "folder") as part:
        part.mkdir()
    assert (tmp_path / "file.part").read_text() == "mine"
    assert (tmp_path / "folder.part" / "mine").exists()


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with whole(folder) as part:
        part.mkdir()
        (part / "sub").mkdir()
        (part / "sub" / "file").write_text("new")
    assert (folder / "sub" / "file").read_text() == "new"
    with pytest.raises(OSError, match="not empty") as caught, whole(folder) as part:
        part.mkdir()
    assert caught.value.filename == str(folder)
    assert (folder / "sub" / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "missing" / "file", "")
    assert caught.value.filename == str(tmp_path / "missing" / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as denied:
        write_whole(tmp_path / "folder", "")
    assert (denied.value.filename, denied.value.filename2) == (str(tmp_path / "folder"), None)
    with pytest.raises(FileNotFoundError) as other, whole(tmp_path / "file"):
        (tmp_path / "another").read_text()
    assert other.value.filename == str(tmp_path / "another")


def test_a_disk_without_locks_is_written_as_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder over NFS may have none."""

    def refuse(*_: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", refuse)
    with whole(tmp_path / "file") as part:
        part.write_text("first")
        write_whole(tmp_path / "file", "second")  # does not take the other for one that was left
    assert (tmp_path / "file").read_text() == "first"


def test_torch_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    """It puts the name of the file into the file."""
    digests = set()
    for _ in range(2):
        with whole(tmp_path / "model.pt") as part:
            torch.save({"weight": torch.zeros(3)}, part)
        digests.add(sha256(tmp_path / "model.pt"))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pt.part")
    assert digests == {sha256(tmp_path / "model.pt.part")}


def _write_often(path: Path, letter: str) -> None:
    for _ in range(50):
        write_whole(path, letter * 10_000)


def test_two_writers_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_goes_on_from_file_to_file(tmp_path: Path) -> None:
    for name, content in (("a", b"a"), ("b", b"bc")):
        (tmp_path / name).write_bytes(content)
    # sha256 of "abc", as FIPS 180-2 gives it
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "a", tmp_path / "b") == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_json_file_never_holds_what_is_no_number(number: float, tmp_path: Path) -> None:
    path = tmp_path / "made" / "result.json"
    write_json(path, {"bleu": 1.5})
    with pytest.raises(UserError, match=r"result\.json is not written, for a number of it is not finite"):
        write_json(path, {"bleu": number})
    assert path.read_text() == '{\n "bleu": 1.5\n}\n'


def _without_room(path: Path, kind: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        if kind == "state":
            write_state(path, {"weight": torch.zeros(100_000)})
        else:
            write_whole(path, bytes(100_000))
    except OSError as error:
        os._exit(0 if error.filename == str(path) and error.errno else 1)
    os._exit(2)


@pytest.mark.parametrize("kind", ["state", "bytes"])
def test_without_room_the_error_is_the_systems_and_names_the_file(kind: str, tmp_path: Path) -> None:
    """torch by itself says something else of a full disk."""
    (tmp_path / "file").write_text("old")
    writer = multiprocessing.get_context("fork").Process(target=_without_room, args=(tmp_path / "file", kind))
    writer.start()
    writer.join()
    assert writer.exitcode == 0
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def _killed(path: Path) -> None:
    with whole(path) as part:
        part.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "file[1]"
    (tmp_path / ".file[1].mine").mkdir()
    (tmp_path / ".file[1].mine" / "file[1].part").touch()
    (tmp_path / ".file[1].abcdefgh").mkdir()
    (tmp_path / ".file[1].abcdefgh" / "mine").touch()
    theirs = set(tmp_path.iterdir())
    writer = multiprocessing.get_context("fork").Process(target=_killed, args=(path,))
    writer.start()
    writer.join()
    assert len(set(tmp_path.iterdir()) - theirs) == 1
    with whole(path) as part:  # this one lives
        part.write_text("first")
        write_whole(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert set(tmp_path.iterdir()) == {path, *theirs}
