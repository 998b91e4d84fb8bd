"""one-layer-lt embeddings: vectors in the text format that fairseq reads, of a text and of a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq import utils
from fairseq.data import Dictionary

from fairseq_plugins.commands import embeddings
from one_layer_lt.errors import UserError
from one_layer_lt.text.subwords import Subword
from tests.plugin.running import build, load_state, prepared, train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("text"), Subword("sentencepiece", 60))


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "one_layer_lt", "embeddings", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_vectors_of_the_text_are_a_function_of_it(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    done = call("text", data, "--width", "16", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    dictionary = Dictionary.load(str(data / "dict.xx.txt"))
    read = utils.parse_embedding(str(tmp_path / "embed.xx.txt"))
    assert set(read) == set(dictionary.symbols) - {"<pad>"}
    vectors = torch.from_numpy(embeddings.of_text(data, "xx", 16))
    assert float(vectors.std()) == pytest.approx(16**-0.5, rel=1e-3)
    torch.testing.assert_close(vectors.mean(0), torch.zeros(16), atol=1e-6, rtol=0)
    for index, word in enumerate(dictionary.symbols):
        if word != "<pad>":
            torch.testing.assert_close(read[word], vectors[index], atol=1e-5, rtol=1e-4)


def test_vectors_of_a_dense_model_are_its_own(data: Path, tmp_path: Path) -> None:
    checkpoint = train(data, tmp_path / "dense", "--dense", "--max-tokens", "400", updates=1)
    done = call("model", checkpoint, "--data", data, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    files = [tmp_path / f"embed.{language}.txt" for language in ("xx", "yy")]
    flags = ["--embeddings", "pretrained", "--encoder-embed-path", str(files[0]), "--decoder-embed-path", str(files[1])]
    model, state = build(data, *flags), load_state(checkpoint)["model"]
    for side in ("encoder", "decoder"):
        expected, found = state[f"{side}.embed_tokens.weight"], getattr(model, side).embed_tokens.weight.detach()
        tokens = torch.arange(len(expected)) != Dictionary().pad()
        torch.testing.assert_close(found[tokens], expected[tokens], atol=1e-6, rtol=1e-5)


def test_masked_models_and_other_data_are_refused(data: Path, tmp_path: Path) -> None:
    checkpoint = train(data, tmp_path / "masked", "--max-tokens", "400", updates=1)
    with pytest.raises(UserError, match="holds no dense embeddings of its encoder: train it with --dense"):
        embeddings.of_model(checkpoint, "encoder")
    done = call("text", tmp_path, "--width", "16", "--out", tmp_path)
    assert done.returncode
    assert "is not a prepared data folder" in done.stderr.strip().splitlines()[-1]
