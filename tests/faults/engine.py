"""One scenario at a time: run as it should be, killed, without room, without leave to write, and twice at once."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import torch

from fairseq_plugins.checkpoints import load
from one_layer_lt import load_ticket
from one_layer_lt.text.manifest import FILE, Manifest

from . import programs
from .scenarios import Scenario, begin, prepare

PASSING = ("seconds", "commit", "machine", "command", "data", "checkpoint", "versions", "path")  # of a result
ROOM = 256 << 20
_PAGE = 4096
Prints = dict[str, Optional[str]]  # file or folder -> its fingerprint; None where there is none


@dataclass
class Tally:
    """What became of a scenario's command. The fields after ``said`` count what must not be."""

    kills: int = 0
    """Times that it was killed before its end."""
    full: int = 0
    """Times that it failed for want of room on the disk."""
    denied: int = 0
    """Times that it could not write."""
    both: int = 0
    """Times that two of it ran at once."""
    said: list[str] = field(default_factory=list)
    """What went wrong, a line each."""
    lost: int = 0
    """Files that were gone or broken, or neither the old nor the new ones."""
    stuck: int = 0
    """Times that the same command did not go on, or left something behind."""
    other: int = 0
    """Times that it went on and ended with something else than uninterrupted."""
    alive: int = 0
    """Programs that outlived the command that started them."""
    loud: int = 0
    """Failures that were not told in one line."""

    def add(self, what: str, said: str) -> None:
        """Count something that must not be."""
        setattr(self, what, getattr(self, what) + 1)
        self.said.append(f"{what}: {said}")


class Bench:
    """A scenario and its uninterrupted run, in a folder of its own."""

    def __init__(self, scenario: Scenario, toys: Path, folder: Path) -> None:
        self.scenario, self.toys, self.folder = scenario, toys, folder
        self.tally = Tally()
        self.start = folder / "start"
        prepare(scenario, toys, self.start)
        self.old = prints(scenario, self.start)
        whole = self._copy("whole")
        pid = begin(scenario, toys, whole)
        self.seconds, _ = programs.cost(pid)
        if programs.end(pid):
            raise AssertionError(f"{scenario.name}: {_said(whole)}")
        self.new = prints(scenario, whole)
        self.bytes = sum(_size(whole / name) for name in scenario.writes)
        missing = [name for name, print_ in self.new.items() if print_ is None]
        if missing:
            raise AssertionError(f"{scenario.name} did not write {', '.join(missing)}")

    def killed(self, moment: float) -> bool:
        """Kill it when it has done the fraction ``moment`` of its work, look at its files, and start it again."""
        place = self._copy("killed")
        pid = begin(self.scenario, self.toys, place)
        _, processes = programs.cost(pid, moment * self.seconds)
        if not programs.kill(pid):
            return False  # it was done already
        self.tally.kills += 1
        what = f"killed at {moment:.3f}"
        for _ in range(programs.left(processes)):
            self.tally.add("alive", what)
        self._check_files(place, what)
        self._go_on(place, what)
        return True

    def full(self, part: float) -> None:
        """Let it run where there is room for a part of what it writes; then make room."""
        place = self.folder / "full"
        with small_disk(place, _size(self.start) + int(part * self.bytes)) as room:
            shutil.copytree(self.start, place, dirs_exist_ok=True)
            self.tally.full += self._fails(place, f"without room, at {part:.3f}", room.limit)
            room.widen()
            self._go_on(place, "after there was room")

    def denied(self) -> None:
        """Let it run where nothing can be written."""
        place = self._copy("denied")
        with read_only(place):
            if not self._fails(place, "where it cannot write"):
                self.tally.add("loud", "where it cannot write, it says nothing")
        self.tally.denied += 1

    def both(self) -> None:
        """Start it twice at once: one may refuse, in a line."""
        place = self._copy("both")
        pids = [begin(self.scenario, self.toys, place) for _ in range(2)]
        codes = [programs.end(pid) for pid in pids]
        self.tally.both += 1
        if codes.count(0) == 0 or "Traceback" in _said(place):
            self.tally.add("loud", f"two at once: codes {codes}: {_said(place)[-300:]}")
        self._check_end(place, "two at once")

    def _copy(self, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        Path(f"{place}.log").unlink(missing_ok=True)
        return Path(shutil.copytree(self.start, place))

    def _fails(self, place: Path, what: str, limit: Any = None) -> bool:
        code = programs.end(begin(self.scenario, self.toys, place, limit))
        said = _said(place).splitlines()
        if code and (code < 0 or "Traceback (most recent call last):" in said or not any("error: " in s for s in said)):
            self.tally.add("loud", f"{what}: code {code}: {' / '.join(said[-3:])}")
        self._check_files(place, what)
        if left := hidden(place):
            self.tally.add("stuck", f"{what}: left {', '.join(left)}")
        return code != 0

    def _check_files(self, place: Path, what: str) -> None:
        """Each file is the old one or the new one; of a command with several steps, it opens."""
        try:
            found = prints(self.scenario, place)
        except Exception as error:
            self.tally.add("lost", f"{what}: {type(error).__name__}: {error}")
            return
        for name, print_ in found.items():
            gone = print_ is None and self.old[name] is not None
            if gone or not (self.scenario.steps or print_ in (self.old[name], self.new[name])):
                self.tally.add("lost", f"{what}: {name}")

    def _go_on(self, place: Path, what: str) -> None:
        """The same command again ends as if nothing had been."""
        if programs.end(begin(self.scenario, self.toys, place)) and self._is_there(place):
            return  # it says that its folder is there already, and it is
        self._check_end(place, what)

    def _is_there(self, place: Path) -> bool:
        return "is there already" in _said(place) or "already there" in _said(place)

    def _check_end(self, place: Path, what: str) -> None:
        try:
            found = prints(self.scenario, place)
        except Exception as error:
            self.tally.add("stuck", f"{what}: {type(error).__name__}: {error}")
            return
        if None in found.values():
            self.tally.add("stuck", f"{what}: {_said(place)[-300:]}")
        elif found != self.new:
            self.tally.add("other", f"{what}: {', '.join(name for name in found if found[name] != self.new[name])}")
        if left := hidden(place):
            self.tally.add("stuck", f"{what}: left {', '.join(left)}")


def prints(scenario: Scenario, folder: Path) -> Prints:
    """Of each thing that the scenario writes. Raises what opening it raises."""
    return {name: fingerprint(folder / name) if (folder / name).exists() else None for name in scenario.writes}


def fingerprint(path: Path) -> str:
    """Opens a file or a folder as its readers do, and tells what is in it, less what differs from run to run."""
    if path.is_dir():
        if (path / FILE).is_file():
            Manifest.read(path).verify(path)
        return _digest({name.name: fingerprint(name) for name in sorted(path.iterdir())})
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True) if path.name == "checkpoint.pt" else load(path)
        updates = [entry.get("num_updates") for entry in state.get("optimizer_history", [])][-1:]
        tensors = {
            **state["model"],
            **dict(_tensors(state.get("last_optimizer_state") or state.get("optimizer") or {})),
        }
        return _digest({"updates": updates, **{name: _of_tensor(tensor) for name, tensor in tensors.items()}})
    if path.suffix == ".ticket":
        load_ticket(path)
    if path.suffix == ".json":
        return _digest(_lasting(json.loads(path.read_text())))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hidden(folder: Path) -> list[str]:
    """What should be gone when a command is through: parts of files, and folders for them that are not empty."""
    marked = (path for path in folder.rglob("*") if path.suffix in (".part", ".tmp", ".work") or path.name[0] == ".")
    return [str(path.relative_to(folder)) for path in marked if path.is_file() or any(path.iterdir())]


class Room:
    """A disk with so many bytes, which can be widened."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size, self.mounted = folder, size, False

    def limit(self) -> None:
        """In the process: where no disk of that size could be had, no file may be larger than a part of that."""
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max(1 << 16, self.size // 4),) * 2)

    def widen(self) -> None:
        if self.mounted:
            _mount("-o", f"remount,size={ROOM}", str(self.folder))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Room]:
    """A disk of so many bytes at ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.log").unlink(missing_ok=True)
    folder.mkdir()
    room = Room(folder, size)
    pages = max(1, size // _PAGE)  # of 0 there would be no limit
    room.mounted = _mount("-t", "tmpfs", "-o", f"size={pages * _PAGE}", "tmpfs", str(folder))
    try:
        yield room
    finally:
        if room.mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written in ``folder``: to root, rights are no hindrance."""
    if os.getuid():
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
    elif _mount("--bind", str(folder), str(folder)):
        try:
            _mount("-o", "remount,bind,ro", str(folder))
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        raise PermissionError("root that may not mount")


def _mount(*arguments: str) -> bool:
    return os.getuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def _size(path: Path) -> int:
    """Bytes that a file or a folder takes on a disk."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(-(-file.stat().st_size // _PAGE) * _PAGE for file in files if file.is_file())


def _said(place: Path) -> str:
    return Path(f"{place}.log").read_text(errors="replace")


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(part) for name, part in value.items() if name not in PASSING}
    return list(map(_lasting, value)) if isinstance(value, list) else value


def _tensors(value: Any, name: str = "state") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _tensors(part, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _tensors(part, f"{name}.{number}")


def _of_tensor(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def moments(kills: int, seed: int, name: str) -> Iterator[float]:
    """Moments, uniform over the work: enough for all kills to come before the end."""
    chance = random.Random(f"{seed} {name}")
    return (chance.random() for _ in range(3 * kills))
