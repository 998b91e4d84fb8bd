"""WMT14 English to German, as fairseq's examples/translation/prepare-wmt14en2de.sh prepares it.

    bash data_prep/wmt14.sh                          # downloads about 1.8 GB; an hour or more, and 15 GB of disk
    bash data_prep/wmt14.sh --from my/folder         # with the five archives, or their files
    bash data_prep/wmt14.sh --news-commentary 9      # WMT14's own edition; fairseq calls it --icml17

Europarl v7, Common Crawl and News Commentary: Moses' punctuation normaliser, control characters to spaces, Moses
tokenizer with hyphen splitting; 40,000 joint BPE merges; pairs of 1 to 250 units a side and a ratio up to 1.5; one
dictionary for both languages. Test is newstest2014 and, in place of fairseq's every 100th training pair, validation is
newstest2013: both whole, tokenised without normalising, as fairseq does with test. Nothing is lower-cased.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from one_layer_lt.text import moses
from one_layer_lt.text.lines import Pair, read_lines, read_pairs
from one_layer_lt.text.manifest import SPLITS, Settings
from one_layer_lt.text.subwords import Subword

from .lib import campaigns, cli
from .lib.archive import Group
from .lib.campaigns import segments
from .lib.fetch import Remote
from .lib.pipeline import build, is_done, make_settings, pair_of, workplace

log = logging.getLogger(__name__)

EUROPARL, CRAWL = "europarl-v7.de-en", "commoncrawl.de-en"
VALID = {"en": "newstest2013.en", "de": "newstest2013.de"}
TEST = {"en": "newstest2014-deen-src.en.sgm", "de": "newstest2014-deen-ref.de.sgm"}
EUROPARL_HOME = Remote(
    "http://statmt.org/wmt13/training-parallel-europarl-v7.tgz",
    "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
)
CRAWL_HOME = Remote(
    "http://statmt.org/wmt13/training-parallel-commoncrawl.tgz",
    "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
)
NEWS_HOMES = {
    9: Remote(
        "http://statmt.org/wmt14/training-parallel-nc-v9.tgz",
        "cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
    ),
    12: Remote(
        "http://data.statmt.org/wmt17/translation-task/training-parallel-nc-v12.tgz",
        "2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2",
    ),
}
VALID_HOME = Remote(
    "http://data.statmt.org/wmt17/translation-task/dev.tgz",
    "9d5ff04a28496b7796904ea65e50e3837bab14dbdca88b1e063105f17513dca9",
)
TEST_HOME = Remote("http://statmt.org/wmt14/test-full.tgz")


def main() -> None:
    parser = cli.parser("wmt14", __doc__)
    cli.add_from(parser, "folder with the five archives or their files, in place of the downloads")
    parser.add_argument("--news-commentary", type=int, choices=NEWS_HOMES, default=12, help="its edition (12)")
    parser.add_argument("--size", type=int, default=40_000, metavar="N", help="joint BPE merges (40000)")
    args = parser.parse_args()
    news = args.news_commentary
    subword = Subword("moses-bpe", args.size, aggressive=True)
    settings = make_settings("wmt14" if news == 12 else f"wmt14-nc{news}", "en", "de", subword)
    out = cli.out_folder(args, settings.corpus, *settings.languages)
    if is_done(out, settings):
        return
    with workplace(out) as work:
        files = campaigns.locate(archives(news), args.origin, cli.downloads(out, "wmt14"), work / "from")
        raw, tokens = {}, {}
        for split in SPLITS[1:]:
            raw[split], tokens[split] = evaluation(files, split, settings, work)
        tokens["train"] = training(files, news, settings, work)
        build(settings, raw, tokens, work, out, longest=250, ratio=1.5)


def archives(news: int) -> dict[Remote, list[Group]]:
    """What is needed of each archive."""
    return {
        EUROPARL_HOME: [sides(EUROPARL)],
        CRAWL_HOME: [sides(CRAWL)],
        NEWS_HOMES[news]: [sides(news_commentary(news))],
        VALID_HOME: [list(VALID.values())],
        TEST_HOME: [list(TEST.values())],
    }


def sides(stem: str) -> list[str]:
    return [f"{stem}.en", f"{stem}.de"]


def news_commentary(edition: int) -> str:
    return f"news-commentary-v{edition}.de-en"


def training(files: Mapping[str, Path], news: int, settings: Settings, work: Path) -> Pair:
    """The three training corpora, one after the other, tokenised."""
    tokens = pair_of(work / "tok", "train", settings)
    for stem in (EUROPARL, CRAWL, news_commentary(news)):
        pair = files[f"{stem}.en"], files[f"{stem}.de"]
        count = sum(1 for _ in read_pairs(pair))  # tells of unequal lengths before the long work
        log.info("tokenising %s, %s pairs", stem, f"{count:,}")
        for language, before, after in zip(settings.languages, pair, tokens):
            tidy = [moses.normalizer(language), moses.NO_CONTROL_CHARACTERS]
            moses.pipe([*tidy, *moses.tokenizer(language, aggressive=True)], before, after, append=True)
    return tokens


def evaluation(files: Mapping[str, Path], split: str, settings: Settings, work: Path) -> tuple[Pair, Pair]:
    """Raw text and tokens of validation or test."""
    names, read = (VALID, read_lines) if split == "valid" else (TEST, segments)
    pairs = list(read_pairs((files[names["en"]], files[names["de"]]), read))
    return campaigns.evaluation(pairs, split, settings, work)


if __name__ == "__main__":
    cli.run(main)
