"""What a ticket says of itself: kept as it is, checked, and written for Hugging Face."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_layer_lt import Ticket, TicketError, load_ticket, save_ticket
from one_layer_lt.errors import UserError
from one_layer_lt.ticket.card import checked, facts, read_card
from one_layer_lt.ticket.model_card import model_card
from tests.support.cards import CARD, MARKUP, SIGNATURE, marked_card
from tests.support.signing import metadata_of
from tests.support.tickets import NewModel, masked

TOML = f"""
name = "m30k-de-en"
languages = ["de", "en"]
licence = "CC BY-NC-SA 4.0"
date = 2024-05-01
command = "fairseq-train data --arch one_layer_masked"
[[scores]]
signature = "{SIGNATURE}"
metric = "BLEU"
on = "Multi30k test 2016"
value = 36.25
[[data]]
name = "Multi30k"
licence = "Flickr's terms"
attribution = "Elliott et al. (2016)"
"""
FIELDS = st.sampled_from(["name", "licence", "metric", "value", "on", "signature", "x"])
ODD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
)


@pytest.fixture
def ticket(fresh: NewModel) -> Ticket:
    return Ticket.of(masked(fresh("stacks")[0]))


class TestInATicket:
    def test_comes_back(self, fresh: NewModel, path: Path) -> None:
        shuffled = dict(sorted(CARD.items(), reverse=True))
        saved = save_ticket(path, masked(fresh("stacks")[0]), card=shuffled)
        assert saved.card == load_ticket(path).card == CARD
        assert list(load_ticket(path).card) == list(CARD)

    def test_without_one_the_bytes_are_those_of_before(self, ticket: Ticket, path: Path) -> None:
        ticket.save(path)
        assert "card" not in metadata_of(path.read_bytes())
        assert load_ticket(path).card == {}

    def test_is_under_the_digest(self, ticket: Ticket, path: Path) -> None:
        replace(ticket, card=CARD).save(path)
        path.write_bytes(path.read_bytes().replace(b"36.25", b"38.25"))
        with pytest.raises(TicketError, match="damaged"):
            load_ticket(path)

    def test_zeros_like_a_digest_that_is_not_there_yet(self, ticket: Ticket, path: Path) -> None:
        zeros = {**CARD, "name": "0" * 64}
        replace(ticket, card=zeros).save(path)
        assert load_ticket(path).card == zeros

    def test_a_flaw_is_found_before_anything_is_written(self, fresh: NewModel, ticket: Ticket, path: Path) -> None:
        with pytest.raises(TicketError, match="the card lacks name"):
            save_ticket(path, masked(fresh("stacks")[0]), card={"date": "2024-05-01"})
        with pytest.raises(TicketError, match="the card lacks name"):
            replace(ticket, card={"date": "2024-05-01"}).save(path)
        assert not path.exists()


class TestChecked:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"name": ""}, r"the card: name must be text in one line, of characters that can be printed, not ''"),
            ({"name": "two\nlines"}, r"name must be text"),
            ({"name": "\u202egnp"}, r"name must be text"),
            ({"name": "\ud800"}, r"name must be text"),
            ({"name": 7}, r"name must be text"),
            ({"licence": None}, r"licence must be text"),
            ({"languages": "de"}, r"languages must be a list of one or more, not 'de'"),
            ({"languages": []}, r"languages must be a list of one or more"),
            ({"languages": ["de", 1]}, r"languages\[2\] must be text"),
            ({"data": {"name": "x"}}, r"data must be a list"),
            ({"data": ["x"]}, r"data\[1\] must be a table, not 'x'"),
            ({"data": [{"licence": "x"}]}, r"data\[1\] lacks name"),
            ({"data": [{"name": "x", "license": "y"}]}, r"data\[1\] has no field 'license': .* name, licence, attrib"),
            ({"scores": [{"metric": "BLEU", "value": 3.0}]}, r"scores\[1\] lacks signature"),
            *(
                ({"scores": [{"metric": "BLEU", "value": value, "signature": "x"}]}, r"value must be a number up to 1,")
                for value in (math.nan, math.inf, "36", True, 10**400, -1e7, None)
            ),
            ({"command": "x" * 9000}, r"the card is of [\d,]+ bytes, and may be of 8,192: shorten it"),
            ({"command": "\u00e4" * 4200}, r"the card is of [\d,]+ bytes"),
        ],
    )
    def test_flaws(self, change: dict[str, Any], said: str) -> None:
        with pytest.raises(TicketError, match=said) as raised:
            checked({**CARD, **change})
        assert len(str(raised.value)) < 300

    def test_unknown_fields(self) -> None:
        for name in ("license", 7, "\x1b", "x" * 999):
            with pytest.raises(TicketError, match="the card has no field") as raised:
                checked({**CARD, name: "x"})
            assert str(raised.value).isprintable()
            assert len(str(raised.value)) < 300

    def test_what_is_not_needed(self) -> None:
        assert checked({"name": "a"}) == {"name": "a"}
        assert checked(CARD) == CARD

    @given(ODD, st.sampled_from(list(CARD)))
    def test_whatever_it_takes_is_printed_in_lines(self, odd: Any, field: str) -> None:
        try:
            made = checked({**CARD, field: odd})
        except TicketError:
            return
        assert json.loads(json.dumps(made)) == made
        assert all(text.isprintable() and name.isprintable() for name, text in facts(made))


class TestRead:
    def test_as_toml(self, tmp_path: Path) -> None:
        path = tmp_path / "card.toml"
        path.write_text(TOML)
        assert read_card(path) == CARD

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("name = ", "is no TOML"),
            ("\xff", "is no TOML"),
            ("x = " + "[" * 10**5, "is no TOML"),
            (".".join("a" * 20_000) + " = 1", "has more than 10,000 dots"),
            ('name = "a"\ndate = 12:00:00', "the card: date must be text"),
            (f"name = 0x{'f' * 9000}", "card.toml: "),
            ('name = "a"\n[scores]\nvalue = inf', r"scores must be a list"),
        ],
    )
    def test_flaws_name_the_file(self, text: str, said: str, tmp_path: Path) -> None:
        path = tmp_path / "card.toml"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=said) as raised:
            read_card(path)
        assert str(raised.value).startswith(str(path))
        assert "\n" not in str(raised.value)


def test_facts() -> None:
    assert list(facts(CARD)) == [
        ("name", "m30k-de-en"),
        ("languages", "de, en"),
        ("licence", "CC BY-NC-SA 4.0"),
        ("data", "Multi30k, Flickr's terms, Elliott et al. (2016)"),
        ("BLEU", f"36.25, Multi30k test 2016, {SIGNATURE}"),
        ("date", "2024-05-01"),
        ("command", "fairseq-train data --arch one_layer_masked"),
    ]


class TestModelCard:
    def parts(self, text: str) -> tuple[dict[str, Any], str]:
        yaml = pytest.importorskip("yaml")
        _, front, body = re.split(r"^---\n", text, flags=re.MULTILINE)
        return yaml.safe_load(front), body

    def test_as_hugging_face_has_it(self, ticket: Ticket) -> None:
        translator = replace(ticket, card=CARD, architecture={"kind": "fairseq_transformer"})
        front, body = self.parts(model_card(translator))
        assert front == {
            "language": ["de", "en"],
            "license": "cc-by-nc-sa-4.0",
            "library_name": "one_layer_lt",
            "pipeline_tag": "translation",
            "datasets": ["multi30k"],
            "metrics": ["bleu"],
            "model-index": [
                {
                    "name": "m30k-de-en",
                    "results": [
                        {
                            "task": {"type": "translation"},
                            "dataset": {"type": "multi30k-test-2016", "name": "Multi30k test 2016"},
                            "metrics": [
                                {"type": "bleu", "value": 36.25, "name": "BLEU", "args": {"signature": SIGNATURE}}
                            ],
                        }
                    ],
                }
            ],
        }
        assert "# m30k-de-en\n" in body
        assert "Elliott et al. (2016)" in body

    @pytest.mark.parametrize(
        ("licence", "expected"),
        [
            ("MIT", {"license": "mit"}),
            ("Apache-2.0", {"license": "apache-2.0"}),
            ("Flickr's terms, v. 2", {"license": "other", "license_name": "flickr-s-terms-v.-2"}),
            (None, {"license": "unknown"}),
        ],
    )
    def test_licences(self, ticket: Ticket, licence: str | None, expected: dict[str, str]) -> None:
        card = {"name": "a", **({"licence": licence} if licence else {})}
        front, _ = self.parts(model_card(replace(ticket, card=card)))
        assert front == {**expected, "library_name": "one_layer_lt"}

    @pytest.mark.parametrize(("kind", "tag"), [("vision", "image-classification"), ("mine", None), (None, None)])
    def test_tasks(self, ticket: Ticket, kind: str | None, tag: str | None) -> None:
        """Where a score is of nothing that is named, and the task of none that is known."""
        card = {"name": "a", "scores": [{"metric": "top 1", "value": 0.5, "signature": "s"}]}
        front, _ = self.parts(model_card(replace(ticket, card=card, architecture={"kind": kind} if kind else {})))
        result = front["model-index"][0]["results"][0]
        assert (front.get("pipeline_tag"), result["task"]) == (tag, {"type": tag or "other"})
        assert result["dataset"] == {"type": "unknown", "name": "unknown"}

    def test_markup_is_text(self, ticket: Ticket) -> None:
        front, body = self.parts(model_card(replace(ticket, card=marked_card())))
        assert front["model-index"][0]["name"] == MARKUP
        markdown = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"html": True, "linkify": False})
        tokens = markdown.parse(body)
        assert tokens[1].content.startswith("\\<img")
        inline = [child for token in tokens for child in token.children or ()]
        assert {child.type for child in inline} <= {"text", "text_special"}
        said = "".join(child.content for child in tokens[1].children)
        assert said == MARKUP
        assert sum(token.type == "tr_open" for token in tokens) == 1 + len(list(facts(marked_card())))

    def test_without_a_card(self, ticket: Ticket) -> None:
        with pytest.raises(TicketError, match=r"has no card: .* export --card FILE"):
            model_card(ticket)
