"""How alike masks are, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, Ticket, mask_, scores_of
from one_layer_lt.errors import UserError
from one_layer_lt.lab import overlap


def ticket_of(*scores: Any, architecture: Any = None, **config: Any) -> Ticket:
    """The ticket of layers 0, 1, ... with these scores, over one random weight."""
    rows, columns = len(scores[0]), len(scores[0][0])
    model = nn.ModuleDict({"layers": nn.ModuleList(nn.Linear(columns, rows, bias=False) for _ in scores)})
    mask_(model, MaskConfig(**config))
    with torch.no_grad():
        for layer, values in zip(model["layers"], scores):
            scores_of(layer).copy_(torch.tensor(values))
    return Ticket.of(model)


FIRST, SECOND, THIRD = [[3.0, -4, 0, 0]], [[0.0, -5, 3, 0]], [[0.0, 0, 3, -4]]


def test_of_pairs() -> None:
    pairs = overlap.pairs(ticket_of(FIRST, SECOND, THIRD, keep=0.5))
    assert [pair["masks"] for pair in pairs] == [[f"layers.{a}", f"layers.{b}"] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert [pair["overlap"] for pair in pairs] == [round(1 / 3, 6), 0.0, round(1 / 3, 6)]
    assert {pair["overlap by chance"] for pair in pairs} == {round(1 / 3, 6)}  # 2 x 2 / 4 = 1 of both, 3 of either
    assert {pair["same sign"] for pair in pairs} == {None}
    (summary,) = overlap.summaries(pairs)
    assert (summary["pairs"], summary["least"], summary["most"]) == (3, 0.0, round(1 / 3, 6))
    assert summary["overlap"] == pytest.approx(2 / 9, abs=1e-6)
    assert overlap.cells(summary)["same sign"] == ""


def test_more_masks_than_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "MOST", 2)
    assert len(overlap.pairs(ticket_of(FIRST, SECOND))) == 1
    with pytest.raises(UserError, match=r"3 masks are over .*at most 2"):
        overlap.pairs(ticket_of(FIRST, SECOND, THIRD))


def test_of_three_values() -> None:
    pairs = overlap.pairs(ticket_of(FIRST, SECOND, THIRD, keep=0.5, rule="signed"))
    # Each has a plus and a minus. The first two keep weight 1, minus in both; the last two keep weight 2, plus in both.
    assert [pair["same sign"] for pair in pairs] == [1.0, None, 1.0]
    assert [pair["same sign by chance"] for pair in pairs] == [0.5, None, 0.5]


def test_of_signs() -> None:
    (pair,) = overlap.pairs(ticket_of([[1.0, 1, 1, -1]], [[1.0, 1, -1, 1]], rule="sign"))
    assert pair["same sign"] == 0.5
    assert pair["same sign by chance"] == 0.625  # 9/16 plus, 1/16 minus
    assert pair["overlap"] == 0.5  # of those that are plus: 2 in both, 4 in either


def test_of_two_tickets() -> None:
    one, other = ticket_of(FIRST, SECOND, keep=0.5), ticket_of(SECOND, SECOND, keep=0.5, seed=2)
    first, second = overlap.between(one, other)
    assert (first["mask"], first["overlap"], first["weights"]) == ("layers.0", round(1 / 3, 6), False)
    assert (second["mask"], second["overlap"], second["overlap by chance"]) == ("layers.1", 1.0, round(1 / 3, 6))
    assert overlap.between(one, one)[0]["weights"] is True
    with pytest.raises(UserError, match=r"differ in the mask of layers\.1"):
        overlap.between(one, ticket_of(FIRST))
    with pytest.raises(UserError, match=r"differ in the mask of layers\.0"):
        overlap.between(ticket_of(FIRST), ticket_of([[1.0, 2], [3, 4]]))


def test_independent_masks_overlap_as_by_chance() -> None:
    torch.manual_seed(0)
    (pair,) = overlap.pairs(ticket_of(torch.rand(100, 100).tolist(), torch.rand(100, 100).tolist(), keep=0.3))
    assert pair["overlap"] == pytest.approx(pair["overlap by chance"], abs=0.015)
    assert pair["overlap by chance"] == pytest.approx(0.09 / 0.51, abs=1e-6)


def test_what_heads_keep() -> None:
    attention = nn.ModuleDict({f"{name}_proj": nn.Linear(4, 4, bias=False) for name in ("q", "out")})
    layers = nn.ModuleList([nn.ModuleDict({"self_attn": attention})])
    model = mask_(nn.ModuleDict({"encoder": nn.ModuleDict({"layers": layers})}), MaskConfig(keep=0.25))
    with torch.no_grad():
        for part, (row, column) in ((attention["q_proj"], (1, 0)), (attention["out_proj"], (0, 3))):
            scores = torch.zeros(4, 4)
            scores[row], scores[:, column] = 1 if row else 0, 0 if row else 1
            scores_of(part).copy_(scores)
    query, out = overlap.kept(Ticket.of(model, {"encoder_attention_heads": 2}))
    assert (query["mask"], query["kept"], query["heads"]) == ("encoder.layers.0.self_attn.q_proj", 0.25, [0.5, 0.0])
    assert (out["kept"], out["heads"]) == (0.25, [0.0, 0.5])
    for odd in (None, 0, -1, "2", 5, 10**12, True, [2]):
        assert all(one["heads"] == [] for one in overlap.kept(Ticket.of(model, {"encoder_attention_heads": odd})))
    (plain,) = overlap.kept(ticket_of(FIRST, keep=0.5))
    assert plain["heads"] == []
