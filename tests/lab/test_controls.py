"""Controls: what each destroys, worked out by hand; what each must leave, for every ticket that there is."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from one_layer_lt import RULES, SHARES, MaskConfig, Ticket, load_ticket, mask_, scores_of
from one_layer_lt.errors import UserError
from one_layer_lt.lab.controls import CONTROLS, randomly_pruned, reinitialised, reseeded, values_of
from one_layer_lt.pruning import prunable_, prune_, pruned_modules, pruned_weight
from one_layer_lt.ticket.encoding import to_bytes
from tests.golden.make import TICKETS
from tests.support.models import Stacks, Tied
from tests.support.tickets import masked

SHUFFLES = ("shuffled", "shuffled in rows")
ALL = sorted(path.stem for path in TICKETS.glob("*.ticket"))


def ticket_of(model: nn.Module, scores: list[Any], **config: Any) -> Ticket:
    """The ticket of a model whose masked layers have these scores."""
    mask_(model, MaskConfig(seed=1, **config))
    with torch.no_grad():
        for layer, values in zip(model, scores):
            scores_of(layer).copy_(torch.tensor(values))
    return Ticket.of(model)


def layers(count: int) -> nn.Module:
    return nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(count))


def whole(ticket: Ticket) -> list[Any]:
    return [mask.values().tolist() for mask in ticket.masks]


def counts(values: Tensor) -> list[Any]:
    """How often each value occurs."""
    return [found.tolist() for found in torch.unique(values, return_counts=True)]


def test_masks_go_one_layer_on_or_two() -> None:
    first, second, third = [[1.0, 0], [0, 0]], [[0, 1.0], [0, 0]], [[0, 0], [1.0, 0]]
    ticket = ticket_of(layers(3), [first, second, third], keep=0.25)
    assert whole(ticket) == [first, second, third]
    assert whole(CONTROLS["another layer's"](ticket, 1)) == [third, first, second]
    assert whole(CONTROLS["another layer's"](ticket, 2)) == [second, third, first]
    assert whole(CONTROLS["another layer's"](ticket, 3)) == [third, first, second]  # never back to where they were


def test_rows_keep_their_weights() -> None:
    ticket = ticket_of(nn.ModuleList([nn.Linear(4, 2)]), [[[9.0, 8, 7, 0], [6, 0, 0, 0]]], keep=0.5)
    found = {tuple(map(tuple, whole(CONTROLS["shuffled in rows"](ticket, seed))[0])) for seed in range(1, 300)}
    assert len(found) == 16  # one of 4 places is free in the one row, and one is taken in the other
    assert all((sum(one), sum(other)) == (3, 1) for one, other in found)


def test_every_random_mask_occurs_as_often() -> None:
    ticket = ticket_of(layers(1), [[[1.0, 2], [3, 4]]], keep=0.5)
    found = [str(whole(CONTROLS["shuffled"](ticket, seed))) for seed in range(1, 601)]
    assert len(set(found)) == 6
    assert all(70 < found.count(one) < 130 for one in found)  # 100, with a standard deviation of 9


def test_other_random_weights_are_those_of_another_seed() -> None:
    scores = [[[1.0, 0], [0, 2]]]
    ticket = ticket_of(layers(1), scores, keep=0.5)
    other = mask_(layers(1), MaskConfig(seed=4, keep=0.5))
    with torch.no_grad():
        scores_of(other[0]).copy_(torch.tensor(scores[0]))
    assert torch.equal(reseeded(ticket, 3).fill_(layers(1))[0].weight, other[0].weight)


def test_a_scale_follows_the_mask() -> None:
    ticket = ticket_of(layers(1), [[[1.0, 0], [0, 0]]], keep=0.25, rule="biprop")
    weight = ticket.weights[0].drawn().weight
    for seed in range(1, 9):
        made = CONTROLS["shuffled"](ticket, seed).masks[0]
        assert made.scale == pytest.approx(float(weight.abs()[made.values() != 0]))


def invariants(ticket: Ticket, name: str, seed: int) -> Ticket | None:
    """The control, which has left all that it must; None where it is refused, for a reason."""
    try:
        control = CONTROLS[name](ticket, seed)
    except UserError:
        layers = Counter((mask.weight, mask.config, SHARES["layer"](mask.name)) for mask in ticket.masks)
        patterns = any(mask.config.drop or mask.config.lock for mask in ticket.masks)
        assert name not in SHUFFLES
        assert patterns or max(layers.values()) == 1 if name == "another layer's" else ticket.existing
        return None
    if name == "other random weights":
        assert control.weights != ticket.weights
        assert all(torch.equal(ours.values(), theirs.values()) for ours, theirs in zip(control.masks, ticket.masks))
    else:
        assert control.weights == ticket.weights
    assert all(control.existing[spec] is weight for spec, weight in ticket.existing.items())
    assert [id(numbers) for numbers in control.redraws.values()] == [id(n) for n in ticket.redraws.values()]
    for ours, theirs in zip(control.masks, ticket.masks):
        values, original = ours.values(), theirs.values()
        if name in SHUFFLES:
            assert counts(values) == counts(original)
            locked = torch.zeros_like(original) if ours.layout.free is None else ours.layout.cover(values_of_zero(ours))
            assert torch.equal(values * locked, original * locked)
        if name == "shuffled in rows":
            kept, before_it = values.flatten(1).sort(1).values, original.flatten(1).sort(1).values
            assert torch.equal(kept, before_it)
    if name == "another layer's":
        assert sorted(map(str, whole(control))) == sorted(map(str, whole(ticket)))
    return control


def values_of_zero(mask: Any) -> Tensor:
    """A searched mask of nothing: covered, it is 1 just where weights are locked."""
    return torch.zeros(mask.size, dtype=torch.int8)


@pytest.mark.parametrize("file", ALL)
def test_of_every_kind_of_ticket(file: str, tmp_path: Path) -> None:
    ticket = load_ticket(TICKETS / f"{file}.ticket")
    for name in CONTROLS:
        if (control := invariants(ticket, name, 1)) is not None:
            control.save(tmp_path / "control.ticket")  # which reads it again


@settings(deadline=None, max_examples=25)
@given(
    rule=st.sampled_from(sorted(RULES)),
    share=st.sampled_from(["none", "layer", "layer_mask", "stack"]),
    name=st.sampled_from(sorted(CONTROLS)),
    tiles=st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]),
    patterns=st.sampled_from([(0.0, 0.0), (0.25, 0.0), (0.0, 0.25), (0.125, 0.25)]),
    seed=st.integers(1, 10**6),
)
def test_invariants(
    rule: str, share: str, name: str, tiles: tuple[int, int], patterns: tuple[float, float], seed: int
) -> None:
    config = MaskConfig(seed=3, rule=rule, share=share, tiles=tiles, drop=patterns[0], lock=patterns[1])
    ticket = Ticket.of(masked(Stacks(), config))
    before = to_bytes(ticket)
    if (control := invariants(ticket, name, seed)) is not None:
        assert to_bytes(CONTROLS[name](ticket, seed)) == to_bytes(control)
    assert to_bytes(ticket) == before


def test_a_control_fills_the_model_and_leaves_the_masked_one() -> None:
    model = masked(Tied())
    state = copy.deepcopy(model.state_dict())
    ticket = replace(Ticket.of(model), card={"name": "scores of another"})
    control = CONTROLS["shuffled"](ticket, 1)
    assert control.card == {}  # what it says of itself holds of the ticket alone
    filled = control.fill_(Tied())
    assert filled.head.weight is filled.embed.weight
    weight = ticket.masks[0].weight.drawn().weight
    assert torch.equal(filled.embed.weight, weight * control.masks[0].values())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("config", "control", "said"),
    [
        ({"share": "none"}, "another layer's", "no two layers"),
        ({"share": "layer_mask"}, "another layer's", "no two layers"),
        ({"drop": 0.25}, "another layer's", "pattern"),
        ({"init": "existing"}, "other random weights", "not drawn"),
    ],
)
def test_one_that_there_is_not(config: dict[str, Any], control: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        CONTROLS[control](Ticket.of(masked(Stacks(), MaskConfig(**config))), 1)


def pruned() -> nn.Module:
    torch.manual_seed(1)
    return prune_(prunable_(Tied()), keep=0.3)


def test_random_pruning_keeps_as_many_and_the_weights() -> None:
    model = pruned()
    made = randomly_pruned(model, 1)
    assert made.head.parametrizations["weight"][0] is made.embed.parametrizations["weight"][0]
    for (name, ours), (_, theirs) in zip(pruned_modules(made), pruned_modules(model)):
        assert pruned_weight(ours).mask.sum() == pruned_weight(theirs).mask.sum()
        assert torch.equal(ours.parametrizations.weight.original, theirs.parametrizations.weight.original)
        again = dict(pruned_modules(randomly_pruned(model, 1)))[name]
        assert torch.equal(pruned_weight(ours).mask, pruned_weight(again).mask)
    assert not torch.equal(pruned_weight(made.embed).mask, pruned_weight(model.embed).mask)


def test_new_weights_under_old_masks() -> None:
    model, initial = pruned(), Tied()
    made = reinitialised(model, initial)
    assert torch.equal(made.fc.weight, initial.fc.weight * pruned_weight(model.fc).mask)
    assert made.embed.parametrizations.weight.original is made.head.parametrizations.weight.original
    assert not hasattr(initial.fc, "parametrizations")


def test_pruned_models_that_do_not_fit() -> None:
    wider = Tied()
    wider.fc = nn.Linear(4, 5)
    with pytest.raises(ValueError, match=r"fc has the shapes \(4, 4\) and \(5, 4\)"):
        reinitialised(pruned(), wider)
    with pytest.raises(ValueError, match="prunable in one model alone"):
        reinitialised(pruned(), Stacks())
    with pytest.raises(ValueError, match="call prunable_"):
        randomly_pruned(Tied(), 1)


def test_values_are_those_of_the_scores() -> None:
    ticket = ticket_of(layers(1), [[[0.5, -2.0], [-1.0, 0.1]]], keep=0.5, rule="signed")
    assert np.array_equal(values_of(ticket.masks[0]), [0, -1, -1, 0])
