"""IWSLT14 German to English, as fairseq's examples/translation/prepare-iwslt14.sh prepares it.

    bash data_prep/iwslt14.sh
    bash data_prep/iwslt14.sh --from de-en.tgz    # or a folder with that archive, or with its files

Moses tokenizer; pairs of 1 to 175 tokens a side and a ratio up to 1.5; lower case; every 23rd pair to validation; the
five evaluation files to test; 10,000 joint BPE merges; a dictionary for each language, as fairseq's own instructions.
The tokenizer writes what the current one of Moses' repository writes, which that script clones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from one_layer_lt.text import moses
from one_layer_lt.text.lines import Pair, read_lines, read_pairs, select, write_pairs
from one_layer_lt.text.manifest import Settings
from one_layer_lt.text.subwords import Subword

from .lib import campaigns, cli
from .lib.campaigns import readable, segments
from .lib.fetch import Remote
from .lib.pipeline import build, is_done, make_settings, pair_of, workplace

HOME = Remote("http://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz")  # mirrors https://wit3.fbk.eu
TRAIN = "train.tags.de-en"
TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
PAIRS = [[f"{TRAIN}.{lang}" for lang in ("de", "en")]] + [
    [f"IWSLT14.{test}.de-en.{lang}.xml" for lang in ("de", "en")] for test in TESTS
]
DROPPED = ("<url>", "<talkid>", "<keywords>")  # lines with these
STRIPPED = ("<title>", "</title>", "<description>", "</description>")  # and these marks within lines
VALID_EVERY = 23


def main() -> None:
    parser = cli.parser("iwslt14", __doc__)
    cli.add_from(parser, "de-en.tgz, or a folder with it or its files, in place of the download")
    parser.add_argument("--size", type=int, default=10_000, metavar="N", help="joint BPE merges (10000)")
    parser.add_argument("--joined-dictionary", action="store_true", help="one dictionary for both languages")
    args = parser.parse_args()
    subword = Subword("moses-bpe", args.size, lowercase=True)
    settings = make_settings("iwslt14", "de", "en", subword, args.joined_dictionary)
    out = cli.out_folder(args, "iwslt14", *settings.languages)
    if is_done(out, settings):
        return
    with workplace(out) as work:
        files = campaigns.locate({HOME: PAIRS}, args.origin, cli.downloads(out, "iwslt14"), work / "from")
        raw, tokens = training(files, settings, work)
        raw["test"], tokens["test"] = evaluation(files, settings, work)
        build(settings, raw, tokens, work, out)


def training(files: Mapping[str, Path], settings: Settings, work: Path) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Raw text of validation, and tokens of training and validation."""
    whole, tokenised = (pair_of(work / folder, "whole", settings) for folder in ("raw", "tok"))
    write_pairs(read_pairs((files[f"{TRAIN}.de"], files[f"{TRAIN}.en"]), training_lines), whole, "reading train")
    campaigns.tokenize(whole, tokenised, settings)

    def kept() -> Iterator[int]:
        return moses.clean(read_pairs(tokenised), 1, 175, 1.5)

    def valid() -> Iterator[int]:
        return islice(kept(), VALID_EVERY - 1, None, VALID_EVERY)

    raw = {"valid": pair_of(work / "raw", "valid", settings)}
    tokens = {split: pair_of(work / "tok", split, settings) for split in ("train", "valid")}
    seen_by_reader = ((readable(de), readable(en)) for de, en in read_pairs(whole))
    write_pairs(select(seen_by_reader, valid()), raw["valid"])
    write_pairs(select(read_pairs(tokenised), valid()), tokens["valid"])
    rest = (position for number, position in enumerate(kept(), 1) if number % VALID_EVERY)
    write_pairs(select(read_pairs(tokenised), rest), tokens["train"])
    return raw, tokens


def training_lines(path: Path) -> Iterator[str]:
    """The lines of a training file that are text (titles and descriptions are)."""
    for line in read_lines(path):
        if not any(mark in line for mark in DROPPED):
            for mark in STRIPPED:
                line = line.replace(mark, "")
            yield line


def evaluation(files: Mapping[str, Path], settings: Settings, work: Path) -> tuple[Pair, Pair]:
    """Raw text and tokens of the five evaluation files, one after the other."""
    sides = ([files[f"IWSLT14.{test}.de-en.{lang}.xml"] for test in TESTS] for lang in settings.languages)
    pairs = [pair for both in zip(*sides) for pair in read_pairs(both, segments)]
    return campaigns.evaluation(pairs, "test", settings, work)


if __name__ == "__main__":
    cli.run(main)
