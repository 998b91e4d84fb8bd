"""one-layer-lt without the packages that only some of its work takes."""

from __future__ import annotations

from pathlib import Path

from one_layer_lt import Ticket
from tests.text.alone import EXTRAS, blocked

COMMAND = "from one_layer_lt.cli import main; main()"


def test_sentencepieces_take_no_extra(checkpoint: Path, data: Path, ticket: Ticket, tmp_path: Path) -> None:
    file = tmp_path / "toy.ticket"
    missing = [name for name in EXTRAS if name != "sklearn"]  # fairseq takes it
    done = blocked(missing, COMMAND, "export", str(checkpoint), "--data", str(data), "-o", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    done = blocked(missing, COMMAND, "translate", str(file), stdin="Alpha bravo.\nGolf.\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:-1] == ticket.translate(["Alpha bravo.", "Golf."])


def test_an_engine_that_is_missing_is_one_line(ticket: Ticket, tmp_path: Path) -> None:
    ticket.save(tmp_path / "toy.ticket")
    done = blocked(["ctranslate2"], COMMAND, "translate", str(tmp_path / "toy.ticket"), "--engine", "ctranslate2")
    said = "error: ctranslate2 is not installed: pip install 'one_layer_lt[ctranslate2]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
