"""Where a result comes from: paths that mean the same on another machine, the commit, the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

_HOME = Path(__file__).resolve().parents[1]
ROOT = _HOME if (_HOME / "setup.py").is_file() else None
"""The repository that this package runs from; None where it is installed."""


def relative(path: Path) -> str:
    """The path within the repository, even where runs/ links out of it; else the whole one."""
    for whole in (Path(os.path.abspath(path)), path.resolve()):
        if ROOT is not None and whole.is_relative_to(ROOT):
            return str(whole.relative_to(ROOT))
    return os.path.abspath(path)


def located(path: str) -> Path:
    """The file or folder that ``relative`` has named."""
    return (ROOT or Path()) / path


def commit() -> dict[str, Any] | None:
    """The commit, and whether files have changed since (but for docs/, which scripts redraw); None outside git."""
    if ROOT is None:
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs")
        return {"hash": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """What the numbers of seconds were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
