"""No command opens a connection: each is run here while every socket to another machine is refused.

What starts programs of its own (``score``) is run without a network by scripts/wheel.sh.
"""

from __future__ import annotations

import io
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.lib.fetch import Remote, fetch
from one_layer_lt import MaskConfig, fold_, load_ticket, mask_, save_ticket
from one_layer_lt.cli import main
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Settings
from one_layer_lt.text.metrics import measure
from tests.plugin.running import train
from tests.support.datasets import mnist


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have left this machine."""
    asked: list[Any] = []

    class Closed(socket.socket):
        def __init__(self, family: int = -1, *arguments: Any, **named: Any) -> None:
            if family in (-1, socket.AF_INET, socket.AF_INET6):
                asked.append(family)
                raise OSError("the network is closed")
            super().__init__(family, *arguments, **named)

    def closed(*arguments: Any, **named: Any) -> None:
        asked.append(arguments)
        raise socket.gaierror("the network is closed")

    monkeypatch.setattr(socket, "socket", Closed)
    monkeypatch.setattr(socket, "getaddrinfo", closed)
    return asked


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object, text: str = "") -> None:
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_the_network_is_closed_here(asked: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        fetch(Remote("http://example.invalid/corpus.tgz"), tmp_path)
    assert asked


def test_masks_and_tickets_need_no_network(asked: list[Any], tmp_path: Path) -> None:
    model = mask_(torch.nn.Linear(4, 4), MaskConfig())
    save_ticket(tmp_path / "net.ticket", model)
    fold_(load_ticket(tmp_path / "net.ticket").fill_(torch.nn.Linear(4, 4)))
    assert asked == []


def test_translators_need_no_network(
    asked: list[Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = train(data, tmp_path / "run", "--no-epoch-checkpoints", "--disable-validation", updates=2)
    ticket = tmp_path / "net.ticket"
    run(monkeypatch, "export", checkpoint, "--data", data, "-o", ticket)
    run(monkeypatch, "verify", ticket)
    run(monkeypatch, "convert", ticket, "--to", "html", "-o", tmp_path / "page.html")
    for engine in ("torch", "ctranslate2"):
        run(monkeypatch, "translate", ticket, "--engine", engine, text="Alpha bravo.\n")
    assert asked == []


@pytest.mark.parametrize("language", ["en", "zh", "th"])
def test_scores_need_no_network(asked: list[Any], language: str) -> None:
    settings = Settings("toy", "xx", language, "sentencepiece", 100, False, False, True)
    assert measure(["alpha bravo charlie delta"], ["alpha bravo charlie delta"], settings)["exact_match"] == 1
    assert asked == []


def test_images_need_no_network(asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    root = ["--root", mnist(tmp_path / "images")]
    images = ["--data", "mnist", *root]
    run(monkeypatch, "vision", "train", *images, "--epochs", "1", "--batch", "3", "-o", tmp_path / "run")
    run(monkeypatch, "vision", "export", tmp_path / "run", *root, "-o", tmp_path / "net.ticket")
    run(monkeypatch, "vision", "evaluate", tmp_path / "net.ticket", *images)
    assert asked == []
