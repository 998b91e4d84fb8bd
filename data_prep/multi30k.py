"""Multi30k task 1 (29,000 / 1,014 / 1,000 pairs; test is 2016 Flickr), German and English.

    bash data_prep/multi30k.sh                    # sentencepiece, joint, 8,000 pieces, cased
    bash data_prep/multi30k.sh --tokenized        # lower-cased, Moses-tokenised, 10,000 merges: as published numbers
    bash data_prep/multi30k.sh --from my/folder   # with {train,val,test_2016_flickr}.{de,en}[.gz]

Home: https://github.com/multi30k/dataset (also cs and fr).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from one_layer_lt.errors import UserError
from one_layer_lt.text.subwords import Subword

from .lib import cli
from .lib.archive import collect
from .lib.fetch import Remote, fetch
from .lib.pipeline import prepare

HOME = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
FILES = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
LANGUAGES = ("cs", "de", "en", "fr")


def main() -> None:
    parser = cli.parser("multi30k", __doc__)
    cli.add_from(parser, "folder or archive with the files, in place of the download")
    cli.add_languages(parser, "de", "en")
    parser.add_argument("--tokenized", action="store_true", help="lower-case, Moses tokenizer, 10,000 joint BPE merges")
    parser.add_argument("--size", type=int, metavar="N", help="sentencepieces (8000) or BPE merges (10000)")
    cli.add_samples(parser)
    args = parser.parse_args()
    languages = args.source, args.target
    for flag, language in zip(("--source", "--target"), languages):
        if language not in LANGUAGES:
            raise UserError(f"{flag} {language!r} is not one of {', '.join(LANGUAGES)}")
    kind, size = ("moses-bpe", 10_000) if args.tokenized else ("sentencepiece", 8_000)
    size = size if args.size is None else args.size
    subword = Subword(kind, size, lowercase=args.tokenized, samples=args.samples, alpha=args.alpha)
    out = cli.out_folder(args, "multi30k", *languages)
    pairs = [[f"{stem}.{language}" for language in languages] for stem in FILES.values()]
    with tempfile.TemporaryDirectory() as scratch:
        if args.origin is not None:
            files = collect(args.origin, pairs, Path(scratch))
        else:
            downloads = cli.downloads(out, "multi30k")
            files = {name: fetch(Remote(f"{HOME}/{name}.gz"), downloads) for pair in pairs for name in pair}
        raw = {split: (files[f"{stem}.{args.source}"], files[f"{stem}.{args.target}"]) for split, stem in FILES.items()}
        prepare(corpus="multi30k", source=args.source, target=args.target, raw=raw, out=out, subword=subword)


if __name__ == "__main__":
    cli.run(main)
