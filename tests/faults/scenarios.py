"""The commands that are killed: what each writes, and what was there before. ``{toys}`` is what ``make_toys`` makes."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tests.plugin.running import PLUGIN, RECIPE, SIZE, WORDS

from . import programs

_SHAPE = [*SIZE, "--encoder-layers", "1", "--decoder-layers", "1"]
_TRAIN = ["fairseq_cli.train", "{toys}/data", "--user-dir", str(PLUGIN), "--arch", "one_layer_masked_tiny"]
_TRAIN += [*_SHAPE, *RECIPE, "--required-batch-size-multiple", "1", "--max-tokens", "240"]
TRAIN = shlex.join(_TRAIN)
CORPUS = "data_prep.corpus --from {toys}/text --source xx --target yy --size 60"
STUDY = """
data = "{toys}/data"
beam = 1
[flags]
arch = "one_layer_masked_tiny"
optimizer = "adam"
lr = "5e-3"
criterion = "label_smoothed_cross_entropy"
max-update = 4
max-tokens = 240
required-batch-size-multiple = 1
no-epoch-checkpoints = true
"""
STUDY += "".join(f"{flag[2:]} = {value}\n" for flag, value in dict(zip(_SHAPE[::2], _SHAPE[1::2])).items())
STUDY += "[runs]\ntoy = {{}}\n"


@dataclass(frozen=True)
class Scenario:
    """``command``, run in a folder of its own, writes ``writes`` there: files and folders.

    before: the command that has run there with other settings, so that there are files to lose. steps: it goes through
    several states, of which any may be found when it was killed. kills: of 300. files: name -> content of what it
    needs there. patch: called with the folder, in the process.
    """

    name: str
    command: str
    writes: tuple[str, ...]
    kills: int
    before: str = ""
    steps: bool = False
    files: tuple[tuple[str, str], ...] = ()
    patch: Optional[Callable[[Path], None]] = None


def _sweep_here(folder: Path) -> None:
    from scripts import study

    study.Run.folder = property(lambda run: folder / "run")  # type: ignore[assignment, method-assign]


LT = "one_layer_lt"
SCORE = "--data {toys}/data --beam 1 -o score.json -- --max-len-b 10"
CHECKPOINTS = ("run/checkpoint_last.pt", "run/checkpoint_best.pt", "run/checkpoint1.pt", "run/checkpoint2.pt")
SCENARIOS = (
    Scenario("train", f"{TRAIN} --save-dir run --max-update 9", CHECKPOINTS, 45, steps=True),
    Scenario(
        "train, resumed",
        f"{TRAIN} --save-dir run --max-update 9",
        CHECKPOINTS,
        30,
        before=f"{TRAIN} --save-dir run --max-update 4",
        steps=True,
    ),
    Scenario("prepare a corpus", f"{CORPUS} --out data", ("data",), 15),
    Scenario(
        "export",
        f"{LT} export {{toys}}/run/checkpoint_last.pt -o net.ticket",
        ("net.ticket",),
        30,
        before=f"{LT} export {{toys}}/run/checkpoint1.pt -o net.ticket",
    ),
    Scenario(
        "convert --to fairseq",
        f"{LT} convert {{toys}}/net.ticket --to fairseq -o folded",
        ("folded",),
        25,
    ),
    Scenario(
        "convert --to ctranslate2", f"{LT} convert {{toys}}/net.ticket --to ctranslate2 -o folded", ("folded",), 15
    ),
    Scenario(
        "score",
        f"{LT} score {{toys}}/run/checkpoint_last.pt {SCORE}",
        ("score.json", "score.txt"),
        15,
        before=f"{LT} score {{toys}}/run/checkpoint1.pt --split valid {SCORE}",
    ),
    Scenario(
        "average",
        f"{LT} average {{toys}}/run --last 2 -o mean.pt",
        ("mean.pt",),
        25,
        before=f"{LT} average {{toys}}/run --last 1 -o mean.pt",
    ),
    Scenario(
        "quantize",
        "scripts.quantize {toys}/dense/checkpoint_last.pt --bits 4 --out int.pt",
        ("int.pt",),
        25,
        before="scripts.quantize {toys}/dense/checkpoint_last.pt --bits 2 --out int.pt",
    ),
    Scenario(
        "distil", f"{LT} distil {{toys}}/run/checkpoint_last.pt --data {{toys}}/data --beam 1 -o more", ("more",), 10
    ),
    Scenario("reverse", f"{LT} reverse {{toys}}/data -o reversed", ("reversed",), 10),
    Scenario(
        "embeddings",
        f"{LT} embeddings model {{toys}}/dense/checkpoint_last.pt --data {{toys}}/data -o vectors",
        ("vectors/embed.xx.txt", "vectors/embed.yy.txt"),
        10,
    ),
    Scenario(
        "vision train",
        f"{LT} vision train --recipe digits --width 0.1 --epochs 3 -o run",
        ("run/checkpoint.pt", "run/recipe.json"),
        30,
        steps=True,
    ),
    Scenario(
        "prune",
        f"{LT} prune --rounds 1 --rate 0.5 --rewind 1 -o imp -- {TRAIN.partition(' ')[2]} --max-update 3",
        ("imp/rounds.json", "imp/rewind.pt", "imp/round0/checkpoint_last.pt", "imp/round1/checkpoint_last.pt"),
        9,
        steps=True,
    ),
    Scenario(
        "sweep",
        "scripts.sweep toys.toml --out results",
        ("results/toys/toy-s1.json", "run/checkpoint_best.pt"),
        8,
        steps=True,
        files=(("toys.toml", STUDY),),
        patch=_sweep_here,
    ),
)


def make_toys(folder: Path) -> None:
    """``text``, ``data`` made of it, checkpoints of a masked and of a dense model, and a ticket."""
    chance = random.Random(2)
    (folder / "text").mkdir(parents=True)
    for split, pairs in (("train", 60), ("valid", 4), ("test", 4)):
        lines = [chance.choices(WORDS, k=chance.randint(2, 5)) for _ in range(pairs)]
        (folder / "text" / f"{split}.xx").write_text("".join(" ".join(line).capitalize() + ".\n" for line in lines))
        (folder / "text" / f"{split}.yy").write_text("".join(" ".join(line[::-1]).upper() + "!\n" for line in lines))
    for command in (
        f"{CORPUS} --out {{toys}}/data",
        f"{TRAIN} --save-dir {{toys}}/run --max-update 12",
        f"{TRAIN} --save-dir {{toys}}/dense --max-update 5 --dense --no-epoch-checkpoints",
        f"{LT} export {{toys}}/run/checkpoint_last.pt -o {{toys}}/net.ticket",
    ):
        if programs.end(programs.start(words(command, folder), folder)):
            raise AssertionError(Path(f"{folder}.log").read_text())


def words(command: str, toys: Path) -> list[str]:
    return [word.format(toys=toys) for word in shlex.split(command)]


def begin(scenario: Scenario, toys: Path, folder: Path, limit: Optional[Callable[[], None]] = None) -> int:
    """Start a scenario's command in ``folder``; returns its process. limit: called in it before."""

    def before() -> None:
        if scenario.patch:
            scenario.patch(folder)
        if limit:
            limit()

    return programs.start(words(scenario.command, toys), folder, before)


def prepare(scenario: Scenario, toys: Path, folder: Path) -> None:
    """Make ``folder``, with what is there before the command."""
    folder.mkdir(parents=True)
    for name, content in scenario.files:
        (folder / name).write_text(content.format(toys=toys))
    if scenario.before and programs.end(programs.start(words(scenario.before, toys), folder)):
        raise AssertionError(Path(f"{folder}.log").read_text())
