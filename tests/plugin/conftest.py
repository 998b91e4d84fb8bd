"""A corpus that needs no download."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fairseq import options
from fairseq_cli import preprocess

WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]


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
