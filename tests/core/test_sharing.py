from __future__ import annotations

import copy
from typing import Callable

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, SharedWeight, mask_, masked_modules, masked_weight, scores_of
from one_layer_lt.sharing import share_key

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
        ("encoder.layers.0.fc1", "none", "encoder.layers.0.fc1[8x4]"),
    ],
)
def test_share_key(name: str, share: str, key: str) -> None:
    assert share_key(name, (8, 4), share) == key


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
