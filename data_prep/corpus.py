"""Your own parallel text, of any shape, into a data folder.

bash data_prep/corpus.sh --from my.tsv --source de --target en --out data-bin/mine.de-en
bash data_prep/corpus.sh --from my.tmx --source de --target en
bash data_prep/corpus.sh --from text.de text.en --source de --target en --valid 500 --test 500
bash data_prep/corpus.sh --from my/folder --source de --target en --tokenized --lowercase

All text is UTF-8, and any file may be gzipped. What --from takes:

    two files             line n of the second is the translation of line n of the first
    a TSV                 two columns, source and target; or those that the first line heads with the languages' codes
    a TMX                 a translation memory; `de` is also what is marked de-DE
    a folder or archive   {train,valid,test}.{source,target}: splits of your own, of which only empty pairs are dropped

Of the first three, pairs are dropped that are empty, too long, unlike in length, or there twice. The rest is split by
--seed. No source or target sentence is in two splits. The counts and five pairs are printed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from one_layer_lt.cli.parser import count
from one_layer_lt.errors import UserError
from one_layer_lt.text.lines import Pair, read_lines, read_pairs, select
from one_layer_lt.text.manifest import SPLITS
from one_layer_lt.text.subwords import Subword

from .lib import cli
from .lib.archive import collect, is_archive
from .lib.parallel import read_parallel
from .lib.pipeline import make_settings, prepare
from .lib.splits import Choice, in_lines, split

SHOWN = 5


def pieces(pairs: int) -> int:
    """How many sentencepieces suit so many training pairs."""
    return max(500, min(8000, pairs // 3))


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The options of ``Choice``, for text that comes without splits."""
    usual = "a twentieth of the pairs, at most 1000"
    parser.add_argument("--valid", type=count, metavar="N", help=f"pairs for validation ({usual})")
    parser.add_argument("--test", type=count, metavar="N", help=f"pairs for the test ({usual})")
    said = f"drop pairs with more letters than that on a side ({Choice.longest})"
    parser.add_argument("--longest", type=count, default=Choice.longest, metavar="N", help=said)
    said = f"drop pairs whose lengths differ so many times as much as is usual in the text ({Choice.ratio:g})"
    parser.add_argument("--ratio", type=float, default=Choice.ratio, metavar="X", help=said)
    parser.add_argument("--seed", type=int, default=Choice.seed, metavar="N", help=f"of the splits ({Choice.seed})")


def choice_of(args: argparse.Namespace) -> Choice:
    """What ``add_choice`` was told."""
    if not args.ratio > 1:
        raise UserError(f"--ratio {args.ratio:g}: must be above 1")
    return Choice(args.longest, args.ratio, args.valid, args.test, args.seed)


def has_splits(origin: Sequence[Path]) -> bool:
    """Whether it is a folder or an archive. Raises ``UserError`` where it is nothing that can be prepared."""
    if len(origin) > 2:
        raise UserError(f"{len(origin)} files: give a TSV, a TMX, two parallel files, or a folder of six")
    for path in origin:
        if not path.exists():
            raise UserError(f"--from {path} does not exist")
        if len(origin) == 2 and not path.is_file():
            raise UserError(f"--from {path} is no file: two parallel files, or one folder")
    return len(origin) == 1 and (origin[0].is_dir() or is_archive(origin[0]))


def main(words: Optional[Sequence[str]] = None) -> None:
    """Prepare what the words say (those of the command line)."""
    parser = cli.parser("corpus", __doc__)
    said = "TSV, TMX, two parallel files, or a folder or archive with six"
    parser.add_argument("--from", dest="origin", type=Path, nargs="+", metavar="PATH", required=True, help=said)
    cli.add_languages(parser)
    add_choice(parser)
    parser.add_argument("--name", default="corpus", help="what the data folder calls the corpus (corpus)")
    said = "sentencepieces (a third of the training pairs, from 500 to 8000) or BPE merges (10000)"
    parser.add_argument("--size", type=int, metavar="N", help=said)
    cli.add_samples(parser)
    parser.add_argument("--lowercase", action="store_true", help="lower-case what is learnt, not the references")
    parser.add_argument("--tokenized", action="store_true", help="Moses tokenizer and joint BPE, not sentencepiece")
    args = parser.parse_args(words)
    kind, size = ("moses-bpe", 10_000) if args.tokenized else ("sentencepiece", 8000)
    size = size if args.size is None else args.size
    subword = Subword(kind, size, args.lowercase, samples=args.samples, alpha=args.alpha)
    make_settings(args.name, args.source, args.target, subword)  # complains before the long work
    choice, languages = choice_of(args), (args.source, args.target)
    with tempfile.TemporaryDirectory() as scratch:
        if has_splits(args.origin):
            groups = [[f"{name}.{language}" for language in languages] for name in SPLITS]
            files = collect(args.origin[0], groups, Path(scratch))
            raw = {name: (files[f"{name}.{args.source}"], files[f"{name}.{args.target}"]) for name in SPLITS}
            counts = {name: sum(1 for _ in read_lines(raw[name][0])) for name in SPLITS}
        else:
            raw = {name: _pair(Path(scratch), name) for name in SPLITS}
            read = read_parallel(args.origin, *languages)
            counts = split(read, raw, _pair(Path(scratch), "all"), choice)
        steps = [step * counts["train"] // SHOWN for step in range(SHOWN)]
        print("\n".join(in_lines(counts, select(read_pairs(raw["train"]), sorted(set(steps))))), flush=True)
        if args.size is None and not args.tokenized:
            subword = Subword(kind, pieces(counts["train"]), args.lowercase, samples=args.samples, alpha=args.alpha)
        out = cli.out_folder(args, args.name, *languages)
        prepare(corpus=args.name, source=args.source, target=args.target, raw=raw, out=out, subword=subword)


def _pair(folder: Path, name: str) -> Pair:
    return folder / f"{name}.source", folder / f"{name}.target"


if __name__ == "__main__":
    cli.run(main)
