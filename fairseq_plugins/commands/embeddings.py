"""Make pre-trained embeddings for `--embeddings pretrained`: a text file a language, as fairseq reads them.

    one-layer-lt embeddings text data-bin/multi30k.de-en --width 256 -o embeddings/fasttext
    one-layer-lt embeddings model runs/dense/checkpoint_best.pt --data data-bin/multi30k.de-en -o embeddings/mt

`text` trains fastText's skip-gram (Bojanowski et al. 2017, arXiv 1607.04606; by gensim) on the subwords of the training
text itself, each language on its own; `model` takes those that a dense Transformer has learnt. Then train with
--encoder-embed-path FOLDER/embed.de.txt --decoder-embed-path FOLDER/embed.en.txt.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset

from data_prep.lib.binary import dictionary as _dictionary
from one_layer_lt.cli.parser import add_data, add_out, count
from one_layer_lt.errors import UserError
from one_layer_lt.files import whole
from one_layer_lt.optional import need
from one_layer_lt.text.manifest import Manifest

from ..belonging import check_data
from ..checkpoints import load

EPOCHS = 20  # of fastText
Vectors = npt.NDArray[np.float32]


def of_text(data: Path, language: str, width: int) -> Vectors:
    """fastText's vectors of a language's training text: (entries of the dictionary, width), of mean 0.

    Their deviation is 1/sqrt(width), as that of a dense Transformer's embeddings at their start. Entries that the text
    lacks get small random vectors.
    """
    fasttext = need("gensim.models", "data").FastText
    dictionary = _dictionary(data, language)
    sentences = list(_sentences(data, language, dictionary))
    # With one worker and a hash of our own, a function of the text: Python's hash differs from process to process.
    model = fasttext(
        sentences, vector_size=width, sg=1, window=5, min_count=1, epochs=EPOCHS, workers=1, seed=1, hashfxn=_hashed
    )
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(len(dictionary), width)).astype(np.float32) * 0.1
    for index, word in enumerate(dictionary.symbols):
        if word in model.wv.key_to_index:
            vectors[index] = model.wv[word]
    vectors -= vectors.mean(axis=0)
    return (vectors / (vectors.std() * np.sqrt(width))).astype(np.float32)


def of_model(checkpoint: Path, side: str) -> Vectors:
    """The token embeddings of the ``encoder`` or ``decoder`` of a dense checkpoint, as they are."""
    weights = load(checkpoint)["model"].get(f"{side}.embed_tokens.weight")
    if weights is None:
        raise UserError(f"{checkpoint} holds no dense embeddings of its {side}: train it with --dense")
    vectors: Vectors = weights.to(torch.float32).numpy()
    return vectors


def write(path: Path, dictionary: Dictionary, vectors: Vectors) -> None:
    """A header, then a line an entry of the dictionary; written whole. Padding is left to fairseq."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(f"{len(dictionary) - 1} {vectors.shape[1]}\n")
        for index, (word, vector) in enumerate(zip(dictionary.symbols, vectors)):
            if index != dictionary.pad():
                file.write(f"{word} {' '.join(f'{value:.6g}' for value in vector)}\n")


def _sentences(data: Path, language: str, dictionary: Dictionary) -> Iterator[list[str]]:
    manifest = Manifest.read(data)
    manifest.verify(data, "train.*", "dict.*")
    settings = manifest.settings
    split = load_indexed_dataset(str(data / f"train.{settings.source}-{settings.target}.{language}"), dictionary)
    if split is None:
        raise UserError(f"{data} has no training text of {language}")
    for numbers in split:
        yield [dictionary[int(number)] for number in numbers]


def _hashed(word: str) -> int:
    found = 5381
    for letter in word:
        found = (found * 33 + ord(letter)) % (1 << 32)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    text = kinds.add_parser("text", help="from the training text, by fastText")
    text.add_argument("data", type=Path, metavar="FOLDER", help="prepared data folder")
    text.add_argument("--width", type=count, required=True, metavar="N", help="of the model's embeddings")
    model = kinds.add_parser("model", help="from a dense model")
    model.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a dense model")
    add_data(model)
    for kind in (text, model):
        add_out(kind, "gets embed.LANGUAGE.txt", "FOLDER")


def run(args: argparse.Namespace) -> None:
    logging.getLogger("gensim").setLevel(logging.WARNING)
    settings = Manifest.read(args.data).settings
    if args.kind == "model":
        dictionaries = [_dictionary(args.data, language) for language in settings.languages]
        check_data(args.checkpoint, load(args.checkpoint), dictionaries, settings.languages)
    for side, language in zip(("encoder", "decoder"), settings.languages):
        dictionary = _dictionary(args.data, language)
        vectors = of_text(args.data, language, args.width) if args.kind == "text" else of_model(args.checkpoint, side)
        if len(vectors) != len(dictionary):
            entries = f"{args.checkpoint} has {len(vectors):,} embeddings, {args.data} {len(dictionary):,} entries"
            raise UserError(f"{entries}: name the data it was trained on")
        path = args.out / f"embed.{language}.txt"
        write(path, dictionary, vectors)
        print(f"{path}: {len(dictionary) - 1:,} vectors of {vectors.shape[1]} numbers")
