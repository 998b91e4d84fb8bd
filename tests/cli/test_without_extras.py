"""one-layer-lt without the packages that only some of its work takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from one_layer_lt import Ticket
from one_layer_lt.translation import Decoding
from tests.text.alone import EXTRAS, blocked

ROOT = Path(__file__).parents[2]
COMMAND = "from one_layer_lt.cli import main; main()"


def without(missing: list[str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.support.without", ",".join(missing), *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False)


def test_sentencepieces_take_no_extra(checkpoint: Path, data: Path, ticket: Ticket, tmp_path: Path) -> None:
    file = tmp_path / "toy.ticket"
    missing = [name for name in EXTRAS if name != "sklearn"]  # fairseq takes it
    done = blocked(missing, COMMAND, "export", str(checkpoint), "--data", str(data), "-o", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    done = without(missing, "translate", str(file), stdin="Alpha bravo.\nGolf.\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:-1] == ticket.translator("torch").translate(["Alpha bravo.", "Golf."], Decoding())


def test_ctranslate2_takes_no_fairseq(ticket: Ticket, tmp_path: Path) -> None:
    ticket.save(tmp_path / "toy.ticket")
    missing = ["fairseq", "fairseq_plugins", "fairseq_cli", "hydra", "omegaconf", "sacrebleu"]
    done = blocked(missing, COMMAND, "translate", str(tmp_path / "toy.ticket"), stdin="Alpha bravo.\nGolf.\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:-1] == ticket.translate(["Alpha bravo.", "Golf."])
    arguments = ["convert", str(tmp_path / "toy.ticket"), "-o", str(tmp_path / "folded"), "--to"]
    done = without(missing, *arguments, "ctranslate2", "--quantization", "int8")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "folded" / "model.bin").is_file()


@pytest.mark.parametrize(
    ("missing", "engine", "package", "extra"),
    [
        (["ctranslate2"], "ctranslate2", "ctranslate2", "translate"),
        (["fairseq"], "torch", "fairseq", "fairseq"),
        (["ctranslate2", "fairseq"], "auto", "ctranslate2", "translate"),
        (["sentencepiece"], "auto", "sentencepiece", "translate"),
    ],
)
def test_an_engine_that_is_missing_is_one_line(
    ticket: Ticket, tmp_path: Path, missing: list[str], engine: str, package: str, extra: str
) -> None:
    ticket.save(tmp_path / "toy.ticket")
    done = without(missing, "translate", str(tmp_path / "toy.ticket"), "--engine", engine)
    said = f"error: {package} is not installed: pip install 'one_layer_lt[{extra}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
