"""fairseq-generate in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from one_layer_lt import process
from one_layer_lt.errors import UserError
from one_layer_lt.progress import progress
from one_layer_lt.text.manifest import Settings

PLUGIN = Path(__file__).parent
"""For --user-dir."""


def command(data: Path, checkpoint: Path, split: str, direction: Settings, beam: int, *flags: str) -> list[str]:
    """The command that translates a split of a prepared data folder."""
    made = ["fairseq-generate", str(data), "--path", str(checkpoint)]
    made += ["--user-dir", str(PLUGIN), "--gen-subset", split, "--beam", str(beam)]
    made += ["--source-lang", direction.source, "--target-lang", direction.target, "--no-progress-bar"]
    return [*made, *flags]


def translate(command: Sequence[str], count: int) -> list[str]:
    """Run fairseq-generate; the translations of its `count` sentences in their order, without subwords."""
    lines: list[str] = []
    with progress("translating", count, "sentences") as bar:

        def each(line: str) -> None:
            bar.update(line.startswith("H-"))
            lines.append(line)

        process.run(command, each=each, name="fairseq-generate")
    hypotheses = parse(lines)
    if set(hypotheses) != set(range(count)):
        raise UserError(f"fairseq-generate translated {len(hypotheses):,} sentences, but there are {count:,} to score")
    return [hypotheses[number] for number in range(count)]


def parse(lines: Iterable[str]) -> dict[int, str]:
    """Sentence number -> best hypothesis, from fairseq-generate's lines `H-number <tab> score <tab> text`."""
    hypotheses: dict[int, str] = {}
    for line in lines:
        if match := re.fullmatch(r"H-(\d+)\t\S+\t(.*)", line.rstrip("\n"), re.DOTALL):
            hypotheses.setdefault(int(match[1]), match[2])
    return hypotheses
