"""Folders for one process at a time, and programs that end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from one_layer_lt.errors import UserError
from one_layer_lt.lock import hold, locked
from one_layer_lt.process import ends_with_us

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "made", "taken"),
        pytest.raises(UserError, match="taken"),
        locked(tmp_path / "made", "taken"),
    ):
        pass
    with locked(tmp_path / "made", "taken"):
        pass


def test_who_inherits_the_handle_holds_it_on(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as log:
        hold(log.fileno(), "taken")
        child = subprocess.Popen(["sleep", "60"], stdout=log)
    with open(tmp_path / "log") as log:
        with pytest.raises(UserError, match="taken"):
            hold(log.fileno(), "taken")
        child.kill()
        child.wait()
        hold(log.fileno(), "taken")


PARENT = """
import subprocess, sys
from one_layer_lt.process import ends_with_us
child = subprocess.Popen(["sleep", "60"], preexec_fn=ends_with_us())
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_ends_with_the_one_that_started_it(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
    assert ended(child)


def test_its_own_end_is_as_ever() -> None:
    assert subprocess.run(["sh", "-c", "exit 3"], preexec_fn=ends_with_us()).returncode == 3


def ended(process: int) -> bool:
    """Whether a process is gone, or only waits to be looked at, within some seconds."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    return False
