"""fairseq-train with the plugin: it goes on as if it had not been stopped, in a folder of its own, with whole data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fairseq import checkpoint_utils

from fairseq_plugins import training
from one_layer_lt.lock import locked

from .running import load_state, train


def updates(checkpoint: Path) -> int:
    made: int = load_state(checkpoint)["optimizer_history"][-1]["num_updates"]
    return made


def test_a_training_that_is_over_makes_no_more_updates(corpus: Path, tmp_path: Path) -> None:
    """It may have been killed after its last checkpoint."""
    for wanted in (3, 4, 4):
        assert updates(train(corpus, tmp_path / "run", updates=wanted)) == wanted


def test_one_training_in_a_folder(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "run", ""), pytest.raises(SystemExit) as leaving:
        train(corpus, tmp_path / "run")
    assert leaving.value.code == 2
    assert "another training is at it" in capsys.readouterr().err
    assert updates(train(corpus, tmp_path / "run", updates=1)) == 1
    assert (tmp_path / "run").resolve() in training._HELD


@pytest.mark.parametrize("name", ["train.xx-yy.xx.bin", "valid.xx-yy.yy.idx", "dict.xx.txt"])
def test_data_that_has_changed_is_not_trained_on(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    os.truncate(copy / name, (copy / name).stat().st_size - 1)
    with pytest.raises(SystemExit):
        train(copy, tmp_path / "run")
    assert f"error: {copy / name} has changed: delete {copy} and prepare it again" in capsys.readouterr().err


def test_copies_of_checkpoints_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")

    def half(source: str, target: Path) -> None:
        target.write_text("n")
        raise KeyboardInterrupt

    files = str(tmp_path / "new"), str(tmp_path / "old")
    with monkeypatch.context() as patched:
        patched.setattr(training.shutil, "copyfile", half)
        with pytest.raises(KeyboardInterrupt):
            checkpoint_utils.PathManager.copy(*files, overwrite=True)
    assert (tmp_path / "old").read_text() == "old"
    assert checkpoint_utils.PathManager.copy(*files, overwrite=True)
    assert (tmp_path / "old").read_text() == "new"


def test_without_room_it_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, state: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(training, "write_state", full)
    with pytest.raises(SystemExit):
        checkpoint_utils.torch_persistent_save({}, str(tmp_path / "x.pt"))
    assert capsys.readouterr().err == (
        f"fairseq-train: error: {tmp_path / 'x.pt'}: No space left on device: make room on the disk, and run the same "
        "command again\n"
    )
