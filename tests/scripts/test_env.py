"""scripts/env.sh, with a python that writes down what it is asked and installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.results import ROOT

# A Python without the modules. What it makes is a copy of itself; as `python -m venv`, it clears through links.
PYTHON = """#!/bin/bash
printf '%s\\n' "$*" >>"$ASKED"
case "$*" in *"$REFUSED"*) exit 1 ;; esac
case "$1 $2" in
"- "*) exit 1 ;;
"-m venv")
    if [ "$3" = --clear ]; then shift; rm -rf "$3"/* "$3"/.[!.]*; fi
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    ;;
esac
"""


class Clone:
    """A clone of the repository, as far as env.sh needs one."""

    def __init__(self, folder: Path) -> None:
        self.root, self.stubs, self.asked = folder / "clone", folder / "bin", folder / "asked"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "env.sh", self.root / "scripts")
        (self.root / "setup.py").write_text("setup()\n")
        self.stubs.mkdir()
        for name in ("python", "python3"):
            (self.stubs / name).write_text(PYTHON)
            (self.stubs / name).chmod(0o755)
        self.venv = self.root / ".venv"

    def lock(self) -> None:
        """Gives it a list of files with hashes; the Python says that it is for it."""
        (self.root / "requirements").mkdir()
        (self.root / "requirements" / "test.txt").write_text("torch==2 --hash=sha256:0\n")

    def source(self, refused: str = "nothing", **settings: str) -> tuple[str, str]:
        """The environment that sourcing env.sh activates, and what it says. Commands with `refused` fail."""
        self.asked.write_text("")
        environment = {
            "PATH": f"{self.stubs}:{os.environ['PATH']}",
            "ASKED": str(self.asked),
            "HOME": os.environ["HOME"],
            "REFUSED": refused,
            **settings,
        }
        command = ["bash", "-ec", 'source scripts/env.sh && echo "$VIRTUAL_ENV"']
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr

    def commands(self) -> list[str]:
        """What Python was asked to run."""
        return [line for line in self.asked.read_text().splitlines() if line.startswith("-m")]


WITHOUT_GPU = pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="the lock is for processors")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def own_environment(folder: Path) -> dict[str, bytes]:
    """Somebody's environment, without this script's mark."""
    (folder / "bin").mkdir(parents=True)
    for name in ("bin/python", "pyvenv.cfg", ".hidden"):
        (folder / name).write_text(PYTHON if name == "bin/python" else name)
        (folder / name).chmod(0o755)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_made_once_and_brought_up_to_date(clone: Clone) -> None:
    active, said = clone.source()
    assert active == str(clone.venv)
    assert f"making {clone.venv}" in said
    assert any("install" in command and "[all,test]" in command for command in clone.commands())
    (clone.venv / "kept").touch()
    assert clone.source() == (active, "")
    assert clone.commands() == []
    (clone.root / "setup.py").write_text("setup(1)\n")
    assert clone.source()[0] == active
    assert (clone.venv / "kept").exists()  # older, not made elsewhere


def test_what_was_left_half_made_is_started_afresh(clone: Clone) -> None:
    clone.source()
    for mark in ("half-made", f"half-made {clone.root}", "1-2 /another/clone"):
        (clone.venv / ".ready").write_text(mark + "\n")
        (clone.venv / "lib").mkdir()
        assert clone.source()[0] == str(clone.venv)
        assert not (clone.venv / "lib").exists()


def test_no_torchaudio_is_left_beside_torch(clone: Clone) -> None:
    clone.source()
    commands = clone.commands()
    assert not any("install torchaudio" in command or "torchaudio==" in command for command in commands)
    assert commands[-1].endswith("uninstall --yes torchaudio")  # fairseq's requirement brings it


@WITHOUT_GPU
def test_where_the_lock_fits_nothing_is_installed_without_a_hash(clone: Clone) -> None:
    clone.lock()
    clone.source()
    installs = [command for command in clone.commands() if " install " in command and "pip<" not in command]
    assert all("--no-deps" in command for command in installs)
    assert "--require-hashes -r" in installs[0]
    (project,) = installs[1:]
    assert project.endswith(f"install --no-compile --no-deps --no-build-isolation -e {clone.root}")
    (clone.root / "requirements" / "test.txt").write_text("torch==3 --hash=sha256:1\n")
    clone.source()
    assert any("--require-hashes" in command for command in clone.commands())  # another lock, another environment


def test_where_the_lock_is_for_others_what_setup_py_allows_is_installed(clone: Clone) -> None:
    clone.lock()
    clone.source(refused="libc_ver")
    commands = clone.commands()
    assert not any("--require-hashes" in command for command in commands)
    assert any("[all,test]" in command for command in commands)


@WITHOUT_GPU
def test_files_with_other_hashes_are_an_error_in_ci_and_said_elsewhere(clone: Clone) -> None:
    clone.lock()
    with pytest.raises(AssertionError, match="installing failed"):
        clone.source(refused="--require-hashes", CI="true")
    _, said = clone.source(refused="--require-hashes")
    assert "cannot be had" in said
    assert any("[all,test]" in command for command in clone.commands())


@pytest.mark.parametrize("target", ["plain", "of another clone", "half-made", "gone"])
def test_a_link_is_replaced_and_its_target_untouched(clone: Clone, tmp_path: Path, target: str) -> None:
    other = tmp_path / "other" / ".venv"
    if target != "gone":
        own_environment(other)
    if target == "of another clone":
        (other / ".ready").write_text("1-2 /other\n")
    if target == "half-made":
        (other / ".ready").write_text("half-made\n")
    before = contents(other)
    clone.venv.symlink_to(other)
    active, said = clone.source()
    assert active == str(clone.venv)
    assert not clone.venv.is_symlink()
    assert contents(other) == before
    assert f"{clone.venv} is a link to {other}: replacing the link; what it links to stays as it is" in said


def test_a_link_to_an_empty_folder_is_where_it_goes(clone: Clone, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    clone.venv.symlink_to(disk)
    clone.source()
    assert clone.venv.is_symlink()
    assert (disk / ".ready").exists()
    assert clone.source() == (str(clone.venv), "")


@pytest.mark.parametrize("mark", [None, "ready"])
def test_a_folder_of_somebody_else_s_is_left_alone(clone: Clone, mark: str | None) -> None:
    own_environment(clone.venv)
    if mark:
        (clone.venv / ".ready").write_text(mark)
    before = contents(clone.venv)
    active, said = clone.source()
    assert active == f"{clone.venv}-one-layer-lt"
    assert contents(clone.venv) == before
    assert f"{clone.venv} is not of this script's making, and stays as it is" in said
    assert clone.source() == (active, "")


def test_a_file_called_so_is_left_alone(clone: Clone) -> None:
    clone.venv.write_text("my-environment\n")
    assert clone.source()[0] == f"{clone.venv}-one-layer-lt"
    assert clone.venv.read_text() == "my-environment\n"
