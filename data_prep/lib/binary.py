"""fairseq's binary training text as lines of subwords separated by spaces, and back; samples added to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from random import Random

import sentencepiece
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset
from fairseq.data.indexed_dataset import make_builder

from one_layer_lt.errors import UserError
from one_layer_lt.files import whole
from one_layer_lt.progress import progress
from one_layer_lt.text.manifest import Settings
from one_layer_lt.text.sampling import sampler


def dictionary(folder: Path, language: str) -> Dictionary:
    """The dictionary of one side."""
    return Dictionary.load(str(folder / f"dict.{language}.txt"))


def read_train(folder: Path, settings: Settings, language: str) -> Iterator[str]:
    """The lines of one side of the training text."""
    words = dictionary(folder, language)
    text = load_indexed_dataset(str(folder / _name(settings, language)), words)
    if text is None:
        raise UserError(f"{folder} has no {_name(settings, language)}: delete it and prepare it again")
    return (words.string(line) for line in text)


def write_train(folder: Path, settings: Settings, language: str, lines: Iterable[str]) -> None:
    """Replace one side of the training text, which may be what `lines` is being read from."""
    words, name = dictionary(folder, language), _name(settings, language)
    with whole(folder / f"{name}.bin") as text, whole(folder / f"{name}.idx") as index:
        builder = make_builder(str(text), "mmap", vocab_size=len(words))
        for line in lines:
            builder.add_item(words.encode_line(line, add_if_not_exist=False).int())
        builder.finalize(str(index))


def add_samples(folder: Path, settings: Settings) -> None:
    """Append `settings.samples - 1` sampled copies to the training text of `folder`, both sides each for itself.

    Only pieces of the dictionary are drawn, so that it stays as it is and no piece is unknown.
    """
    for language in settings.languages:
        best = read_train(folder, settings, language)
        write_train(folder, settings, language, chain(best, _samples(folder, settings, language)))


def _samples(folder: Path, settings: Settings, language: str) -> Iterator[str]:
    draw = sampler(_scores(folder, settings, language), settings.alpha)
    for copy in range(1, settings.samples):
        chance = Random(f"{settings.seed} {copy} {language}")
        with progress(f"sample {copy} of {language}") as bar:
            for line in read_train(folder, settings, language):
                yield draw(line, chance)
                bar.update()


def _name(settings: Settings, language: str) -> str:
    return f"train.{settings.source}-{settings.target}.{language}"


def _scores(folder: Path, settings: Settings, language: str) -> dict[str, float]:
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / settings.model))
    known = set(dictionary(folder, language).symbols)
    numbers = (number for number in range(len(model)) if not (model.is_control(number) or model.is_unknown(number)))
    return {piece: model.get_score(number) for number in numbers if (piece := model.id_to_piece(number)) in known}
