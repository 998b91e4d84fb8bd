"""Numbers, dates, times, quantities and prices in words and figures, written in two languages by num2words and babel.

    bash data_prep/numbers.sh                            # English to German, 20,000 / 1,000 / 1,000 pairs
    bash data_prep/numbers.sh --source fr --target en    # any two languages that both packages know
    bash data_prep/numbers.sh --seed 2 --pairs 44000

Needs no download. The same seed gives the same text with the same versions of both packages.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from one_layer_lt.errors import UserError
from one_layer_lt.optional import need
from one_layer_lt.text.lines import Pair, write_pairs
from one_layer_lt.text.subwords import Subword

from .lib import cli
from .lib.pipeline import prepare

if TYPE_CHECKING:
    from .lib.number_phrases import PhrasePair

log = logging.getLogger(__name__)

SHARE = 22  # one pair of so many to each of validation and test
FEWEST = 100 * SHARE
PIECES = 1_000


def main() -> None:
    parser = cli.parser("numbers", __doc__)
    cli.add_languages(parser, "en", "de")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another seed, other phrases (1)")
    parser.add_argument("--pairs", type=int, default=22_000, metavar="N", help="pairs in all three splits (22000)")
    parser.add_argument("--size", type=int, default=PIECES, metavar="N", help=f"sentencepieces ({PIECES})")
    cli.add_samples(parser)
    args = parser.parse_args()
    phrases = need("data_prep.lib.number_phrases", "data")  # it imports babel and num2words
    check_languages(args.source, args.target)
    if args.pairs < FEWEST:
        raise UserError(f"--pairs {args.pairs}: must be at least {FEWEST}")
    subword = Subword("sentencepiece", args.size, samples=args.samples, alpha=args.alpha)
    out = cli.out_folder(args, "numbers", args.source, args.target)
    try:
        pairs = phrases.phrase_pairs(args.source, args.target, args.pairs, args.seed)
    except ValueError as error:
        raise UserError(f"--pairs {args.pairs}: {error}: ask for fewer") from error
    describe(pairs)
    with tempfile.TemporaryDirectory() as scratch:
        raw = {split: write_split(Path(scratch), split, part) for split, part in split_pairs(pairs).items()}
        prepare(corpus="numbers", source=args.source, target=args.target, raw=raw, out=out, subword=subword)
    describe_tokens(pairs, out)


def check_languages(source: str, target: str) -> None:
    from .lib.number_phrases import Language

    for flag, code in (("--source", source), ("--target", target)):
        try:
            Language.find(code)
        except LookupError as error:
            known = ", ".join(Language.known())
            raise UserError(f"{flag} {code!r} is not known to both num2words and babel, which know {known}") from error


def split_pairs(pairs: list[PhrasePair]) -> dict[str, list[PhrasePair]]:
    """Of pairs in random order, one in 22 each for validation and test."""
    held_out = len(pairs) // SHARE
    return {"valid": pairs[:held_out], "test": pairs[held_out : 2 * held_out], "train": pairs[2 * held_out :]}


def write_split(folder: Path, split: str, pairs: list[PhrasePair]) -> Pair:
    files = folder / f"{split}.source", folder / f"{split}.target"
    write_pairs(((pair.source, pair.target) for pair in pairs), files, split)
    return files


def describe(pairs: list[PhrasePair]) -> None:
    counts = Counter(pair.kind for pair in pairs)
    log.info("%d pairs: %s", len(pairs), ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    log.info("written by %s", ", ".join(f"{package} {metadata.version(package)}" for package in ("num2words", "babel")))


def describe_tokens(pairs: list[PhrasePair], out: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(out / "spm.model"))
    for side, texts in (("source", [pair.source for pair in pairs]), ("target", [pair.target for pair in pairs])):
        lengths = [len(tokens) for tokens in pieces.encode(texts)]
        log.info("%s: %.1f pieces on average, %d at most", side, sum(lengths) / len(lengths), max(lengths))


if __name__ == "__main__":
    cli.run(main)
