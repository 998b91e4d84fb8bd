"""Tickets: the same model again, bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import INITS, RULES, MaskConfig, Ticket, load_ticket, save_ticket
from tests.support.tickets import NewModel, embed_left_out, masked, output, reloads, tensors_of

KINDS = ["stacks", "tied", "images", "mixed"]
KEEPING = [name for name, rule in RULES.items() if hasattr(rule, "keep")]


class TestReloads:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("share", ["layer", "none"])
    def test_every_kind_of_model(self, fresh: NewModel, path: Path, kind: str, share: str) -> None:
        model, x = fresh(kind)
        masked(model, MaskConfig(seed=3, share=share, keep=0.3))
        expected = output(model, x)
        filled = reloads(model, fresh(kind)[0], path)
        assert torch.equal(output(filled, x), expected)

    @pytest.mark.parametrize("init", [*INITS, "existing"])
    @pytest.mark.parametrize("rule", RULES)
    def test_every_init_and_rule(self, fresh: NewModel, path: Path, init: str, rule: str) -> None:
        ratio: Any = {"keep": 0.4, "scale_fan": True} if hasattr(RULES[rule], "keep") else {}
        config = MaskConfig(seed=8, init=init, rule=rule, scale=1.7, **ratio)
        reloads(masked(fresh("stacks")[0], config), fresh("stacks")[0], path)

    @pytest.mark.parametrize("keep", [1.0, 1, 0.9, 0.05])
    def test_all_and_few_kept(self, fresh: NewModel, path: Path, keep: float) -> None:
        filled = reloads(masked(fresh("images")[0], MaskConfig(keep=keep)), fresh("images")[0], path)
        assert filled.get_parameter("fc.weight").count_nonzero() == round(keep * 12)

    def test_a_scale_that_is_a_whole_number(self, fresh: NewModel, path: Path) -> None:
        reloads(masked(fresh("images")[0], MaskConfig(scale=2)), fresh("images")[0], path)

    def test_a_module_alone(self, path: Path) -> None:
        filled = reloads(masked(nn.Linear(4, 6)), nn.Linear(4, 6), path)
        assert filled.get_parameter("weight").count_nonzero() == 12

    @pytest.mark.parametrize("bits_a_layer", [(3, 5), (1, 2), (8, 2)])
    def test_masks_that_end_within_a_byte(self, path: Path, bits_a_layer: tuple[int, int]) -> None:
        config = MaskConfig(keep=0.6)
        reloads(masked(nn.Sequential(nn.Linear(*bits_a_layer)), config), nn.Sequential(nn.Linear(*bits_a_layer)), path)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision(self, fresh: NewModel, path: Path, dtype: torch.dtype) -> None:
        model = masked(fresh("mixed")[0], configure=embed_left_out, trainable=["embed.weight"]).to(dtype)
        reloads(model, fresh("mixed")[0].to(dtype), path)

    def test_half_precision_from_the_start(self, fresh: NewModel, path: Path) -> None:
        reloads(masked(fresh("tied")[0].half()), fresh("tied")[0].half(), path)

    def test_double_precision_where_no_tensor_is_stored(self, fresh: NewModel, path: Path) -> None:
        reloads(masked(fresh("tied")[0].double()), fresh("tied")[0].double(), path)

    def test_another_memory_format(self, fresh: NewModel, path: Path) -> None:
        model = masked(fresh("images")[0], MaskConfig(init="existing")).to(memory_format=torch.channels_last)
        new = fresh("images")[0].to(memory_format=torch.channels_last)
        reloads(model, new, path)
        assert new.get_parameter("conv.weight").is_contiguous(memory_format=torch.channels_last)

    def test_ties_are_kept(self, fresh: NewModel, path: Path) -> None:
        filled = reloads(masked(fresh("tied")[0]), fresh("tied")[0], path)
        assert filled.head.weight is filled.embed.weight
        assert [mask.name for mask in load_ticket(path).masks] == ["embed", "fc"]

    def test_on_meta(self, fresh: NewModel, path: Path) -> None:
        """The tensors take memory once they are filled; ties hold."""
        model, x = fresh("tied")
        expected = output(masked(model), x)
        with torch.device("meta"):
            new = fresh("tied")[0]
        filled = reloads(model, new, path)
        assert filled.head.weight is filled.embed.weight
        assert isinstance(filled.embed.weight, nn.Parameter)
        assert torch.equal(output(filled, x), expected)

    def test_trained_parameters(self, fresh: NewModel, path: Path) -> None:
        model = masked(fresh("mixed")[0], configure=embed_left_out, trainable=["embed.weight", "fc.bias", "norm.*"])
        reloads(model, fresh("mixed")[0], path)
        dense = load_ticket(path).dense
        assert set(dense) == {
            *("embed.weight", "fc.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"),
            *("slope.weight", "shift"),
        }

    def test_what_says_itself_is_left_out(self, fresh: NewModel, path: Path) -> None:
        """Zero biases and norms at one take no room, and overwrite what the new model holds there."""
        model = fresh("stacks")[0]
        save_ticket(path, masked(model))
        assert not load_ticket(path).dense
        new = fresh("stacks")[0]
        with torch.no_grad():
            new.encoder["layers"][0].norm.weight.fill_(7)
        load_ticket(path).fill_(new)
        assert new.encoder["layers"][0].norm.weight.tolist() == [1, 1, 1, 1]
        assert new.encoder["layers"][0].fc2.bias.tolist() == [0, 0, 0, 0]

    def test_the_sign_of_a_zero_bias(self, path: Path) -> None:
        model = masked(nn.Sequential(nn.Linear(2, 2)))
        with torch.no_grad():
            model[0].bias.copy_(torch.tensor([0.0, -0.0]))
        reloads(model, nn.Sequential(nn.Linear(2, 2)), path)

    def test_existing_weights_are_stored(self, fresh: NewModel, path: Path) -> None:
        model = fresh("tied")[0]
        found = model.embed.weight.detach().clone()
        masked(model, MaskConfig(init="existing"))
        reloads(model, fresh("tied")[0], path)
        stored = {spec.name: weight for spec, weight in load_ticket(path).existing.items()}
        assert set(stored) == {"embed", "fc"}
        assert torch.equal(stored["embed"], found)

    def test_a_filled_model_is_filled_again(self, fresh: NewModel, path: Path) -> None:
        first = Ticket.of(masked(fresh("stacks")[0]))
        second = Ticket.of(masked(fresh("stacks")[0], MaskConfig(seed=4)))
        model = first.fill_(fresh("stacks")[0])
        expected = tensors_of(model)
        assert tensors_of(second.fill_(model)) != expected
        assert tensors_of(first.fill_(model)) == expected

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
    @given(
        shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
        keeps=st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
        rules=st.lists(st.sampled_from(KEEPING), min_size=4, max_size=4),
        seed=st.integers(-(2**70), 2**70),
    )
    def test_any_shapes(
        self, path: Path, shapes: list[tuple[int, int]], keeps: list[float], rules: list[str], seed: int
    ) -> None:
        keeps = [max(keep, 0.6 / math.prod(shape)) for keep, shape in zip(keeps, shapes)]  # one weight at least

        def new() -> nn.Module:
            return nn.ModuleList(nn.Linear(*shape) for shape in shapes)

        def configure(name: str, _: nn.Module) -> MaskConfig:
            return MaskConfig(seed=seed, keep=keeps[int(name)], rule=rules[int(name)])

        reloads(masked(new(), configure=configure), new(), path)
        for mask, keep, shape in zip(load_ticket(path).masks, keeps, shapes):
            if mask.config.rule != "gem_miner":
                assert mask.kept == mask.rule.kept(mask.size) == round(keep * math.prod(shape))
