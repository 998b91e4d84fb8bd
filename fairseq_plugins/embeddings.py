"""Pre-trained embeddings: check the files before fairseq reads them."""

from __future__ import annotations

from argparse import Namespace

from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask


def check_embedding_files(args: Namespace, task: FairseqTask) -> None:
    """Check ``--encoder-embed-path`` and ``--decoder-embed-path`` against ``--embeddings`` and the dictionaries.

    Raises ``ValueError`` where a file is missing from the options or unused by them, is not of the model's width, or
    covers no token; ``OSError`` where it cannot be read.
    """
    if getattr(args, "embeddings_in_checkpoint", False):
        return
    pretrained = args.embeddings.startswith("pretrained")
    sides = [("encoder", task.source_dictionary)]
    if not getattr(args, "share_all_embeddings", False):
        sides.append(("decoder", task.target_dictionary))
    for side, dictionary in sides:
        path = getattr(args, f"{side}_embed_path", None)
        flag = f"--{side}-embed-path"
        if path and not pretrained:
            raise ValueError(f"{flag} {path}: unused with --embeddings {args.embeddings}; add --embeddings pretrained")
        if pretrained and not path:
            raise ValueError(f"--embeddings {args.embeddings} needs {flag} FILE (a text file: word and numbers a line)")
        if path:
            _check_file(path, flag, dictionary, getattr(args, f"{side}_embed_dim"))


def _check_file(path: str, flag: str, dictionary: Dictionary, width: int) -> None:
    covered = 0
    with open(path, encoding="utf-8") as lines:
        next(lines, None)  # the header: fairseq skips it too
        for number, line in enumerate(lines, start=2):
            word, *values = line.rstrip().split(" ")
            if len(values) != width:
                raise ValueError(
                    f"{flag} {path}: line {number} has {len(values)} numbers, the model is {width} wide: use "
                    f"vectors of {width}, or a model of their width"
                )
            for value in values:
                try:
                    float(value)
                except ValueError:
                    raise ValueError(f"{flag} {path}: line {number}: {value!r} is not a number") from None
            covered += word in dictionary
    if not covered:
        raise ValueError(f"{flag} {path}: covers none of the dictionary's {len(dictionary)} entries; segment it alike")
