"""The tickets that come with the package: by their names, where no file has that name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import one_layer_lt
from one_layer_lt import load_ticket
from one_layer_lt.ticket import box
from one_layer_lt.ticket.ticket import names_of

GOLDEN = Path(__file__).parents[1] / "golden" / "tickets"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A box of a ticket whose name has a dot, and a working directory beside it."""
    (tmp_path / "box").mkdir()
    (tmp_path / "here").mkdir()
    shutil.copy(GOLDEN / "ties.ticket", tmp_path / "box" / "toy.a-b.ticket")
    monkeypatch.setattr(box, "BOX", tmp_path / "box")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_a_name(folder: Path) -> None:
    assert [mask.name for mask in load_ticket("toy.a-b").masks] == [
        mask.name for mask in load_ticket(GOLDEN / "ties.ticket").masks
    ]
    assert names_of(["toy.a-b"]) == ["toy.a-b"]


def test_a_file_of_that_name_goes_before(folder: Path) -> None:
    shutil.copy(GOLDEN / "tiles.ticket", folder / "toy.a-b")
    assert box.found("toy.a-b") == Path("toy.a-b")


def test_a_folder_of_that_name_does_not(folder: Path) -> None:
    (folder / "toy.a-b").mkdir()
    assert box.found("toy.a-b").parent == box.BOX
    (folder / "other").mkdir()
    assert box.found("other") == Path("other")


@pytest.mark.parametrize("name", ["toy.a-b.ticket", "../box/toy.a-b", "x/../toy.a-b"])
def test_paths_stay_paths(folder: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        load_ticket(name)


@pytest.mark.parametrize("name", ["toy", "", "*", "x" * 200])
def test_an_unknown_name_lists_those_there_are(folder: Path, name: str) -> None:
    if name == "":  # is the working directory
        with pytest.raises(IsADirectoryError):
            load_ticket(name)
        return
    with pytest.raises(FileNotFoundError, match=r"no such file, and no ticket of the package, which has toy\.a-b"):
        load_ticket(name)
    (box.BOX / "toy.a-b.ticket").unlink()
    with pytest.raises(FileNotFoundError, match="which has none"):
        load_ticket(name)


def test_the_box_is_a_folder_of_the_package() -> None:
    assert Path(one_layer_lt.__file__).resolve().parent / "tickets" == box.BOX


@pytest.mark.parametrize("name", sorted(box.boxed()))
def test_what_comes_with_the_package(name: str) -> None:
    card = load_ticket(name).card
    assert "-".join(card["languages"]) == name
    assert card["licence"]
    assert all(data["attribution"] for data in card["data"])
    assert {score["metric"] for score in card["scores"]} == {"BLEU", "chrF"}
    assert box.boxed()[name].stat().st_size <= 600_000
