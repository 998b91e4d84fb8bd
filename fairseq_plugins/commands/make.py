"""Make a ticket, or a web page that translates, of your own parallel text: from first to last.

    one-layer-lt make my.tsv --source de --target en -o mine.html
    one-layer-lt make text.de text.en --source de --target en -o mine.ticket

The text is what data_prep/corpus.sh takes: two files, a TSV, a TMX, or a folder of six. It is prepared. A dense twin is
trained on it, and then masks of signs, which start from the twin and learn from its predictions. They are scored on the
test set, and become a ticket, and the page. What the options do not say follows from the number of training pairs:

    training pairs    pieces                  width   twin                        signs
    up to 10,000      a third, at least 500   128     3,000 updates of 2,048      8,000 updates of 1,024 tokens
    more              a third, at most 8,000  256     2,600 updates of 4,096      6,000 updates of 1,024 tokens

This was measured on 29,000 pairs: 40.9 BLEU at width 256, 39.8 at width 128. More than 100,000 pairs may gain by more
updates. All stages are kept in a folder beside the output. Stop the command and start it again as you like: it goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.corpus import add_choice, choice_of, has_splits
from data_prep.corpus import main as prepare
from data_prep.lib.archive import is_archive
from one_layer_lt import process
from one_layer_lt.cli.parser import add_out, count
from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256, whole, write_json, write_whole
from one_layer_lt.lock import locked
from one_layer_lt.progress import progress
from one_layer_lt.text.manifest import FILE, SPLITS, Manifest

from .train import summary, train

BEGUN = "begun.json"
CORPUS = ("size", "valid", "test", "longest", "ratio", "seed")  # options that are those of data_prep/corpus.sh
SMALL = 10_000  # training pairs
CHECKS = 30  # how often a training is validated and kept


@dataclass(frozen=True)
class Sizes:
    """How large the model is, and how long the trainings are. tokens: of a batch of the twin."""

    width: int
    twin_updates: int
    tokens: int
    updates: int

    def flags(self) -> list[str]:
        """Those of fairseq-train that the twin and the signs have alike."""
        flags = ["--arch", "one_layer_masked_small", "--share-all-embeddings", "--logit-scale", "2"]
        for stack in ("encoder", "decoder"):
            flags += [f"--{stack}-embed-dim", str(self.width), f"--{stack}-ffn-embed-dim", str(4 * self.width)]
        flags += ["--optimizer", "adam", "--lr-scheduler", "cosine", "--label-smoothing", "0.1"]
        flags += ["--update-epoch-batch-itr", "True", "--no-epoch-checkpoints"]
        flags += ["--num-workers", "0"]  # to start one takes longer than a short epoch
        return [*flags, "--required-batch-size-multiple", "1"]  # else a small corpus would lose its longest sentences


@dataclass(frozen=True)
class Stage:
    """One step: its command, and the file that is there when it is done."""

    name: str
    command: list[str]
    makes: Path
    updates: int = 0  # of a training
    tokens: int = 0  # of its batches

    @property
    def work(self) -> int:
        """How long it takes, in tokens."""
        return self.updates * self.tokens


def sizes_for(pairs: int, width: int | None, twin_updates: int | None, updates: int | None) -> Sizes:
    """What suits so many training pairs, where it is not given."""
    usual = Sizes(128, 3000, 2048, 8000) if pairs <= SMALL else Sizes(256, 2600, 4096, 6000)
    return Sizes(width or usual.width, twin_updates or usual.twin_updates, usual.tokens, updates or usual.updates)


def stages(folder: Path, sizes: Sizes) -> Iterator[Stage]:
    """All that follows the preparation, in this order."""
    data, twin, signs, ticket = (folder / name for name in ("data", "twin", "signs", f"{folder.stem}.ticket"))
    teacher, best = str(twin / "checkpoint_best.pt"), str(signs / "checkpoint_best.pt")
    flags = ["--dense", "--twin", "--dropout", "0.3", "--adam-betas", "(0.9, 0.98)", "--lr", "2e-3"]
    flags += ["--criterion", "label_smoothed_cross_entropy"]
    yield _training("twin", twin, data, [*sizes.flags(), *flags], sizes.twin_updates, sizes.tokens, 200)
    flags = ["--mask-rule", "sign", "--random-init", "signed_constant", "--attention-init", "xavier_constant"]
    flags += ["--scores-from", teacher, "--dropout", "0", "--adam-betas", "(0.9, 0.999)", "--lr", "1e-3"]
    flags += ["--criterion", "distilled_cross_entropy", "--teacher", teacher]
    yield _training("signs", signs, data, [*sizes.flags(), *flags], sizes.updates, 1024, 400)
    scores = signs / "checkpoint_best.test.json"
    yield Stage("scores", ["one-layer-lt", "score", best, "--data", str(data), "-o", str(scores)], scores)
    yield Stage("ticket", ["one-layer-lt", "export", best, "--data", str(data), "-o", str(ticket)], ticket)


def _training(name: str, folder: Path, data: Path, flags: Sequence[str], updates: int, tokens: int, warm: int) -> Stage:
    every = str(max(20, updates // CHECKS))  # not by epochs, which are of a few updates where there is little text
    command = ["fairseq-train", str(data), *flags, "--max-update", str(updates), "--max-tokens", str(tokens)]
    command += ["--warmup-updates", str(min(warm, max(1, updates // 10))), "--save-dir", str(folder)]
    command += ["--save-interval", str(1 << 30), "--validate-interval", str(1 << 30), "--keep-interval-updates", "1"]
    command += ["--save-interval-updates", every, "--validate-interval-updates", every]
    return Stage(name, command, folder / "trained", updates, tokens)


def make(folder: Path, stages: Sequence[Stage]) -> None:
    """Do all stages that are not done."""
    done, total = 0, sum(stage.work for stage in stages)
    with progress(folder.name, total, "tokens") as bar:
        for number, stage in enumerate(stages, 1):
            bar.what = f"{stage.name} ({number} of {len(stages)})"
            bar.start(done)
            if stage.makes.exists():
                print(f"{stage.name}: done before", flush=True)
            elif stage.work:
                log = train(stage.command[1:], bar, done, stage.tokens)
                write_whole(stage.makes, "")
                print(f"{stage.name}:\n{summary(log)}", flush=True)
            else:
                bar.note = ""
                process.run(stage.command, log=folder / "make.log", each=_print)
            done += stage.work


def _print(line: str) -> None:
    print(line, end="", flush=True)


def _begin(folder: Path, options: dict[str, Any], origin: Sequence[Path]) -> None:
    """Raises ``UserError`` where the folder was begun with other options or other text."""
    folder.mkdir(parents=True, exist_ok=True)
    new = {"options": options, "text": {str(number): _digest(path) for number, path in enumerate(origin)}}
    path = folder / BEGUN
    if not path.is_file():
        if any(folder.iterdir()):
            raise UserError(f"{folder} holds something else: name another --work")
        write_json(path, new)
    begun = json.loads(path.read_text(encoding="utf-8"))
    mend = "name another --work, or delete that one"
    for name, value in options.items():
        if (was := begun["options"].get(name)) != value:
            said = [f"no --{name}" if it is None else f"--{name} {it}" for it in (was, value)]
            raise UserError(f"{folder} was begun with {said[0]}, not {said[1]}: {mend}".replace("_", "-"))
    if begun["text"] != new["text"]:
        raise UserError(f"{folder} was begun with other text than {', '.join(map(str, origin))}: {mend}")


def _digest(path: Path) -> str:
    """sha256 of a file, or of those in a folder that may be its corpus."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return sha256(*(file for file in files if file == path or is_archive(file) or file.name.startswith(SPLITS)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    said = "a TSV, a TMX, two parallel files, or a folder or archive of six"
    parser.add_argument("origin", type=Path, nargs="+", metavar="TEXT", help=said)
    parser.add_argument("--source", required=True, metavar="LANG", help="language code")
    parser.add_argument("--target", required=True, metavar="LANG", help="language code")
    add_out(parser, "what to make: a page (.html) or a ticket (.ticket)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where the stages are kept (OUT with .work)")
    parser.add_argument("--size", type=count, metavar="N", help="sentencepieces (see above)")
    parser.add_argument("--width", type=count, metavar="N", help="of the model, a multiple of 4 (see above)")
    parser.add_argument("--twin-updates", type=count, metavar="N", help="updates of the twin (see above)")
    parser.add_argument("--updates", type=count, metavar="N", help="updates of the signs (see above)")
    add_choice(parser)


def run(args: argparse.Namespace) -> None:
    out, folder = args.out, args.work or args.out.with_suffix(".work")
    if out.suffix not in (".html", ".ticket"):
        raise UserError(f"-o {out}: must end in .html, for a page, or in .ticket")
    if (args.width or 4) % 4:
        raise UserError(f"--width {args.width}: must be a multiple of 4")
    has_splits(args.origin)
    choice_of(args)  # both complain before the folder is made
    asked = {name: value for name, value in vars(args).items() if name not in ("origin", "out", "work", "passed")}
    with locked(folder, f"{folder}: another make is at it: wait, or stop that one"):
        _begin(folder, asked, args.origin)
        data = folder / "data"
        if not (data / FILE).is_file():
            given = {name: asked[name] for name in ("source", "target", *CORPUS) if asked[name] is not None}
            flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
            prepare(["--from", *map(str, args.origin), *flags, "--name", out.stem, "--out", str(data)])
        sizes = sizes_for(Manifest.read(data).pairs["train"], args.width, args.twin_updates, args.updates)
        *_, last = planned = list(stages(folder, sizes))
        make(folder, planned)
        if out.suffix == ".ticket":
            with whole(out) as part:
                shutil.copyfile(last.makes, part)
        else:
            process.run(["one-layer-lt", "convert", str(last.makes), "--to", "html", "-o", str(out)])
    print(f"{out}: {out.stat().st_size:,} bytes; its stages are in {folder}")
