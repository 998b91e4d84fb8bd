"""What a ticket may ask for by the size of its file, and that honest sparse ones ask for less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import MaskConfig, Ticket, TicketError, load_ticket, mask_, save_ticket, scores_of
from one_layer_lt.ticket import bound
from one_layer_lt.ticket.bound import check_asked
from one_layer_lt.ticket.parts import Mask, WeightSpec
from one_layer_lt.weights import SharedWeight, draw, draw_words

SPEC = WeightSpec("w", (2, 4), "kaiming_uniform", 1, 1.0, "x")
MASK = Mask("a", SPEC, MaskConfig(tiles=(2, 4), drop=0.5), ())


@pytest.mark.parametrize(
    ("masks", "redraws", "asked"),
    [
        ([MASK], {}, 8),  # neither tiles nor a pattern make it less
        ([MASK, replace(MASK, name="b")], {}, 16),
        ([replace(MASK, also=("b", "c"))], {}, 24),
        ([MASK], {SPEC: torch.tensor([[0, 0, 0, 0], [7, 7, 9, 0]])}, 8 + 3 * 4096),
    ],
)
def test_by_hand(masks: list[Mask], redraws: Any, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "ANY_FILE", asked - 5 * 1024)
    check_asked(masks, redraws, 5)
    monkeypatch.setattr(bound, "ANY_FILE", asked - 5 * 1024 - 1)
    with pytest.raises(TicketError, match=f"asks for {asked:,} weights, and a file of 5 bytes may for {asked - 1:,}"):
        check_asked(masks, redraws, 5)


def test_so_many_for_any_file_and_so_many_for_each_byte() -> None:
    whole, rest = (replace(MASK, weight=replace(SPEC, shape=(rows, 4096))) for rows in (4096, 1))
    check_asked([whole], {}, 0)
    with pytest.raises(TicketError, match="asks for 16,777,224 weights, and a file of 0 bytes may for 16,777,216"):
        check_asked([whole, MASK], {}, 0)
    check_asked([whole, rest], {}, 4)
    with pytest.raises(TicketError, match="a file of 3 bytes may for 16,780,288"):
        check_asked([whole, rest], {}, 3)


@pytest.mark.parametrize(
    "config",
    [
        MaskConfig(rule="bernoulli"),
        MaskConfig(keep=0.001),
        MaskConfig(drop=0.9, keep=0.05),
        MaskConfig(rule="bernoulli", drop=0.9),
        MaskConfig(tiles=(8, 1), keep=0.05),
    ],
    ids=["bernoulli", "keep", "drop", "bernoulli and drop", "tiles"],
)
def test_sparse_ones_pass(config: MaskConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large they are: without what any file may ask for."""
    monkeypatch.setattr(bound, "ANY_FILE", 0)
    model = mask_(nn.Sequential(nn.Linear(512, 1024, bias=False)), config)
    with torch.no_grad():
        scores_of(model[0]).normal_(-3)  # one in 700 is above 0
    save_ticket(tmp_path / "a.ticket", model)
    load_ticket(tmp_path / "a.ticket").fill_(nn.Sequential(nn.Linear(512, 1024, bias=False)))


def test_what_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = Ticket.of(mask_(nn.Sequential(nn.Linear(64, 64, bias=False)), MaskConfig()))
    ticket.save(tmp_path / "a.ticket")
    kept = (tmp_path / "a.ticket").read_bytes()
    monkeypatch.setattr(bound, "ANY_FILE", 0)
    monkeypatch.setattr(bound, "A_BYTE", 1)
    with pytest.raises(TicketError, match=r"a\.ticket: asks for 4,096 weights"):
        ticket.save(tmp_path / "a.ticket")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [kept]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "rule", ["edge_popup", "topk", "threshold", "bernoulli", "sign", "signed", "multicoat", "biprop"]
)
def test_scores_that_are_not_finite_are_not_saved(rule: str, value: float) -> None:
    model = mask_(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), MaskConfig(rule=rule))
    scores_of(model[1]).data[1, 2] = value
    with pytest.raises(ValueError, match=r"^the scores of 1: not all numbers are finite"):
        Ticket.of(model)


def test_tensors_that_are_not_finite_are_not_saved() -> None:
    model = mask_(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), MaskConfig(), trainable=["1.*"])
    model[1].weight.data[2] = torch.nan
    with pytest.raises(ValueError, match=r"^1\.weight: not all numbers are finite"):
        Ticket.of(model)
    existing = nn.Sequential(nn.Linear(4, 4, bias=False))
    existing[0].weight.data[0, 0] = torch.inf
    with pytest.raises(ValueError, match="not all numbers are finite"):
        Ticket.of(mask_(existing, MaskConfig(init="existing")))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=12, max_size=12),
    st.sampled_from(["kaiming_normal", "signed_constant", "unsigned_constant", "xavier_uniform"]),
    st.sampled_from([0, 5]),
)
def test_each_element_is_of_its_own_draw(numbers: list[int], init: str, period: int) -> None:
    shared = SharedWeight((3, 4), init, seed=3, name="w", scale=0.5, period=period, redrawn=True)
    redraws = torch.tensor(numbers, dtype=torch.int16).view(3, 4)
    shared.restore(redraws)
    names = ["w", *(f"w@{number}" for number in range(1, 6))]
    draws = torch.stack([draw((3, 4), init, seed=3, name=name, scale=0.5, period=period) for name in names])
    assert torch.equal(shared.weight, draws.gather(0, redraws.long()[None])[0])


@given(st.integers(0, 200_000), st.integers(0, 2**33))
@settings(max_examples=20, deadline=None)
def test_words_from_any_element_on(n: int, first: int) -> None:
    words = draw_words(n, seed=1, name="w", first=first)
    assert np.array_equal(words[n // 2 :], draw_words(n - n // 2, seed=1, name="w", first=first + n // 2))
    if first < 1000:
        assert np.array_equal(words, draw_words(first + n, seed=1, name="w")[first:])
