"""one-layer-lt controls, and info --overlap: figures of tiny tickets, whole commands."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from fairseq_plugins.architecture import dictionaries
from one_layer_lt import Ticket, load_ticket
from one_layer_lt.cli import main
from one_layer_lt.lab.controls import CONTROLS, shuffled
from one_layer_lt.lab.scoring import cells, translations
from one_layer_lt.text import engines
from one_layer_lt.text.ctranslate import CTranslator
from one_layer_lt.translation import Decoding
from one_layer_lt.vision import data as datasets
from one_layer_lt.vision.data import DataSet
from one_layer_lt.vision.recipes import Recipe
from one_layer_lt.vision.ticket import ticket_of
from one_layer_lt.vision.train import new_model
from tests.support.datasets import mnist

pytest.importorskip("ctranslate2")
Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["one-layer-lt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def file(ticket: Ticket, tmp_path: Path) -> Path:
    ticket.save(tmp_path / "net.ticket")
    return tmp_path / "net.ticket"


def rows(said: str) -> dict[str, list[str]]:
    """The cells of a table that rich has drawn, by the first one."""
    found = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in said.splitlines() if "│" in line]
    return {first: rest for first, *rest in found}


def test_a_table_and_its_json(run: Run, file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code, said, complaint = run(
        *("controls", file, "--data", data, "--seeds", 2, "--lines", 5, "--beam", 1, "-o", out, "--seed", 4)
    )
    assert (code, complaint) == (0, "")
    written = json.loads(out.read_text())
    assert [row["name"] for row in written["rows"]] == ["the ticket", *CONTROLS]
    assert written["examples"] == 5
    shown = rows(said)
    for row in written["rows"]:
        results = row["results"]
        seeds = {"the ticket": [None], "another layer's": [4]}.get(row["name"], [4, 5])  # two layers: one exchange
        assert [result.get("seed") for result in results] == seeds
        loss = sum(result["loss"] for result in results) / len(results)
        assert shown[row["name"]][0] == str(len(results))
        assert shown[row["name"]][3].startswith(f"{loss:.3f}")
        assert shown[row["name"]][4] == f"{math.exp(loss):,.4g}"
    assert "nrefs:1" in said
    assert written["rows"][0]["results"][0]["loss"] < min(
        result["loss"] for row in written["rows"][1:] for result in row["results"]
    )
    # The command that is written down gives the same figures again.
    _, measure = translations(data, lines=5, decoding=Decoding(1, 1.0, 2.0, 10))
    again = measure(shuffled(load_ticket(file), 5))
    assert written["rows"][1]["results"][1] == {"seed": 5, **again}
    assert "--beam 1 --lenpen 1 --max-tokens 8000 --seed 4 --seeds 2 --lines 5" in written["command"]


def test_the_loss_is_fairseqs(ticket: Ticket, data: Path) -> None:
    lines, references = ((data / "raw" / f"test.{language}").read_text().splitlines() for language in ("xx", "yy"))
    translator = CTranslator(ticket)
    nats, subwords = translator.nats(lines, references)
    model = ticket.model()
    expected, counted = 0.0, 0
    source_words, target_words = dictionaries(ticket)
    pairs = zip(translator.text.split(lines), translator.text.split(references))
    for line, reference in pairs:
        source = source_words.encode_line(" ".join(line), add_if_not_exist=False)[None].long()
        target = target_words.encode_line(" ".join(reference), add_if_not_exist=False)[None].long()
        before = torch.cat([target[:, -1:], target[:, :-1]], 1)
        with torch.no_grad():
            logits = model(source, torch.tensor([source.shape[1]]), before)[0]
        _, nll = label_smoothed_nll_loss(logits.log_softmax(-1)[0], target[0], 0.0)
        expected, counted = expected + float(nll), counted + target.numel()
    assert subwords == counted
    assert nats == pytest.approx(expected, rel=1e-4)


def test_pairs_that_the_model_has_no_positions_for_are_left_out(ticket: Ticket) -> None:
    translator = CTranslator(ticket)
    alone = translator.nats(["alpha"], ["ALPHA"])
    translator.longest = 20
    assert translator.nats(["alpha", "alpha " * 30], ["ALPHA"] * 2) == pytest.approx(alone)


def test_a_checkpoint(run: Run, checkpoint: Path, data: Path, file: Path, tmp_path: Path) -> None:
    found = []
    for number, one in enumerate((checkpoint, file)):
        out = tmp_path / f"{number}.json"
        assert run("controls", one, "--data", data, "--seeds", 1, "--lines", 3, "--beam", 1, "-o", out)[0] == 0
        found.append(json.loads(out.read_text())["rows"])
    assert found[0] == found[1]


def test_without_ctranslate2_there_is_no_loss(ticket: Ticket, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, measure = translations(data, lines=2, decoding=Decoding(beam=1, max_len_b=5))
    both = measure(ticket)
    monkeypatch.setattr(engines, "engine", lambda *_: "torch")
    assert measure(ticket) == {name: value for name, value in both.items() if name != "loss"}
    assert cells([measure(ticket)])["loss, nats"] == ""


def test_what_cannot_be(run: Run, file: Path, data: Path, ticket: Ticket, tmp_path: Path) -> None:
    code, _, complaint = run("controls", file, "--data", data, "--lenpen", 11)
    assert code == 2
    assert "--lenpen must be a number from -10.0 to 10.0, not 11.0" in complaint
    code, _, complaint = run("controls", file, "--data", tmp_path)
    assert code == 2
    assert "not a prepared data folder" in complaint
    replace(ticket, architecture={**ticket.architecture, "source": "de"}).save(tmp_path / "de.ticket")
    code, _, complaint = run("controls", tmp_path / "de.ticket", "--data", data)
    assert code == 2
    assert re.search("is xx to yy, and the ticket de to yy: name the folder of its languages", complaint)


def test_a_control_that_there_is_not_is_named(run: Run, data: Path, ticket: Ticket, tmp_path: Path) -> None:
    own = tuple(
        replace(mask, weight=replace(mask.weight, name=mask.name, digest=""), config=replace(mask.config, share="none"))
        for mask in ticket.masks
    )
    own = tuple(replace(m, weight=replace(m.weight, digest=m.weight.drawn().digest())) for m in own)
    replace(ticket, masks=own).save(tmp_path / "own.ticket")
    out = tmp_path / "out.json"
    command = ("controls", tmp_path / "own.ticket", "--data", data, "--seeds", 1, "--lines", 2, "--beam", 1, "-o", out)
    code, said, _ = run(*command)
    assert code == 0
    assert 'no control "another layer\'s": no two layers have masks over one random weight' in said
    assert list(json.loads(out.read_text())["refused"]) == ["another layer's"]


def test_networks_for_images(run: Run, tmp_path: Path) -> None:
    images = datasets.load("mnist", mnist(tmp_path))
    recipe = Recipe(data="mnist", model="lenet_300_100", width=0.1)
    ticket = ticket_of(new_model(recipe, images), recipe, images)
    ticket.save(tmp_path / "net.ticket")
    out = tmp_path / "out.json"
    common = ("controls", tmp_path / "net.ticket", "--data", "mnist", "--root", tmp_path)
    code, said, complaint = run(*common, "--seeds", 2, "-o", out)
    assert (code, complaint) == (0, "")
    written = json.loads(out.read_text())
    assert written["examples"] == 1
    assert set(written["refused"]) == {"another layer's"}
    with torch.no_grad():
        logits = ticket.model()(_normal(images))
    expected = float(torch.nn.functional.cross_entropy(logits, torch.tensor([1])))
    assert written["rows"][0]["results"] == [{"accuracy": float(logits.argmax() == 1), "loss": pytest.approx(expected)}]
    assert f"{expected:.3f}" in rows(said)["the ticket"]
    assert "BLEU" not in said
    code, _, complaint = run(*common, "--lines", 3)
    assert code == 2
    assert "--lines and --split are for translators" in complaint


def _normal(images: DataSet) -> torch.Tensor:
    (pixels, _) = next(iter(images.test.batches(1, generator=None)))
    return (pixels.float() - 255 * images.mean[0]) / (255 * images.std[0])


def test_a_row_is_of_means() -> None:
    row = cells(
        [{"bleu": 1.0, "brevity_penalty": 0.5, "loss": 1.0}, {"bleu": 3.0, "brevity_penalty": 0.5, "loss": 3.0}]
    )
    assert row["BLEU"] == "2.00 ± 1.41"
    assert (row["seeds"], row["perplexity"], row["accuracy, %"]) == ("2", f"{math.exp(2):.4g}", "")
    assert cells([{"bleu": 1.0, "loss": 5000.0}])["perplexity"]  # a number, however large


def test_overlap_within_a_ticket_and_with_another(run: Run, file: Path, ticket: Ticket, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code, said, complaint = run("info", file, "--overlap", "-o", out)
    assert (code, complaint) == (0, "")
    written = json.loads(out.read_text())
    assert len(written["pairs"]) == len({mask.weight for mask in ticket.masks if "layers" in mask.name})
    shown = rows(said)
    for pair in written["pairs"]:  # two layers: one pair each
        assert shown[pair["weight"]][:2] == ["1", f"{pair['overlap']:.3f}"]
    heads = next(one for one in written["kept"] if one["mask"] == "decoder.layers.1.encoder_attn.out_proj")
    assert sum(heads["heads"]) / 2 == pytest.approx(heads["kept"])
    assert shown[heads["mask"]][1] == " ".join(f"{kept:.1%}" for kept in heads["heads"])

    shuffled(ticket, 1).save(tmp_path / "other.ticket")
    code, said, _ = run("info", file, "--overlap-with", tmp_path / "other.ticket")
    assert code == 0
    assert set(rows(said)) >= {mask.name for mask in ticket.masks}
    assert "pairs" not in said


def test_overlap_is_what_out_is_of(run: Run, file: Path, tmp_path: Path) -> None:
    code, _, complaint = run("info", file, "-o", tmp_path / "out.json")
    assert code == 2
    assert "add --overlap" in complaint


def test_no_pair_to_compare(run: Run, tmp_path: Path) -> None:
    images: Any = datasets.load("mnist", mnist(tmp_path))
    recipe = Recipe(data="mnist", model="lenet_300_100", width=0.1)
    ticket_of(new_model(recipe, images), recipe, images).save(tmp_path / "net.ticket")
    code, said, _ = run("info", tmp_path / "net.ticket", "--overlap")
    assert code == 0
    assert "no two masks are over one random weight" in said
