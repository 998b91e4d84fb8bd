"""A Python process that lacks some packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
"""
EXTRAS = ["subword_nmt", "mosestokenizer", "babel", "num2words", "gensim", "sklearn", "PIL", "ctranslate2"]


def blocked(names: list[str], code: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run code in a process that cannot import these."""
    command = [sys.executable, "-c", ALONE.format(blocked=names) + code, *arguments]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, input=stdin, capture_output=True, text=True, check=False)
