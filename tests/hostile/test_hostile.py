"""Hostile files are refused in a line, or read without harm, within bounds of memory and time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_hostile() -> None:
    command = [sys.executable, "-m", "tests.hostile", "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" MiB  ") > 200
