from __future__ import annotations

import copy
from pathlib import Path
from typing import Callable

import pytest
import torch
from torch import nn

from one_layer_lt import (
    MaskConfig,
    SharedWeight,
    load_ticket,
    mask_,
    masked_modules,
    masked_weight,
    save_ticket,
    scores_of,
    summarize,
)
from one_layer_lt.sharing import SHARES, share_key, share_period

FC1 = [f"encoder.layers.{i}.fc1" for i in range(3)]


def weight_of(model: nn.Module, name: str) -> torch.Tensor:
    return masked_weight(model.get_submodule(name)).shared.weight


def pointers(model: nn.Module, names: list[str]) -> set[int]:
    return {weight_of(model, name).data_ptr() for name in names}


def shared_weights(model: nn.Module) -> list[SharedWeight]:
    return [module for module in model.modules() if isinstance(module, SharedWeight)]


@pytest.mark.parametrize(
    ("name", "share", "key"),
    [
        ("encoder.layers.0.fc1", "layer", "encoder.layers.*.fc1[8x4]"),
        ("encoder.layers.11.fc1", "layer", "encoder.layers.*.fc1[8x4]"),
        ("decoder.layers.0.fc1", "layer", "decoder.layers.*.fc1[8x4]"),
        ("3", "layer", "*[8x4]"),
        ("0.1.2", "layer", "*.*.*[8x4]"),
        ("layer1.0.conv2", "layer", "layer1.*.conv2[8x4]"),
        ("", "layer", "[8x4]"),
        ("lstm.weight_ih_l0", "layer", "lstm.weight_ih_l0[8x4]"),
        ("lstm.weight_hh_l12", "layer", "lstm.weight_hh_l0[8x4]"),
        ("weight_hr_l1_reverse", "layer", "weight_hr_l0_reverse[8x4]"),
        ("layers.3.weight_hh_l1", "stack", "layers.*.weight_hh_l0[8x4]"),
        ("encoder.layers.0.fc1", "stack", "*.layers.*.fc1[8x4]"),
        ("decoder.fc", "stack", "*.fc[8x4]"),
        ("encoder", "stack", "encoder[8x4]"),
        ("encoder.layers.0.fc1", "vector", "*"),
        ("fc_l1", "layer", "fc_l1[8x4]"),
        ("weight_hh_l1.fc", "layer", "weight_hh_l1.fc[8x4]"),
        ("lstm.weight_hh_l1", "none", "lstm.weight_hh_l1[8x4]"),
        ("encoder.layers.0.fc1", "none", "encoder.layers.0.fc1[8x4]"),
    ],
)
def test_share_key(name: str, share: str, key: str) -> None:
    assert share_key(name, (8, 4), share) == key


@pytest.mark.parametrize("width", [8, 3])
def test_layers_of_a_recurrent_module_share_and_directions_do_not(width: int, tmp_path: Path) -> None:
    def lstm() -> nn.LSTM:
        return nn.LSTM(width, 4, 3, bidirectional=True)

    model = mask_(lstm(), MaskConfig())
    # of each direction: hidden to hidden; input to hidden, which the first layer has of its own if of another shape
    assert summarize(model).random_weights == (4 if width == 8 else 6)
    of = {name: masked_weight(model, name).shared for name in model.parametrizations}
    assert of["weight_hh_l0"] is of["weight_hh_l2"] is not of["weight_hh_l2_reverse"]
    assert of["weight_ih_l1"] is of["weight_ih_l2"]
    assert (of["weight_ih_l1"] is of["weight_ih_l0"]) == (width == 8)  # two directions of 4 are what later layers read
    save_ticket(tmp_path / "net.ticket", model)
    data = torch.randn(5, 2, width)
    with torch.no_grad():
        assert torch.equal(load_ticket(tmp_path / "net.ticket").fill_(lstm())(data)[0], model.eval()(data)[0])


def test_shapes_never_share() -> None:
    assert share_key("layers.0", (8, 4), "layer") != share_key("layers.1", (4, 8), "layer")
    assert share_key("layers.0", (8, 41), "layer") != share_key("layers.1", (84, 1), "layer")


def test_layers_use_one_storage(stacks: nn.Module) -> None:
    mask_(stacks, MaskConfig())
    assert len(pointers(stacks, FC1)) == 1
    assert len({masked_weight(stacks.get_submodule(name)).shared for name in FC1}) == 1
    assert weight_of(stacks, "encoder.layers.0.fc1").data_ptr() != weight_of(stacks, "decoder.layers.0.fc1").data_ptr()
    # fc1 and fc2 of the encoder and of the decoder
    assert len(shared_weights(stacks)) == 4
    assert len({scores_of(module).data_ptr() for _, module in masked_modules(stacks)}) == 10


def test_layers_of_one_stack_hold_equal_weights_and_stacks_do_not(stacks: nn.Module) -> None:
    mask_(stacks, MaskConfig(share="layer"))
    assert torch.equal(weight_of(stacks, FC1[0]), weight_of(stacks, FC1[2]))
    assert not torch.equal(weight_of(stacks, FC1[0]), weight_of(stacks, "decoder.layers.0.fc1"))


def test_none_shares_nothing(stacks: nn.Module) -> None:
    mask_(stacks, MaskConfig(share="none"))
    assert len(pointers(stacks, FC1)) == 3
    assert len(shared_weights(stacks)) == 10
    assert len({shared.digest() for shared in shared_weights(stacks)}) == 10


def test_same_name_other_shape_is_another_weight() -> None:
    model = mask_(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 8)), MaskConfig())
    assert len(pointers(model, ["0", "2"])) == 1
    assert len(shared_weights(model)) == 2


@pytest.mark.parametrize("field", ["seed", "init", "scale"])
def test_modules_configured_differently_do_not_share(stacks: nn.Module, field: str) -> None:
    other = MaskConfig(**{field: {"seed": 2, "init": "xavier_normal", "scale": 2.0}[field]})  # type: ignore[arg-type]
    mask_(stacks, configure=lambda name, _: other if name == FC1[1] else MaskConfig())
    assert weight_of(stacks, FC1[0]).data_ptr() == weight_of(stacks, FC1[2]).data_ptr()
    assert weight_of(stacks, FC1[0]).data_ptr() != weight_of(stacks, FC1[1]).data_ptr()


def test_keep_may_differ_between_layers_that_share(stacks: nn.Module) -> None:
    mask_(stacks, configure=lambda name, _: MaskConfig(keep=0.25 if name == FC1[1] else 0.5))
    assert len(pointers(stacks, FC1)) == 1
    kept = [masked_weight(m).mask(scores_of(m)).sum().item() for m in map(stacks.get_submodule, FC1)]
    assert kept == [16, 8, 16]  # of 32


def test_layers_of_two_dtypes_hold_each_their_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4))
    mask_(model, MaskConfig(seed=3))
    alone = mask_(nn.Sequential(nn.Linear(4, 4)), MaskConfig(seed=3))
    assert [weight_of(model, name).dtype for name in "01"] == [torch.bfloat16, torch.float32]
    assert torch.equal(weight_of(model, "1"), weight_of(alone, "0"))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.half(),
        lambda model: model.to(torch.bfloat16),
        lambda model: model.double().float(),
        lambda model: model.to("cpu"),
        copy.deepcopy,
        lambda model: copy.deepcopy(model).half(),
        lambda model: model.train().eval(),
    ],
    ids=["half", "bfloat16", "there and back", "device", "deepcopy", "deepcopy and half", "modes"],
)
def test_storage_stays_shared(stacks: nn.Module, change: Callable[[nn.Module], nn.Module]) -> None:
    mask_(stacks, MaskConfig())
    model = change(stacks)
    assert len(pointers(model, FC1)) == 1
    assert len(shared_weights(model)) == 4
    assert weight_of(model, FC1[0]).dtype == scores_of(model.get_submodule(FC1[0])).dtype


def test_a_deep_copy_shares_with_itself_alone(stacks: nn.Module) -> None:
    copied = copy.deepcopy(mask_(stacks, MaskConfig()))
    assert pointers(copied, FC1).isdisjoint(pointers(stacks, FC1))
    assert [s.digest() for s in shared_weights(copied)] == [s.digest() for s in shared_weights(stacks)]


def test_the_vector_alone_repeats() -> None:
    """After a prime number of elements, the same for ever: tickets are drawn by it."""
    periods = {"none": 0, "layer": 0, "layer_mask": 0, "stack": 0, "vector": 1_048_573}
    assert {share: share_period(share) for share in SHARES} == periods
