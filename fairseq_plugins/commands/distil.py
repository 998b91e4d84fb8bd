"""Sequence-level distillation: a data folder whose training text has models' translations beside the corpus.

    one-layer-lt distil runs/dense/checkpoint_best.pt --data data-bin/multi30k.de-en \\
        -o data-bin/multi30k-distilled.de-en
    one-layer-lt distil runs/dense-s1 runs/dense-s2 --backward runs/dense-en-de --data data-bin/multi30k.de-en \\
        -o data-bin/multi30k-diverse.de-en

What a model says is more regular than what people wrote, and easier to learn (Kim & Rush 2016, arXiv 1606.07947). Each
source sentence is kept twice, with the target that it had and with the teacher's; validation and test stay as they are.

With several teachers, each adds its translations. --backward names a model of the other direction, trained on what
`one-layer-lt reverse` makes: it translates the targets back, which adds sources (Nguyen et al. 2020, data
diversification, arXiv 1911.01986). Several models leave out a pair that is there already; one teacher alone adds all
its pairs.
Of data made with --samples, the text is translated once, and what is added is sampled as often as the rest.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from fairseq.data.data_utils import infer_language_pair

from data_prep.lib.binary import add_samples, dictionary, read_train, write_train
from data_prep.lib.pipeline import workplace
from one_layer_lt.cli.parser import add_beam, add_data, add_out
from one_layer_lt.errors import UserError
from one_layer_lt.files import first_folder, sha256
from one_layer_lt.text.manifest import Manifest, Settings, checksums
from one_layer_lt.text.subwords import joined

from ..belonging import check_data
from ..checkpoints import load
from ..generate import command, translate
from .reverse import reversed_copy, swapped
from .score import find_checkpoint

log = logging.getLogger(__name__)

Pairs = list[tuple[str, str]]  # source, target: subwords separated by spaces


def distil(teachers: Sequence[Path], data: Path, out: Path, beam: int, backward: Path | None = None) -> None:
    """Make ``out`` of ``data`` and translations of its training text, by beam search."""
    manifest = Manifest.read(data)
    manifest.verify(data)
    settings = manifest.settings
    if out.exists():
        raise UserError(f"--out {out} is there already: choose another, or delete it first")
    models = [(find_checkpoint(path)[0], settings) for path in teachers]
    models += [(find_checkpoint(backward)[0], swapped(settings))] if backward else []
    for path, direction in models:
        check(path, data, direction, surely=direction != settings)
    with workplace(out) as work:
        made = work / "data"
        shutil.copytree(data, made)
        sides = (read_train(made, settings, language) for language in settings.languages)
        corpus: Pairs = list(islice(zip(*sides), manifest.pairs["train"] // settings.samples))
        if settings.samples > 1:
            _write(made, settings, corpus)  # the samples would all be translated
        if backward:
            reversed_copy(made, work / "reversed", settings)
        pairs, added = list(corpus), list(manifest.added)
        for path, direction in models:
            forth = direction == settings
            text = made if forth else work / "reversed"
            said = translate(command(text, path, "train", direction, beam, "--max-tokens", "8000"), len(corpus))
            new = [(source, line) if forth else (line, target) for (source, target), line in zip(corpus, said)]
            if len(models) > 1:
                new = _unseen(new, pairs, settings)
            what, name = "targets" if forth else "sources", "/".join(path.parts[-2:])
            log.info("%s: added %d %s, left out %d", name, len(new), what, len(corpus) - len(new))
            added.append(f"{len(new)} {what} by {name}, sha256 {sha256(path)}")
            pairs += new
        _write(made, settings, pairs)
        if settings.samples > 1:
            add_samples(made, settings)
        counts = {**manifest.pairs, "train": settings.samples * len(pairs)}
        replace(manifest, pairs=counts, sha256=checksums(made), added=added).write(made)
        os.replace(made, out)
    log.info("made %s", out)


def check(checkpoint: Path, data: Path, direction: Settings, surely: bool = False) -> None:
    """Raise ``UserError`` unless a checkpoint translates in this direction with the dictionaries of ``data``.

    For a checkpoint that does not say, both are looked up in the folder that it was trained on. Where that is gone,
    there is a warning, or if it must be known ``surely``, an error.
    """
    state = load(checkpoint)
    if check_data(checkpoint, state, [dictionary(data, name) for name in direction.languages], direction.languages):
        return
    task = (state.get("cfg") or {}).get("task") or {}
    folder = first_folder(str(task.get("data") or ""))
    names = [f"dict.{language}.txt" for language in direction.languages]
    languages = tuple(infer_language_pair(str(folder))) if folder.is_dir() else (None, None)
    languages = task.get("source_lang") or languages[0], task.get("target_lang") or languages[1]
    if all(languages) and languages != direction.languages:
        wanted = "-".join(direction.languages)
        raise UserError(f"{checkpoint} translates {'-'.join(languages)}: name a model of {wanted}")
    if not all((folder / name).is_file() for name in names):
        said = f"{checkpoint} was trained on {folder}, which is not here to compare languages and dictionaries with"
        if surely:
            raise UserError(f"{said}: put it back, or train again on what `one-layer-lt reverse` makes of {data}")
        log.warning(said)
        return
    for name, language in zip(names, direction.languages):
        if dictionary(folder, language).symbols != dictionary(data, language).symbols:
            mend = "train it on this data, or on what `one-layer-lt reverse` makes of it"
            raise UserError(f"{checkpoint} was trained with another {name} (in {folder}) than {data} has: {mend}")


def _unseen(new: Pairs, pairs: Pairs, settings: Settings) -> Pairs:
    """The new pairs whose text, however it is cut into subwords, is neither there already nor empty on a side."""

    def text(pair: tuple[str, str]) -> tuple[str, ...]:
        return tuple(joined(settings.tokenizer, line) for line in pair)

    seen = set(map(text, pairs))
    kept: dict[tuple[str, ...], tuple[str, str]] = {}
    for pair in new:
        kept.setdefault(text(pair), pair)
    return [pair for words, pair in kept.items() if all(words) and words not in seen]


def _write(folder: Path, settings: Settings, pairs: Pairs) -> None:
    for side, language in enumerate(settings.languages):
        write_train(folder, settings, language, (pair[side] for pair in pairs))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("teachers", type=Path, nargs="+", metavar="CHECKPOINT", help="a model, or its folder")
    parser.add_argument("--backward", type=Path, metavar="CHECKPOINT", help="one of the other direction, for sources")
    add_data(parser)
    add_out(parser, "data folder to make", "FOLDER")
    add_beam(parser)


def run(args: argparse.Namespace) -> None:
    distil(args.teachers, args.data, args.out, args.beam, args.backward)
