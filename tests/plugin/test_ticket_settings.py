"""The architecture that a ticket claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from one_layer_lt import Ticket, TicketError
from tests.support.translators import BOTH, vars_of, with_settings

NUMBERS = ["encoder_embed_dim", "decoder_layers", "encoder_attention_heads", "max_source_positions"]

SETTINGS: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"has {name} .*must be within")
        for name in NUMBERS
        for value in (0, -1, 10**9, 2.0, "2", None, True)
    ),
    *(
        ({name: 1}, f"has {name} 1, which must be within 2")
        for name in ("max_source_positions", "max_target_positions")
    ),
    *(
        ({"encoder_learned_pos": value}, "has encoder_learned_pos .*must be true or false")
        for value in (0, 1, "no", None)
    ),
    *(({"activation_fn": value}, "has the unknown activation") for value in ("exec", None, ["relu"], {})),
    *(
        ({"source": value}, "the ticket's source language is .*, which is none")
        for value in ("", "../x", "a/b", "--", None, 7, "a b")
    ),
    *(
        ({"text": value}, "does not say how its text is split")
        for value in (7, [], {}, {"tokenizer": "x"}, "moses-bpe")
    ),
    *(({"text": {"tokenizer": value}}, "does not say how its text is split") for value in ([], {}, None, 7)),
    ({"extra": 1}, "the ticket's architecture must have just"),
    ({"drop": "text"}, "the ticket's architecture must have just"),
    ({"drop": "encoder_layers"}, "the ticket's architecture must have just"),
    ({"encoder_layers": 1000}, "has more layers than tensors"),
    ({"encoder_attention_heads": 3}, "the ticket's architecture cannot be built"),
    ({"encoder_embed_dim": 2, "encoder_attention_heads": 1}, "the ticket's architecture cannot be built"),
    ({"share_all_embeddings": True, "decoder_embed_dim": 32}, "the ticket's architecture cannot be built"),
]


class TestSettings:
    """Of an architecture that a stranger wrote."""

    @pytest.mark.parametrize(("settings", "message"), SETTINGS)
    def test_out_of_bounds(self, ticket: Ticket, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
        changed = with_settings(ticket, **settings)
        with pytest.raises(TicketError, match=message):
            changed.model()
        with pytest.raises(TicketError, match=message):
            changed.translator("ctranslate2")
        for to in ("fairseq", "ctranslate2"):
            with pytest.raises(TicketError, match=message):
                changed.fold(tmp_path / "folded", to)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"decoder_layers": 1}, r"holds decoder\.layers\.1\..*, which the model does not have"),
            ({"decoder_layers": 3}, r"lacks decoder\.layers\.2\..*, which the model has"),
            (
                {"encoder_ffn_embed_dim": 31},
                r"encoder\.layers\.0\.fc1\.weight has shape \[32, 16\] in the ticket, and \[31, 16\]",
            ),
            ({"encoder_embed_dim": 32}, r"has shape \[\d+, 16\] in the ticket, and \[\d+, 32\]"),
            ({"encoder_learned_pos": True}, r"lacks encoder\.embed_positions\.weight, which the model has"),
        ],
    )
    def test_another_model_than_the_weights(self, ticket: Ticket, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(TicketError, match=message):
            with_settings(ticket, **settings).model()

    def test_a_wide_model_takes_no_memory_before_its_weights_fit(self, ticket: Ticket) -> None:
        wide = {f"{side}_{name}": 1 << 16 for side in BOTH for name in ("embed_dim", "ffn_embed_dim")}
        wide |= {"decoder_input_dim": 1 << 16, "decoder_output_dim": 1 << 16}
        wide |= {"max_source_positions": 1 << 20, "max_target_positions": 1 << 20}
        model = with_settings(ticket, **wide).skeleton()
        held = [tensor for tensor in [*model.parameters(), *model.buffers()] if not tensor.is_meta]
        assert sum(tensor.numel() for tensor in held) < 1 << 24

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "lacks its dictionary"),
            (b"alpha\n", "the ticket's dictionary is damaged"),
            (b"alpha one\n", "the ticket's dictionary is damaged"),
            (b"alpha 1\nalpha 2\n", "the ticket's dictionary is damaged"),
            (b"\xff 1\n", "the ticket's dictionary is damaged"),
            (b"\n", "the ticket's dictionary is damaged"),
            (b"alpha 1\n", "has shape"),
            (b"", "has shape"),
        ],
    )
    def test_a_dictionary_that_is_none(self, ticket: Ticket, content: bytes | None, message: str) -> None:
        assets = {name: asset for name, asset in ticket.assets.items() if name != "dict.source"}
        if content is not None:
            assets["dict.source"] = content
        with pytest.raises(TicketError, match=message) as raised:
            Ticket(**{**vars_of(ticket), "assets": assets}).model()
        assert "\n" not in str(raised.value)

    def test_one_embedding_for_two_dictionaries(self, ticket: Ticket) -> None:
        assets = {**ticket.assets, "dict.target": b"alpha 1\n"}
        shared = with_settings(ticket, share_all_embeddings=True)
        with pytest.raises(TicketError, match="shares all embeddings, but has two dictionaries"):
            Ticket(**{**vars_of(shared), "assets": assets}).model()
