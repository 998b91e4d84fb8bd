"""Tickets folded for fairseq and for CTranslate2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import Ticket, TicketError
from one_layer_lt.translation import Decoding
from tests.support.forked import CLIENT, Popen
from tests.support.translators import GENERATION, hypotheses, raw_test, with_settings

from .running import TICKET_RECIPE, train

STOCK = """
import os, sys, torch
sys.path[:] = [path for path in sys.path if not os.path.isdir(os.path.join(path, "fairseq_plugins"))]
state = torch.load(sys.argv[-1], weights_only=True)
assert state["args"] is None and state["cfg"]["model"]["_name"] == "transformer"
sys.argv = ["fairseq-generate", sys.argv[1], "--path", sys.argv.pop(), *sys.argv[2:]]
from fairseq.checkpoint_utils import load_model_ensemble_and_task
models, _, _ = load_model_ensemble_and_task([sys.argv[3]], arg_overrides={"data": sys.argv[1]})
assert type(models[0]).__name__ == "TransformerModel"
from fairseq_cli.generate import cli_main
cli_main()
assert not {name for name in sys.modules if name.split(".")[0] in ("fairseq_plugins", "one_layer_lt")}
"""


class TestFolding:
    def test_stock_fairseq_translates_alike(
        self, data: Path, ticket: Ticket, generated: list[str], tmp_path: Path
    ) -> None:
        """In a process without the plugin; torch loads the file with weights_only."""
        folder = tmp_path / "folded"
        ticket.fold(folder, "fairseq")
        assert {file.name for file in folder.iterdir()} == {"model.pt", "dict.xx.txt", "dict.yy.txt", "spm.model"}
        for name in ("dict.xx.txt", "dict.yy.txt", "spm.model"):
            assert (folder / name).read_bytes() == (data / name).read_bytes()
        command = [sys.executable, "-I", "-S", "-c", CLIENT, Popen.server(), "-c", STOCK]  # a fork of what has fairseq
        command += [str(data), *GENERATION, str(folder / "model.pt")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert hypotheses(done.stdout) == generated

    def test_to_ctranslate2(self, ticket: Ticket, tmp_path: Path) -> None:
        pytest.importorskip("ctranslate2")
        ticket.fold(tmp_path / "folded", "ctranslate2", "int8")
        held = {file.name for file in (tmp_path / "folded").iterdir()}
        assert {"model.bin", "config.json", "spm.model"} < held
        assert [file.name for file in tmp_path.iterdir()] == ["folded"]

    def test_what_ctranslate2_cannot_hold(self, ticket: Ticket, tmp_path: Path) -> None:
        pytest.importorskip("ctranslate2")
        for settings in ({"activation_fn": "tanh"}, {"no_token_positional_embeddings": True}):
            with pytest.raises(TicketError, match="CTranslate2 cannot hold it: ") as raised:
                with_settings(ticket, **settings).fold(tmp_path / "folded", "ctranslate2")
            assert "\n" not in str(raised.value)
        with pytest.raises(ValueError, match="unknown quantization 'int3'"):
            ticket.fold(tmp_path / "folded", "ctranslate2", "int3")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("to", ["fairseq", "ctranslate2"])
    def test_into_a_folder_that_holds_something(self, ticket: Ticket, tmp_path: Path, to: str) -> None:
        (tmp_path / "folded").mkdir()
        (tmp_path / "folded" / "mine").write_text("kept")
        (tmp_path / "file").write_text("kept")
        for name in ("folded", "file"):
            with pytest.raises(FileExistsError, match="already there"):
                ticket.fold(tmp_path / name, to)
        assert [file.name for file in (tmp_path / "folded").iterdir()] == ["mine"]
        assert (tmp_path / "file").read_text() == "kept"

    def test_a_failure_leaves_nothing(self, ticket: Ticket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            ticket.fold(tmp_path / "folded", "fairseq")
        assert not list(tmp_path.iterdir())

    def test_to_what_there_is_not(self, ticket: Ticket, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="cannot fold to 'onnx'; choose one of: fairseq, ctranslate2"):
            ticket.fold(tmp_path / "folded", "onnx")

    def test_learned_positions_are_as_many_as_ctranslate2_may_write(self, data: Path, tmp_path: Path) -> None:
        """fairseq stops at the last position; so must CTranslate2."""
        pytest.importorskip("ctranslate2")
        flags = ["--decoder-learned-pos", "--encoder-learned-pos", "--max-target-positions", "30", *TICKET_RECIPE]
        ticket = from_checkpoint(train(data, tmp_path / "run", *flags, updates=1), data)
        decoding = Decoding(beam=1, max_len_b=200)
        lines = raw_test(data)[:3]
        assert len(ticket.translator("ctranslate2").translate(lines, decoding)) == 3
        assert len(ticket.translator("torch").translate(lines, decoding)) == 3
