"""Raw text translated by tickets, as fairseq-generate does, and several tickets in turn."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_plugins.ticket import from_checkpoint
from fairseq_plugins.translate import TorchTranslator
from one_layer_lt import Ticket, TicketSet
from one_layer_lt.text.translator import parts_of
from one_layer_lt.translation import Decoding
from tests.support.translators import BEAM, generate_with, parameters, raw_test, with_settings

from .running import TICKET_RECIPE, train


class TestTranslating:
    def test_as_fairseq_generate(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        assert ticket.translator("torch").translate(raw_test(data), BEAM) == generated

    @pytest.mark.parametrize(
        "decoding",
        [
            Decoding(beam=4, length_penalty=-2.5, max_len_b=30),
            Decoding(beam=3, length_penalty=4.0, max_len_b=30),
            Decoding(beam=1, max_len_a=0.25, max_len_b=3),
        ],
        ids=["short", "long", "cut"],
    )
    def test_other_searches(
        self, data: Path, checkpoint: Path, ticket: Ticket, generated: list[str], decoding: Decoding
    ) -> None:
        flags = {"beam": decoding.beam, "lenpen": decoding.length_penalty}
        flags |= {"max-len-a": decoding.max_len_a, "max-len-b": decoding.max_len_b}
        expected = generate_with(data, checkpoint, *(f"--{name}={value}" for name, value in flags.items()))
        assert expected != generated
        assert ticket.translator("torch").translate(raw_test(data), decoding) == expected
        found = ticket.translator("ctranslate2").translate(raw_test(data), decoding)
        assert sum(one == other for one, other in zip(found, expected)) >= 10

    def test_batches_do_not_matter(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        told: list[int] = []
        narrow = Decoding(beam=2, max_len_b=30, max_tokens=40)
        assert ticket.translator("torch").translate(raw_test(data), narrow, told.append) == generated
        assert sum(told) == 12
        assert len(told) > 3

    def test_by_ctranslate2(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        pytest.importorskip("ctranslate2")
        translator = ticket.translator("ctranslate2")
        assert ticket.translate(raw_test(data), BEAM) == translator.translate(raw_test(data), BEAM)
        told: list[int] = []
        found = translator.translate(["", *raw_test(data), " \t"], BEAM, told.append)
        assert found[0] == found[-1] == ""
        assert sum(one == other for one, other in zip(found[1:-1], generated)) >= 10
        assert sum(told) == 12

    def test_empty_lines_stay_empty(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        lines = raw_test(data)
        translator = ticket.translator("torch")
        found = translator.translate(["", lines[0], "  ", "\u200b\ufeff", lines[1], "\t"], BEAM)
        assert found == ["", generated[0], "", "", generated[1], ""]
        assert translator.translate([], BEAM) == []
        assert translator.translate([""], BEAM) == [""]

    def test_untidy_lines(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        """White space of any kind and invisible marks are of no account; what no subword covers is unknown."""
        line = raw_test(data)[0]
        translator = ticket.translator("torch")
        assert translator.translate(["\ufeff  " + line.replace(" ", " \u00a0\u2028") + "\r\n"], BEAM) == generated[:1]
        assert len(translator.translate(["日本 " + line, "\U0001f600"], BEAM)) == 2

    def test_a_line_too_long_goes_in_parts(self, data: Path, ticket: Ticket, caplog: pytest.LogCaptureFixture) -> None:
        short = with_settings(ticket, max_source_positions=9)
        translator = TorchTranslator(short, short.model())
        line = "Alpha bravo charlie delta echo foxtrot golf hotel."
        (subwords,) = translator.text.split([line])
        parts = parts_of(subwords, 8)
        assert len(parts) > 1
        assert all(0 < len(part) <= 8 for part in parts)
        assert [piece for part in parts for piece in part] == subwords
        with caplog.at_level(logging.WARNING):
            whole = translator.translate(["", line, "Golf."], BEAM)
        warned = (
            f"line 2: {len(subwords)} subwords are too many for the model, which reads 8: translated in {len(parts)}"
        )
        assert [record.getMessage() for record in caplog.records] == [f"{warned} parts"]
        pieces = ["".join(part).replace("\u2581", " ").strip() for part in parts]
        alone = translator.translate(pieces, BEAM)
        assert whole == ["", " ".join(alone), translator.translate(["Golf."], BEAM)[0]]

    def test_warnings_call_lines_as_they_are_told(self, ticket: Ticket, caplog: pytest.LogCaptureFixture) -> None:
        short = with_settings(ticket, max_source_positions=4)
        lines = ["Alpha bravo charlie delta.", ""]
        TorchTranslator(short, short.model()).translate(lines, Decoding(beam=1, max_len_b=5), numbers=[70, 80])
        assert [record.getMessage().split(":")[0] for record in caplog.records] == ["line 70"]

    @pytest.mark.parametrize("lines", ["Alpha bravo.", ["Alpha.", None], b"Alpha."])
    def test_what_is_no_list_of_texts_is_refused(self, ticket: Ticket, lines: Any) -> None:
        for translate in (ticket.translate, ticket.translator().translate):
            with pytest.raises(TypeError, match=r"^(give a list of texts|text [01] \(from 0\) must be a string)"):
                translate(lines, BEAM)

    def test_an_engine_that_there_is_not(self, ticket: Ticket) -> None:
        with pytest.raises(ValueError, match="unknown engine 'onnx'; choose one of: auto, torch, ctranslate2"):
            ticket.translator("onnx")


@pytest.mark.parametrize(
    ("subwords", "longest", "parts"),
    [
        ("▁a b ▁c d", 4, ["▁a b ▁c d"]),
        ("▁a b ▁c d", 3, ["▁a b", "▁c d"]),
        ("▁a b ▁c d", 2, ["▁a b", "▁c d"]),
        ("▁a b ▁c d", 1, ["▁a", "b", "▁c", "d"]),
        ("▁a ▁b c d e", 4, ["▁a ▁b c d", "e"]),  # no word starts in the second half
        ("▁a x ▁b c d", 4, ["▁a x ▁b c", "d"]),
        ("▁a x y ▁b c", 4, ["▁a x y", "▁b c"]),
        ("▁a b c d e", 2, ["▁a b", "c d", "e"]),
        ("a@@ b c@@ d", 3, ["a@@ b", "c@@ d"]),
        ("a b c d e", 2, ["a b", "c d", "e"]),
        ("a@@ b@@ c@@ d", 2, ["a@@ b@@", "c@@ d"]),
        ("", 2, []),
    ],
)
def test_parts_of_a_long_line(subwords: str, longest: int, parts: list[str]) -> None:
    assert [" ".join(part) for part in parts_of(subwords.split(), longest)] == parts


class TestTicketSet:
    @pytest.fixture(scope="class")
    def tickets(self, data: Path, ticket: Ticket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ticket]:
        """Two trainings on one random weight."""
        flags = [*TICKET_RECIPE, "--keep", "0.3", "--max-tokens", "400"]
        other = train(data, tmp_path_factory.mktemp("other"), *flags, updates=40)
        return {"half": ticket, "third": from_checkpoint(other, data)}

    def test_switching(self, data: Path, tickets: dict[str, Ticket], generated: list[str]) -> None:
        lines = raw_test(data)[:6]
        alone = {name: each.translator("torch").translate(lines, BEAM) for name, each in tickets.items()}
        assert alone["half"] == generated[:6]
        assert alone["third"] != alone["half"]
        tried = TicketSet(tickets, "torch")
        for name in ("third", "half", "half", "third", "half"):
            assert tried.use(name).translate(lines, BEAM) == alone[name]
        assert tried.model("half") is tried.model("third")

    def test_weights_come_back_and_are_drawn_once(self, tickets: dict[str, Ticket]) -> None:
        tried = TicketSet(tickets, "torch")
        expected = {
            name: {key: value.clone() for key, value in parameters(each.model()).items()}
            for name, each in tickets.items()
        }
        for name in ("half", "third", "half"):
            found = parameters(tried.model(name))
            assert all(torch.equal(found[key], value) for key, value in expected[name].items())
        assert len(tried.pool) == 18
        for one, other in zip(*(each.weights for each in tickets.values())):
            assert tried.pool.get(one).data_ptr() == tried.pool.get(other).data_ptr()
