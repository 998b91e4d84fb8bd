"""The commands that pages, help texts and scripts show, as words."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("data_prep", "fairseq_plugins", "one_layer_lt", "scripts")
PROGRAM = r"(?:python (?:-[cm] |\w+/)|(?:bash|source) \w+/|(?:torchrun|one-layer-lt|fairseq-[a-z-]+|echo) )"


def pages() -> list[Path]:
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "docs" / "results" / "README.md",
    ]


def shown() -> Iterator[tuple[str, str]]:
    """(file, command) of every command, each a line of the shell whose continuations are joined."""
    for page in pages():
        text = page.read_text()
        for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield from ((_name(page), command) for command in commands(block))
        for inline in re.findall(rf"`({PROGRAM}[^`\n]+)`", text):
            yield from ((_name(page), command) for command in commands(inline))
    for file in sorted(file for folder in CODE for file in (ROOT / folder).rglob("*.py")):
        for text in _docstrings(file):
            joined = re.sub(r"\\\n\s*", " ", text)
            for line in re.findall(rf"^ *({PROGRAM}.*)$", joined.partition("\n")[2], re.MULTILINE):
                yield from ((_name(file), command) for command in commands(line))
    for file in sorted(file for folder in CODE for file in (ROOT / folder).glob("*.sh")):
        for line in re.findall(r"^# (bash [^:\n]+)", file.read_text(), re.MULTILINE):
            yield _name(file), re.sub(r" ?\[[^\]]*\]", "", line)


def commands(text: str) -> Iterator[str]:
    """The single commands of a text for the shell, without comments, pipes and the like."""
    text = re.sub(r"(?:^|(?<=\s))#\s.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    words = shlex.shlex(text, posix=True, punctuation_chars="|&;\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    command: list[str] = []
    for word in [*words, "\n"]:
        if not set(word) <= set("|&;\n"):
            command.append(word)
        elif command:
            yield shlex.join(command)
            command = []


def _docstrings(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield ast.get_docstring(node) or ""


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))
