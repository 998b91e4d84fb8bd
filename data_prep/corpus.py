"""Your own parallel text into a data folder: {train,valid,test}.{source,target}, plain or gzip, one sentence a line.

bash data_prep/corpus.sh --from my/folder --source de --target en --out data-bin/mine.de-en
bash data_prep/corpus.sh --from my.tgz --source de --target en --tokenized --lowercase
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from one_layer_lt.text.manifest import SPLITS
from one_layer_lt.text.subwords import Subword

from .lib import cli
from .lib.archive import collect
from .lib.pipeline import prepare


def main() -> None:
    parser = cli.parser("corpus", __doc__)
    cli.add_from(parser, "folder or archive with the six files", required=True)
    cli.add_languages(parser)
    parser.add_argument("--name", default="corpus", help="what the data folder calls the corpus (corpus)")
    parser.add_argument("--size", type=int, metavar="N", help="sentencepieces (8000) or BPE merges (10000)")
    cli.add_samples(parser)
    parser.add_argument("--lowercase", action="store_true", help="lower-case what is learnt, not the references")
    parser.add_argument("--tokenized", action="store_true", help="Moses tokenizer and joint BPE, not sentencepiece")
    args = parser.parse_args()
    kind, size = ("moses-bpe", 10_000) if args.tokenized else ("sentencepiece", 8_000)
    size = size if args.size is None else args.size
    subword = Subword(kind, size, args.lowercase, samples=args.samples, alpha=args.alpha)
    languages = args.source, args.target
    with tempfile.TemporaryDirectory() as scratch:
        files = collect(args.origin, [[f"{split}.{lang}" for lang in languages] for split in SPLITS], Path(scratch))
        raw = {split: (files[f"{split}.{args.source}"], files[f"{split}.{args.target}"]) for split in SPLITS}
        out = cli.out_folder(args, args.name, *languages)
        prepare(corpus=args.name, source=args.source, target=args.target, raw=raw, out=out, subword=subword)


if __name__ == "__main__":
    cli.run(main)
