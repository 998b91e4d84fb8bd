"""A corpus that needs no download."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fairseq import options
from fairseq_cli import preprocess

from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import Ticket, load_ticket
from one_layer_lt.text.subwords import Subword
from tests.support.translators import generate_with

from .running import TICKET_RECIPE, WORDS, prepared, train


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binarised corpus: words, to be written in upper case and in reverse order."""
    folder = tmp_path_factory.mktemp("corpus")
    chance = random.Random(1)
    for split, pairs in (("train", 60), ("valid", 8), ("test", 8)):
        lines = [chance.choices(WORDS, k=chance.randint(2, 6)) for _ in range(pairs)]
        (folder / f"{split}.xx").write_text("".join(" ".join(line) + "\n" for line in lines))
        (folder / f"{split}.yy").write_text("".join(" ".join(line[::-1]).upper() + "\n" for line in lines))
    arguments = ["--source-lang", "xx", "--target-lang", "yy", "--destdir", str(folder / "bin"), "--joined-dictionary"]
    for split in ("train", "valid", "test"):
        arguments += [f"--{split}pref", str(folder / split)]
    preprocess.main(options.get_preprocessing_parser().parse_args(arguments))
    return folder / "bin"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of sentencepieces."""
    return prepared(tmp_path_factory.mktemp("text"), Subword("sentencepiece", 60))


@pytest.fixture(scope="session")
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt a little."""
    return train(
        data, tmp_path_factory.mktemp("run"), *TICKET_RECIPE, "--max-tokens", "400", "--lr", "1e-2", updates=60
    )


@pytest.fixture(scope="session")
def ticket(data: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Ticket:
    """Its ticket, from a file."""
    path = tmp_path_factory.mktemp("ticket") / "net.ticket"
    from_checkpoint(checkpoint, data).save(path)
    return load_ticket(path)


@pytest.fixture(scope="session")
def generated(data: Path, checkpoint: Path) -> list[str]:
    """The test split as fairseq-generate translates it with the masked checkpoint."""
    found = generate_with(data, checkpoint)
    assert len(set(found)) > 4, "a model that says one thing only would pass too easily"
    return found
