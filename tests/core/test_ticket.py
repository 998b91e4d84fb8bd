"""Tickets: the same model again bit for bit, the same bytes each time, and every flaw refused by its name."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import math
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from one_layer_lt import (
    INITS,
    RULES,
    MaskConfig,
    Ticket,
    TicketError,
    TicketSet,
    WeightPool,
    fold_,
    load_ticket,
    mask_,
    masked_modules,
    masked_weight,
    save_ticket,
    scores_of,
)
from one_layer_lt.ticket import ticket as ticket_module
from one_layer_lt.ticket.planes import unpack
from one_layer_lt.ticket.ticket import names_of
from tests.support.signing import Edit, metadata_of, resign, signed, with_digest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["stacks", "tied", "images", "mixed"]
NewModel = Callable[[str], "tuple[nn.Module, Tensor]"]


KEEPING = [name for name, rule in RULES.items() if hasattr(rule, "keep")]


class Mixed(nn.Module):
    """Modules that stay dense beside masked ones: batch norm, an embedding, a PReLU, a parameter of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.fc = nn.Linear(4, 6)
        self.norm, self.slope = nn.BatchNorm1d(6), nn.PReLU(6)
        self.head = nn.Linear(6, 3, bias=False)
        self.shift = nn.Parameter(torch.randn(2, 3))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.slope(self.norm(self.fc(self.embed(tokens))))) + self.shift.sum(0)


@pytest.fixture
def fresh(new_model: NewModel) -> NewModel:
    """kind -> a new model, whose own weights are of no account, and an input for it."""
    return lambda kind: (Mixed(), torch.tensor([0, 4, 2, 2])) if kind == "mixed" else new_model(kind)


def masked(model: nn.Module, config: MaskConfig = MaskConfig(seed=3), **options: Any) -> nn.Module:  # noqa: B008
    """``model`` masked, as after training: its scores, trained parameters and buffers are not what they began as."""
    mask_(model, None if "configure" in options else config, **options)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.copy_(torch.randn(6, generator=generator))
                module.running_var.copy_(torch.rand(6, generator=generator))
    return model


def embed_left_out(name: str, _: nn.Module) -> MaskConfig | None:
    return None if name == "embed" else MaskConfig(seed=3)


def bits(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """All of a tensor: type, shape and bytes, so that zeros differ by their sign."""
    flat = tensor.detach().contiguous().view(-1)
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def tensors_of(model: nn.Module) -> dict[str, Any]:
    """Every parameter and buffer, but for batch norm's count of batches."""
    held = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    return {name: bits(tensor) for name, tensor in held.items() if not name.endswith("num_batches_tracked")}


def output(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(x)
    return found


def reloads(model: nn.Module, new: nn.Module, path: Path) -> nn.Module:
    """Save a masked model, fill ``new`` from the file, and compare it with the folded model."""
    save_ticket(path, model)
    filled = load_ticket(path).fill_(new)
    assert filled is new
    assert tensors_of(filled) == tensors_of(fold_(copy.deepcopy(model)))
    assert not filled.training
    assert not any(parameter.requires_grad for parameter in filled.parameters())
    return filled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.ticket"


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

    @pytest.mark.parametrize("keep", [1.0, 1, 0.9, 1e-9])
    def test_all_and_nothing_kept(self, fresh: NewModel, path: Path, keep: float) -> None:
        filled = reloads(masked(fresh("images")[0], MaskConfig(keep=keep)), fresh("images")[0], path)
        assert filled.get_parameter("fc.weight").count_nonzero() == round(keep * 12)

    def test_a_scale_that_is_a_whole_number(self, fresh: NewModel, path: Path) -> None:
        reloads(masked(fresh("images")[0], MaskConfig(scale=2)), fresh("images")[0], path)

    def test_a_module_alone(self, path: Path) -> None:
        filled = reloads(masked(nn.Linear(4, 6)), nn.Linear(4, 6), path)
        assert filled.get_parameter("weight").count_nonzero() == 12

    @pytest.mark.parametrize("bits_a_layer", [(3, 5), (1, 1), (8, 2)])
    def test_masks_that_end_within_a_byte(self, path: Path, bits_a_layer: tuple[int, int]) -> None:
        reloads(masked(nn.Sequential(nn.Linear(*bits_a_layer))), nn.Sequential(nn.Linear(*bits_a_layer)), path)

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
        def new() -> nn.Module:
            return nn.ModuleList(nn.Linear(*shape) for shape in shapes)

        def configure(name: str, _: nn.Module) -> MaskConfig:
            return MaskConfig(seed=seed, keep=keeps[int(name)], rule=rules[int(name)])

        reloads(masked(new(), configure=configure), new(), path)
        for mask, keep, shape in zip(load_ticket(path).masks, keeps, shapes):
            if mask.config.rule != "gem_miner":
                assert mask.kept == mask.rule.kept(mask.size) == round(keep * math.prod(shape))


class TestContents:
    def test_mask_by_hand(self) -> None:
        """Scores 1, -4, 3, 2, -5, 0 under keep 0.5: the second, third and fifth of six, 2 + 4 + 16."""
        model = mask_(nn.Sequential(nn.Linear(3, 2)), MaskConfig(init="unsigned_constant"))
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.tensor([[1.0, -4.0, 3.0], [2.0, -5.0, 0.0]]))
        (mask,) = Ticket.of(model).masks
        assert [plane.tolist() for plane in mask.planes] == [[22]]
        assert (mask.name, mask.kept, mask.size) == ("0", 3, 6)

    def test_layers_share_one_spec(self, fresh: NewModel) -> None:
        ticket = Ticket.of(masked(fresh("stacks")[0]))
        assert len(ticket.masks) == 10
        assert [spec.name for spec in ticket.weights] == [
            f"{stack}.layers.*.{name}" for stack in ("encoder", "decoder") for name in ("fc1[8x4]", "fc2[4x8]")
        ]

    def test_masks_of_one_rule_and_ratio_are_one_tensor(self, fresh: NewModel, path: Path) -> None:
        def configure(name: str, _: nn.Module) -> MaskConfig:
            return MaskConfig(keep=0.25 if name.startswith("decoder") else 0.5, scale=2.0 if "fc1" in name else 1.0)

        save_ticket(path, masked(fresh("stacks")[0], configure=configure))
        about = metadata_of(path.read_bytes())
        assert about["planes"] == [{"coding": "raw", "size": 24}, {"coding": "raw", "size": 16}]
        assert len(about["configs"]) == 4

    def test_a_bit_a_weight(self, path: Path) -> None:
        """Random masks of 2 * 100 * 200 weights at keep 0.5 are 5,000 bytes, and the rest is small."""
        save_ticket(path, masked(nn.Sequential(nn.Linear(100, 200), nn.Linear(200, 100))))
        assert 5000 < path.stat().st_size < 6500

    def test_saving_returns_what_loading_finds(self, fresh: NewModel, path: Path) -> None:
        config = MaskConfig(seed=-5, keep=0.3, init="existing")
        model = masked(fresh("mixed")[0], config)
        saved = save_ticket(path, model, architecture={"depth": [1, {"a": None}], "ü": 0.5}, assets={"a": b"\0x"})
        found = load_ticket(path)
        assert len(saved.masks) == len(found.masks) == 3
        for one, other in zip(saved.masks, found.masks):
            assert (one.name, one.weight, one.config) == (other.name, other.weight, other.config)
            assert [plane.tolist() for plane in one.planes] == [plane.tolist() for plane in other.planes]
        assert found.architecture == saved.architecture == {"depth": [1, {"a": None}], "ü": 0.5}
        assert found.assets == saved.assets == {"a": b"\0x"}
        for name in ("dense", "existing"):
            stored, loaded = getattr(saved, name), getattr(found, name)
            assert set(stored) == set(loaded)
            assert all(bits(tensor) == bits(loaded[key]) for key, tensor in stored.items())

    @pytest.mark.parametrize("asset", [b"", b"\0", b"\0" * 100_000, bytes(range(256)) * 9, b"alpha 12\n" * 500])
    def test_assets_come_back(self, fresh: NewModel, path: Path, asset: bytes) -> None:
        save_ticket(path, masked(fresh("tied")[0]), assets={"words.txt": asset, "planes.0": b"no clash"})
        assert load_ticket(path).assets == {"words.txt": asset, "planes.0": b"no clash"}
        assert path.stat().st_size < 2500 + len(asset)

    def test_it_stays_as_it_was_taken(self, fresh: NewModel) -> None:
        """Training on does not reach into a ticket that is in memory."""
        model = masked(fresh("mixed")[0], MaskConfig(init="existing"), trainable=["norm.*", "fc.bias"])
        ticket = Ticket.of(model)
        expected = tensors_of(ticket.fill_(fresh("mixed")[0]))
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                tensor.add_(1)
        assert tensors_of(ticket.fill_(fresh("mixed")[0])) == expected

    def test_filling_leaves_the_ticket_alone(self, fresh: NewModel) -> None:
        ticket = Ticket.of(masked(fresh("mixed")[0], MaskConfig(init="existing")))
        expected = tensors_of(ticket.fill_(fresh("mixed")[0]))
        with torch.no_grad():
            for tensor in ticket.fill_(fresh("mixed")[0]).parameters():
                tensor.add_(1)
        assert tensors_of(ticket.fill_(fresh("mixed")[0])) == expected

    def test_a_model_whose_train_returns_nothing(self) -> None:
        """As fairseq's, once it is made for generation."""
        model = nn.Sequential(nn.Linear(2, 2))
        model.train = lambda mode=True: None  # type: ignore[method-assign,assignment]
        assert Ticket.of(masked(nn.Sequential(nn.Linear(2, 2)))).fill_(model) is model

    def test_names(self) -> None:
        assert names_of(["a/x.ticket", Path("b/y.ticket"), "z"]) == ["x", "y", "z"]
        with pytest.raises(ValueError, match="two tickets are called x"):
            names_of(["a/x.ticket", "y.ticket", "b/x.ticket"])


class TestSaving:
    def test_leaves_the_model_as_it_was(self, fresh: NewModel, path: Path) -> None:
        model = masked(fresh("mixed")[0], configure=embed_left_out, trainable=["embed.weight"]).train()
        before = tensors_of(model), [p.requires_grad for p in model.parameters()], [m.training for m in model.modules()]
        identities = [id(tensor) for tensor in [*model.parameters(), *model.buffers()]]
        save_ticket(path, model)
        assert tensors_of(model) == before[0]
        assert [parameter.requires_grad for parameter in model.parameters()] == before[1]
        assert [module.training for module in model.modules()] == before[2]
        assert [id(tensor) for tensor in [*model.parameters(), *model.buffers()]] == identities
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_same_model_same_bytes(self, fresh: NewModel, tmp_path: Path) -> None:
        files = []
        for name in ("a", "b"):
            torch.manual_seed(5)
            save_ticket(tmp_path / name, masked(fresh("mixed")[0], trainable=["norm.*"]), assets={"x": b"1" * 999})
            files.append((tmp_path / name).read_bytes())
        assert files[0] == files[1]
        load_ticket(tmp_path / "a").save(tmp_path / "c")
        assert (tmp_path / "c").read_bytes() == files[0]

    def test_same_bytes_in_another_process(self, tmp_path: Path) -> None:
        program = (
            "from torch import nn; from one_layer_lt import *\n"
            "model = nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 40, bias=False))\n"
            "mask_(model, MaskConfig(seed=2, keep=0.1))\n"
            "save_ticket({!r}, model, architecture=dict(b=1, a=[2.5, None]), assets=dict(z=b'z' * 99, y=b''))\n"
        )
        here, there = str(tmp_path / "here"), str(tmp_path / "there")
        exec(program.format(here), {})
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
        subprocess.run([sys.executable, "-c", program.format(there)], env=environment, check=True)
        assert Path(here).read_bytes() == Path(there).read_bytes()

    def test_nothing_masked(self, fresh: NewModel, path: Path) -> None:
        with pytest.raises(ValueError, match="nothing to save"):
            save_ticket(path, fresh("stacks")[0])
        with pytest.raises(ValueError, match="nothing to save"):
            save_ticket(path, fold_(masked(fresh("stacks")[0])))
        assert not path.exists()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_a_changed_random_weight(self, fresh: NewModel, path: Path, dtype: torch.dtype) -> None:
        model = masked(fresh("images")[0]).to(dtype)
        weight = masked_weight(model.get_submodule("fc")).shared.weight
        weight[1, 2] = torch.nextafter(weight[1, 2], weight.new_tensor(9))
        with pytest.raises(ValueError, match=r"fc\[3x4\] is no longer what its seed gives"):
            save_ticket(path, model)
        assert not path.exists()

    @pytest.mark.parametrize("options", [{}, {"config": MaskConfig(init="existing")}])
    def test_what_a_ticket_cannot_hold(self, fresh: NewModel, path: Path, options: dict[str, Any]) -> None:
        model = masked(fresh("mixed")[0], **options).double()
        with pytest.raises(ValueError, match=r"is torch\.float64, and a ticket holds only torch\.float32"):
            save_ticket(path, model)

    @pytest.mark.parametrize("architecture", [{"a": math.nan}, {"a": {1, 2}}, {"a": b"x"}])
    def test_an_architecture_that_is_no_json(self, fresh: NewModel, path: Path, architecture: dict[str, Any]) -> None:
        with pytest.raises((ValueError, TypeError)):
            save_ticket(path, masked(fresh("tied")[0]), architecture=architecture)
        assert not list(path.parent.iterdir())


class TestWriting:
    """The file is written beside its place and renamed."""

    @pytest.mark.parametrize("function", ["replace", "fsync"])
    def test_a_failure_leaves_the_old_file(
        self, fresh: NewModel, path: Path, monkeypatch: pytest.MonkeyPatch, function: str
    ) -> None:
        save_ticket(path, masked(fresh("tied")[0]))
        old = path.read_bytes()

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, function, fail)
        with pytest.raises(OSError, match="No space left"):
            save_ticket(path, masked(fresh("stacks")[0]))
        assert path.read_bytes() == old
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_it_replaces_the_old_file(self, fresh: NewModel, path: Path) -> None:
        path.write_bytes(b"old")
        path.with_name(path.name + ".part").write_bytes(b"left by a program that was stopped")
        save_ticket(path, masked(fresh("tied")[0]))
        assert load_ticket(path).masks
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_whole_before_it_has_its_name(self, fresh: NewModel, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        renamed: list[int] = []
        rename = os.replace

        def replace(source: Path, target: Path) -> None:
            renamed.append(len(load_ticket(source).masks))
            rename(source, target)

        monkeypatch.setattr(os, "replace", replace)
        save_ticket(path, masked(fresh("tied")[0]))
        assert renamed == [2]

    def test_no_such_folder(self, fresh: NewModel, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            save_ticket(tmp_path / "missing" / "net.ticket", masked(fresh("tied")[0]))

    def test_a_path_as_text(self, fresh: NewModel, path: Path) -> None:
        save_ticket(str(path), masked(fresh("tied")[0]))
        assert len(load_ticket(str(path)).masks) == 2


# Two masks of 0 and 1 over weights of 2 x 3 whose values are all 1 (unsigned_constant, fan 3, scale sqrt(3/2)).
HAND_SCALE = math.sqrt(1.5)
GOLDEN_METADATA = (
    '{"format":"one_layer_lt.ticket","version":1,"digest":"DIGEST","architecture":{"kind":"toy"},'
    '"configs":[{"seed":1,"keep":0.5,"rule":"edge_popup","init":"kaiming_uniform","scale":1.0,"scale_fan":false,'
    '"share":"layer","score_init":"standard"}],'
    '"weights":[{"name":"*[4x3]","shape":[4,3],"init":"kaiming_uniform","seed":1,"scale":1.0,'
    '"digest":"311be344b61427be863fc06463bff84ee6b7f9eb04cf42a4a9e35979070fe5fc"}],'
    '"masks":[{"name":"0","weight":0,"config":0},{"name":"1","weight":0,"config":0}],'
    '"planes":[{"coding":"raw","size":4}],"assets":{"note":{"coding":"raw","size":2}}}'
)
GOLDEN_TENSORS = (
    '"dense.1.bias":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    '"asset.note":{"dtype":"U8","shape":[2],"data_offsets":[16,18]},'
    '"planes.0":{"dtype":"U8","shape":[4],"data_offsets":[18,22]}'
)
GOLDEN_DATA = struct.pack("<4f", 0.5, 0, 0, -2) + b"hi" + bytes([0b00111111, 0b0000, 0b11000000, 0b1111])


class TestFormat:
    """What is written today must be read for ever."""

    def test_golden_bytes(self, path: Path) -> None:
        """The first mask keeps the first six weights of twelve, the second the last six."""
        model = mask_(nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4)), MaskConfig(), trainable=["1.bias"])
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.arange(12.0, 0, -1).view(4, 3))
            scores_of(model[1]).copy_(torch.arange(-1.0, -13, -1).view(4, 3))
            model[1].bias.copy_(torch.tensor([0.5, 0, 0, -2]))
        save_ticket(path, model, architecture={"kind": "toy"}, assets={"note": b"hi"})

        metadata = json.dumps(GOLDEN_METADATA.replace("DIGEST", "0" * 64))
        header = f'{{"__metadata__":{{"ticket":{metadata}}},{GOLDEN_TENSORS}}}'
        header += " " * (-len(header) % 8)
        expected = with_digest(struct.pack("<Q", len(header)) + header.encode() + GOLDEN_DATA)
        assert path.read_bytes() == expected
        assert (
            hashlib.sha256(expected).hexdigest() == "3f98b5f1aef5e31f4e9cbc116c5f92ba61ecaddc429451aa4e1f80c4673d0fbc"
        )

    def test_a_file_made_by_hand(self, path: Path) -> None:
        """Written from the description of the format alone."""
        digest = hashlib.sha256(b"torch.float32(2, 3)" + struct.pack("<6f", *[1] * 6)).hexdigest()
        config = {"seed": 4, "keep": 0.5, "rule": "topk", "init": "unsigned_constant", "scale": HAND_SCALE}
        about = {
            "format": "one_layer_lt.ticket",
            "version": 1,
            "digest": "0" * 64,
            "architecture": {},
            "configs": [config, {**config, "keep": 1 / 3}],
            "weights": [
                {
                    "name": "anything",
                    "shape": [2, 3],
                    "init": "unsigned_constant",
                    "seed": 9,
                    "scale": HAND_SCALE,
                    "digest": digest,
                }
            ],
            "masks": [
                {"name": "a", "weight": 0, "config": 0},
                {"name": "b", "weight": 0, "config": 1},
                {"name": "c", "weight": 0, "config": 0},
            ],
            "planes": [{"coding": "raw", "size": 2}, {"coding": "raw", "size": 1}],
            "assets": {"note": {"coding": "raw", "size": 3}},
        }
        tensors = {
            "planes.0": torch.tensor([0b010101, 0b111000], dtype=torch.uint8),
            "planes.1": torch.tensor([0b100001], dtype=torch.uint8),
            "asset.note": torch.tensor([97, 98, 99], dtype=torch.uint8),
            "dense.b.bias": torch.tensor([5, -1.5]).half(),
        }
        path.write_bytes(signed(about, tensors))
        ticket = load_ticket(path)
        assert ticket.assets == {"note": b"abc"}
        assert ticket.masks[1].config == MaskConfig(4, 1 / 3, "topk", "unsigned_constant", HAND_SCALE)

        model = ticket.fill_(nn.ModuleDict({name: nn.Linear(3, 2) for name in "abc"}))
        assert model["a"].weight.tolist() == [[1, 0, 1], [0, 1, 0]]
        assert model["b"].weight.tolist() == [[1, 0, 0], [0, 0, 1]]
        assert model["c"].weight.tolist() == [[0, 0, 0], [1, 1, 1]]
        assert model["a"].bias.tolist() == [0, 0]
        assert model["b"].bias.tolist() == [5, -1.5]

    def test_its_digest_is_of_the_file_with_zeros(self, fresh: NewModel, path: Path) -> None:
        save_ticket(path, masked(fresh("tied")[0]))
        raw = path.read_bytes()
        digest = metadata_of(raw)["digest"]
        assert raw.count(digest.encode()) == 1
        assert hashlib.sha256(raw.replace(digest.encode(), b"0" * 64)).hexdigest() == digest

    def test_re_signed_as_it_was(self, fresh: NewModel, path: Path) -> None:
        """The tests' own way of signing is the format's."""
        save_ticket(path, masked(fresh("mixed")[0]), assets={"x": b"abc"})
        expected = tensors_of(load_ticket(path).fill_(fresh("mixed")[0]))
        resign(path, lambda about, tensors: None)
        assert tensors_of(load_ticket(path).fill_(fresh("mixed")[0])) == expected


def _set(*where: Any) -> Edit:
    """An edit of the metadata: the path to an entry, and its new value."""
    *path, last, value = where

    def edit(about: dict[str, Any], _: dict[str, Tensor]) -> None:
        entry: Any = about
        for step in path:
            entry = entry[step]
        entry[last] = value

    return edit


def _drop(*where: Any) -> Edit:
    def edit(about: dict[str, Any], _: dict[str, Tensor]) -> None:
        entry: Any = about
        for step in where[:-1]:
            entry = entry[step]
        del entry[where[-1]]

    return edit


def _all(*edits: Edit) -> Edit:
    def edit(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        for each in edits:
            each(about, tensors)

    return edit


def _tensor(name: str, tensor: Tensor | None) -> Edit:
    """An edit of the tensors: another one of that name, or none."""

    def edit(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor

    return edit


def _append(key: str, value: Any) -> Edit:
    return lambda about, _: about[key].append(value)


def _raw(text: str) -> Edit:
    """Metadata of these very characters."""
    return lambda about, tensors: text


def _instead(old: str, new: str) -> Edit:
    """Replace text within the metadata as it is written."""

    def edit(about: dict[str, Any], _: dict[str, Tensor]) -> str:
        text = json.dumps({**about, "digest": "0" * 64})
        assert old in text
        return text.replace(old, new, 1)

    return edit


def bytes_of(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)


BOMB = torch.frombuffer(bytearray(zlib.compress(b"\0" * (1 << 20))[2:-4]), dtype=torch.uint8)
WEIGHT = {"name": "w[2x4]", "shape": [2, 4], "init": "kaiming_uniform", "seed": 3, "scale": 1.0, "digest": "x"}
NESTED = "[" * 100_000 + "]" * 100_000
# Of flaw_file(): masks a and b of 2 x 4 (keep 0.5), c of 3 x 3 (keep 1/3), an existing weight, an asset, a tensor.
FLAWS: dict[str, tuple[Edit, str]] = {
    "too few kept": (_tensor("planes.0", bytes_of(0b00000111, 0b1111)), r"mask of a keeps 3 of 8 weights, not 4"),
    "too many kept": (_tensor("planes.0", bytes_of(0b1111, 0b11111000)), r"mask of b keeps 5 of 8 weights, not 4"),
    "another keep": (_all(_set("configs", 0, "keep", 0.25)), r"mask of a keeps 4 of 8 weights, not 2"),
    "padding bits": (_tensor("planes.1", bytes_of(0b111, 0b10)), r"mask of c has bits after its end"),
    "padding bits instead of bits": (_tensor("planes.1", bytes_of(0b11, 0b10)), r"mask of c has bits after its end"),
    "longer planes": (_tensor("planes.0", bytes_of(15, 15, 0)), r"planes.0 holds 3 bytes, not 2"),
    "shorter planes": (_tensor("planes.0", bytes_of(15)), r"planes.0 holds 1 bytes, not 2"),
    "planes of another size": (_set("planes", 0, "size", 3), r"planes.0 is of 3 bytes, but its masks take 2"),
    "longer planes, said so": (
        _all(_set("planes", 0, "size", 3), _tensor("planes.0", bytes_of(15, 15, 0))),
        r"planes.0 is of 3 bytes, but its masks take 2",
    ),
    "a negative size": (_set("planes", 0, "size", -1), r"planes.0 has the size -1"),
    "a size that is no integer": (_set("planes", 0, "size", 2.0), r"planes.0 has the size 2.0"),
    "a size that is true": (_set("planes", 0, "size", True), r"planes.0 has the size True"),
    "a huge size": (_set("planes", 0, "size", 1 << 99), r"planes.0 is of \d+ bytes, but its masks take 2"),
    "an unknown coding": (_set("planes", 0, "coding", "zip"), r"planes.0 unknown coding 'zip'"),
    "a coding that is no text": (_set("planes", 0, "coding", ["raw"]), r"a coding must be a string"),
    "a coding without its size": (_drop("planes", 0, "size"), r"coding of planes.0 must be an object of coding, size"),
    "a stream that is none": (_set("planes", 0, "coding", "deflate"), r"planes.0 (damaged deflate|does not hold)"),
    "a coding too many": (_append("planes", {"coding": "raw", "size": 1}), r"lacks the tensor planes.2"),
    "planes too many": (
        _all(_append("planes", {"coding": "raw", "size": 1}), _tensor("planes.2", bytes_of(1))),
        r"has 3 tensors of planes, but its masks make 2",
    ),
    "planes too few": (
        _all(_drop("planes", 1), _tensor("planes.1", None)),
        r"has 1 tensors of planes, but its masks make 2",
    ),
    "planes of another type": (_tensor("planes.0", torch.tensor([15, 15]).short()), r"planes.0 must be a row of bytes"),
    "planes of another shape": (_tensor("planes.0", bytes_of(15, 15).view(2, 1)), r"planes.0 must be a row of bytes"),
    "missing planes": (_tensor("planes.1", None), r"lacks the tensor planes.1"),
    "an unknown rule": (_set("configs", 0, "rule", "best"), r"unknown rule 'best'; choose one of: edge_popup, topk"),
    "a rule that is no text": (_set("configs", 0, "rule", {}), r"unknown rule"),
    "an unknown init of a config": (_set("configs", 0, "init", "zeros"), r"unknown init 'zeros'"),
    "an unknown init of a weight": (_set("weights", 0, "init", "zeros"), r"unknown init 'zeros'; known are kaiming_u"),
    "an init that is no text": (_set("weights", 0, "init", []), r"unknown init \[\]"),
    "an unknown setting": (_set("configs", 0, "scheme", 1), r"a config has scheme, which this version does not know"),
    "a config that is no object": (_set("configs", 0, 7), r"a config must be an object, not 7"),
    "keep above one": (_set("configs", 0, "keep", 1.5), r"keep must be in \(0, 1\], not 1.5"),
    "keep not a number": (_set("configs", 0, "keep", math.nan), r"keep must be in \(0, 1\], not nan"),
    "keep as text": (_set("configs", 0, "keep", "0.5"), r"keep must be in \(0, 1\], not '0.5'"),
    "keep without bounds": (_instead('"keep": 0.5', '"keep": 1e999'), r"keep must be in \(0, 1\], not inf"),
    "a scale beyond floats": (_set("configs", 0, "scale", 10**400), r"too large to convert"),
    "a scale of zero": (_set("configs", 0, "scale", 0), r"scale must be a positive number"),
    "a seed that is no integer": (_set("configs", 0, "seed", 1.0), r"seed must be an integer, not 1.0"),
    "another version": (_set("version", 2), r"format version 2; this program reads version 1"),
    "an old version": (_set("version", 0), r"format version 0"),
    "a version that is no integer": (_set("version", 1.0), r"format version 1.0"),
    "a version that is true": (_set("version", True), r"format version True"),
    "no version": (_drop("version"), r"format version None"),
    "another format": (_set("format", "net"), r"a safetensors file, but no ticket"),
    "an entry too many": (_set("author", "me"), r"its metadata must have just architecture, assets, configs, digest"),
    "an entry too few": (_drop("assets"), r"its metadata must have just"),
    "metadata that is a list": (_raw("[]"), r"a safetensors file, but no ticket"),
    "metadata that is empty": (_raw(""), r"its metadata is no JSON"),
    "metadata that is no JSON": (_raw("{'format': 1}"), r"its metadata is no JSON"),
    "metadata that is cut": (_instead("]", ""), r"its metadata is no JSON"),
    "deep nesting": (_raw(NESTED), r"its metadata is no JSON"),
    "deep nesting within": (_instead('"size": 2', f'"size": {NESTED}'), r"its metadata is no JSON"),
    "nesting that can just be read": (
        _set("planes", 0, "size", json.loads("[" * 200 + "]" * 200)),
        r"nested more than",
    ),
    "a number of a million digits": (_instead('"size": 2', '"size": ' + "9" * 10**6), r"its metadata is no JSON"),
    "text that is no Unicode": (_instead('"name": "a"', r'"name": "\ud800"'), r"its metadata is no JSON"),
    "a random weight's name that is no Unicode": (_instead('"name": "a[', r'"name": "\ud800['), r"metadata is no JSON"),
    "a digest that is no Unicode": (_instead("0" * 64, "\\ud800" * 64), r"its metadata is no JSON"),
    "a digest that is no text": (_instead('"' + "0" * 64 + '"', "1"), r"digest must be a string"),
    "a digest that is empty": (_instead("0" * 64, ""), r"damaged"),
    "a digest of another length": (_instead("0" * 64, "0" * 63), r"damaged"),
    "a missing tensor": (_tensor("asset.words", None), r"lacks the tensor asset.words"),
    "an asset not listed": (_drop("assets", "words"), r"holds the tensor asset.words, which belongs to no ticket"),
    "an asset of another type": (_tensor("asset.words", torch.zeros(5)), r"asset.words must be a row of bytes"),
    "a longer asset": (_set("assets", "words", "size", 4), r"asset.words holds 5 bytes, not 4"),
    "assets that are a list": (_set("assets", []), r"assets must be an object"),
    "a tensor too many": (_tensor("extra", torch.zeros(1)), r"holds the tensor extra, which belongs to no ticket"),
    "a tensor without a name": (_tensor("", torch.zeros(1)), r"holds the tensor , which belongs to no ticket"),
    "integers": (_tensor("dense.x", torch.zeros(3).int()), r"holds the tensor dense.x, which belongs to no ticket"),
    "doubles": (_tensor("dense.x", torch.zeros(3).double()), r"holds the tensor dense.x, which belongs to no ticket"),
    "a weight that is drawn": (_tensor("weight.0", torch.zeros(2, 4)), r"holds the tensor weight.0, which belongs"),
    "a missing weight": (_tensor("weight.2", None), r"lacks the tensor weight.2"),
    "a weight of another shape": (
        _tensor("weight.2", torch.zeros(4, 2)),
        r"weight.2 must be float32 of shape \[3, 3\]",
    ),
    "a weight of another type": (_tensor("weight.2", torch.zeros(3, 3).half()), r"weight.2 must be float32 of shape"),
    "another weight": (_tensor("weight.2", torch.ones(3, 3)), r"weight.2 does not have the digest of c"),
    "another digest of a weight": (_set("weights", 2, "digest", "0" * 64), r"weight.2 does not have the digest of c"),
    "a mask's weight out of range": (_set("masks", 0, "weight", 3), r"a mask names weight 3, and there are 3"),
    "a mask's weight below zero": (_set("masks", 0, "weight", -1), r"a mask names weight -1, and there are 3"),
    "a mask's config out of range": (_set("masks", 0, "config", 99), r"a mask names config 99, and there are 2"),
    "an index that is true": (_set("masks", 0, "config", False), r"a mask names config False"),
    "an index that is no integer": (_set("masks", 0, "config", 0.0), r"a mask names config 0.0"),
    "a mask without a config": (_drop("masks", 0, "config"), r"a mask must be an object of config, name, weight"),
    "a mask with more": (_set("masks", 0, "bits", 1), r"a mask must be an object of config, name, weight"),
    "a mask's name that is no text": (_set("masks", 0, "name", 0), r"a mask's name must be a string, not 0"),
    "a mask twice": (_set("masks", 0, "name", "b"), r"must have masks, each of another module"),
    "no masks": (_set("masks", []), r"must have masks"),
    "masks that are an object": (_set("masks", {}), r"masks must be a list"),
    "a weight that no mask uses": (_append("weights", WEIGHT), r"lists a random weight twice, or one that no mask"),
    "a weight twice": (
        _all(lambda about, _: about["weights"].append(about["weights"][0]), _set("masks", 0, "weight", 3)),
        r"lists a random weight twice",
    ),
    "a weight of one dimension": (_set("weights", 0, "shape", [8]), r"\[8\] is not a weight's shape"),
    "a weight of nine dimensions": (_set("weights", 0, "shape", [1] * 9), r"is not a weight's shape"),
    "a weight of no size": (_set("weights", 0, "shape", [0, 4]), r"\[0, 4\] is not a weight's shape"),
    "a weight of a negative size": (_set("weights", 0, "shape", [-2, -4]), r"\[-2, -4\] is not a weight's shape"),
    "a size as text": (_set("weights", 0, "shape", ["2", 4]), r"is not a weight's shape"),
    "a size that is true, of a weight": (_set("weights", 0, "shape", [True, 4]), r"is not a weight's shape"),
    "a shape that is no list": (_set("weights", 0, "shape", 8), r"a shape must be a list, not 8"),
    "a huge shape": (_set("weights", 0, "shape", [2**31 - 1] * 8), r"planes.0 is of 2 bytes, but its masks take"),
    "a huge shape, said so": (
        _all(_set("weights", 0, "shape", [2**20, 2**20]), _set("planes", 0, "size", 2**37 + 1)),
        r"planes.0 holds 2 bytes, not 137,438,953,473",
    ),
    "a huge shape, compressed": (
        _all(
            _set("weights", 0, "shape", [2**20, 2**20]),
            _set("planes", 0, {"coding": "deflate", "size": 2**37 + 1}),
        ),
        r"planes.0 2 bytes cannot hold 137,438,953,473",
    ),
    "a bomb": (
        _all(_set("assets", "words", {"coding": "deflate", "size": 1 << 20}), _tensor("asset.words", BOMB)),
        r"asset.words [\d,]+ bytes cannot hold 1,048,576",
    ),
    "a bomb that claims little": (
        _all(_set("assets", "words", {"coding": "deflate", "size": 9000}), _tensor("asset.words", BOMB)),
        r"asset.words does not hold just 9,000 bytes",
    ),
    "a random weight's seed as text": (_set("weights", 0, "seed", "3"), r"cannot have the seed '3'"),
    "a random weight's scale as an integer": (
        _set("weights", 0, "scale", 1),
        r"cannot have the seed 3 and the scale 1",
    ),
    "a random weight's scale not a number": (_set("weights", 0, "scale", math.nan), r"the scale nan"),
    "a random weight's scale below zero": (_set("weights", 0, "scale", -1.0), r"the scale -1.0"),
    "a random weight without a name": (_set("weights", 0, "name", None), r"a random weight's name must be a string"),
    "a random weight without a digest": (_drop("weights", 0, "digest"), r"a random weight must be an object of"),
    "an architecture that is a list": (_set("architecture", []), r"architecture must be an object"),
}


def three() -> nn.ModuleDict:
    return nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2), "c": nn.Linear(3, 3)})


@pytest.fixture
def flaw_file(path: Path) -> Path:
    """A small ticket to put flaws into."""

    def configure(name: str, _: nn.Module) -> MaskConfig:
        return MaskConfig(seed=3) if name != "c" else MaskConfig(init="existing", keep=1 / 3)

    model = masked(three(), configure=configure, trainable=["b.bias"])
    save_ticket(path, model, assets={"words": b"abcde"})
    return path


class TestFlaws:
    """Each in a file whose digest is right, as one made by a stranger would be."""

    def test_without_any(self, flaw_file: Path) -> None:
        ticket = load_ticket(resign(flaw_file, lambda about, tensors: None))
        assert [(mask.name, mask.kept) for mask in ticket.masks] == [("a", 4), ("b", 4), ("c", 3)]
        ticket.fill_(three())

    @pytest.mark.parametrize("flaw", FLAWS)
    def test_is_named(self, flaw_file: Path, flaw: str) -> None:
        edit, message = FLAWS[flaw]
        with pytest.raises(TicketError, match=message) as raised:
            load_ticket(resign(flaw_file, edit))
        said = str(raised.value)
        assert said.startswith(str(flaw_file))
        assert len(said) < len(str(flaw_file)) + 500
        assert "\n" not in said

    def test_without_its_digest(self, flaw_file: Path) -> None:
        raw = flaw_file.read_bytes()
        flaw_file.write_bytes(raw.replace(b"edge_popup", b"edge_poqup", 1))
        with pytest.raises(TicketError, match="damaged: its bytes do not have the digest that it names"):
            load_ticket(flaw_file)
        flaw_file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        with pytest.raises(TicketError, match="damaged"):
            load_ticket(flaw_file)

    def test_a_tensor_twice(self, flaw_file: Path) -> None:
        """Two entries of one name in the header: safetensors' own reader must not take the last and go on."""
        raw = flaw_file.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header = raw[8 : 8 + length].rstrip()[:-1] + b',"planes.1":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
        header += b" " * (-len(header) % 8)
        digest = metadata_of(raw)["digest"].encode()
        forged = struct.pack("<Q", len(header)) + header.replace(digest, b"0" * 64) + raw[8 + length :]
        flaw_file.write_bytes(with_digest(forged))
        with pytest.raises(TicketError):
            load_ticket(flaw_file)

    def test_no_safetensors_file(self, path: Path) -> None:
        for content in (b"", b"{}", b"PK\x03\x04" * 50, b"\xff" * 8, struct.pack("<Q", 1 << 40), bytes(8) + b"{}"):
            path.write_bytes(content)
            with pytest.raises(TicketError, match="not a whole safetensors file"):
                load_ticket(path)

    @pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"ticket": "{}"}, {"ticket": "{}", "more": ""}])
    def test_no_ticket(self, path: Path, metadata: dict[str, str] | None) -> None:
        path.write_bytes(save({"weight": torch.zeros(2)}, metadata))
        with pytest.raises(TicketError, match="a safetensors file, but no ticket"):
            load_ticket(path)

    def test_more_metadata_than_its_own(self, flaw_file: Path) -> None:
        about = {**metadata_of(flaw_file.read_bytes()), "digest": "0" * 64}
        flaw_file.write_bytes(with_digest(save({}, {"ticket": json.dumps(about), "hidden": "x"})))
        with pytest.raises(TicketError, match="no ticket"):
            load_ticket(flaw_file)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            load_ticket(tmp_path / "missing.ticket")
        with pytest.raises(OSError, match="directory"):
            load_ticket(tmp_path)

    def test_a_torch_checkpoint(self, path: Path) -> None:
        held = io.BytesIO()
        torch.save({"model": torch.zeros(3)}, held)
        path.write_bytes(held.getvalue())
        with pytest.raises(TicketError, match="not a whole safetensors file"):
            load_ticket(path)


class TestFilling:
    """A ticket and a model that do not belong together."""

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (lambda: nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)}), r"holds c.weight, which the model"),
            (
                lambda: nn.ModuleDict({**three(), "c": nn.Linear(4, 3)}),
                r"c.weight has shape \[3, 3\], the model's \[3, 4\]",
            ),
            (lambda: nn.ModuleDict({**three(), "d": nn.Linear(1, 1)}), r"lacks d.weight, which the model has"),
            (lambda: nn.ModuleDict({**three(), "n": nn.BatchNorm1d(2)}), r"lacks n.running_mean, which the model has"),
            (
                lambda: nn.ModuleDict({**three(), "b": nn.Linear(4, 2, bias=False)}),
                r"holds b.bias, which the model does",
            ),
            (
                lambda: nn.ModuleDict({**three(), "b": nn.Linear(4, 3)}),
                r"b.weight has shape \[2, 4\], the model's \[3, 4\]",
            ),
            (lambda: masked(three()), r"holds a.weight, which the model does not have"),
            (nn.Identity, r"holds a.weight, which the model does not have"),
        ],
    )
    def test_another_model(self, flaw_file: Path, other: Callable[[], nn.Module], message: str) -> None:
        model = other()
        before = {name: bits(tensor) for name, tensor in model.state_dict().items()}
        with pytest.raises(TicketError, match=message):
            load_ticket(flaw_file).fill_(model)
        assert {name: bits(tensor) for name, tensor in model.state_dict().items()} == before

    def test_ties_the_ticket_does_not_have(self, fresh: NewModel) -> None:
        ticket = Ticket.of(
            masked(nn.ModuleDict({"embed": nn.Embedding(7, 4), "fc": nn.Linear(4, 4), "head": nn.Linear(4, 7)}))
        )
        with pytest.raises(TicketError, match=r"holds head.weight, which the model does not have"):
            ticket.fill_(fresh("tied")[0])

    def test_a_weight_under_a_mask_and_dense(self, flaw_file: Path) -> None:
        ticket = load_ticket(resign(flaw_file, _tensor("dense.a.weight", torch.zeros(2, 4))))
        with pytest.raises(TicketError, match=r"holds a\.weight twice"):
            ticket.fill_(three())

    @pytest.mark.parametrize(("key", "value"), [("seed", 4), ("name", "b"), ("scale", 2.0), ("init", "kaiming_normal")])
    def test_a_random_weight_that_comes_out_otherwise(self, flaw_file: Path, key: str, value: Any) -> None:
        ticket, model = load_ticket(resign(flaw_file, _set("weights", 0, key, value))), three()
        before = tensors_of(model)
        with pytest.raises(
            TicketError, match=r"the random weight .* does not come out as it was \(digest [0-9a-f]{12}"
        ):
            ticket.fill_(model)
        assert tensors_of(model) == before

    def test_a_digest_is_checked_though_the_pool_holds_the_weight(self, flaw_file: Path) -> None:
        pool = WeightPool()
        load_ticket(flaw_file).fill_(three(), pool)
        forged = load_ticket(resign(flaw_file, _set("weights", 0, "digest", "0" * 64)))
        with pytest.raises(TicketError, match="does not come out as it was"):
            forged.fill_(three(), pool)

    def test_a_huge_weight_is_not_drawn_for_a_small_model(
        self, flaw_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """2**27 weights, none kept, in a stream that is just small enough: shapes are compared first."""
        packed = b"\0" * (2**24 + 1)
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
        stream = coder.compress(packed) + coder.flush()
        edit = _all(
            _set("weights", 0, "shape", [2**14, 2**13]),
            _set("masks", [{"name": "a", "weight": 0, "config": 0}, {"name": "c", "weight": 1, "config": 1}]),
            lambda about, tensors: about["weights"].pop(1),
            lambda about, tensors: tensors.update({"weight.1": tensors.pop("weight.2")}),
            _set("configs", 0, "keep", 1e-12),
            _set("planes", 0, {"coding": "deflate", "size": 2**24}),
            _tensor("planes.0", torch.frombuffer(bytearray(stream), dtype=torch.uint8)),
        )
        with pytest.raises(TicketError, match="does not hold just 16,777,216 bytes"):
            load_ticket(resign(flaw_file, edit))
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
        stream = coder.compress(packed[1:]) + coder.flush()
        resign(flaw_file, _tensor("planes.0", torch.frombuffer(bytearray(stream), dtype=torch.uint8)))
        monkeypatch.setattr("one_layer_lt.ticket.parts.SharedWeight", None)
        with pytest.raises(TicketError, match=r"a.weight has shape \[16384, 8192\], the model's \[2, 4\]"):
            load_ticket(flaw_file).fill_(three())


class TestArchitecture:
    def test_without_one(self, flaw_file: Path) -> None:
        for use in (Ticket.model, Ticket.skeleton, Ticket.translator):
            with pytest.raises(TicketError, match="does not say how to build its model"):
                use(load_ticket(flaw_file))

    @pytest.mark.parametrize("kind", ["os", "", 7, ["fairseq_transformer"], {}, "fairseq_plugins.ticket"])
    def test_an_unknown_one(self, flaw_file: Path, kind: Any) -> None:
        ticket = load_ticket(resign(flaw_file, _set("architecture", "kind", kind)))
        with pytest.raises(TicketError, match=r"unknown architecture .*; known are fairseq_transformer"):
            ticket.model()

    def test_one_that_is_not_installed(self, flaw_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(ticket_module.ARCHITECTURES, "toy", "no_such_package.ticket")
        ticket = load_ticket(resign(flaw_file, _set("architecture", "kind", "toy")))
        with pytest.raises(TicketError, match="needs no_such_package, which is not installed"):
            ticket.model()


class TestSharing:
    def test_tickets_of_one_seed_share_one_weight(self, fresh: NewModel) -> None:
        tickets = [Ticket.of(masked(fresh("stacks")[0], MaskConfig(seed=3, keep=keep))) for keep in (0.5, 0.25)]
        pool = WeightPool()
        for ticket in tickets:
            ticket.fill_(fresh("stacks")[0], pool)
        first, second = ([pool.get(spec).data_ptr() for spec in ticket.weights] for ticket in tickets)
        assert first == second
        assert len(pool) == 4
        assert pool.nbytes == 4 * 4 * 32

    def test_weights_are_drawn_once(self, fresh: NewModel, monkeypatch: pytest.MonkeyPatch) -> None:
        tickets = [Ticket.of(masked(fresh("stacks")[0], MaskConfig(keep=keep))) for keep in (0.5, 0.25)]
        drawn: list[str] = []
        make = ticket_module.WeightPool.get.__globals__["SharedWeight"]

        def counting(*args: Any, **options: Any) -> Any:
            drawn.append(options["name"])
            return make(*args, **options)

        monkeypatch.setattr("one_layer_lt.ticket.parts.SharedWeight", counting)
        pool = WeightPool()
        for _ in range(2):
            for ticket in tickets:
                ticket.fill_(fresh("stacks")[0], pool)
        assert len(drawn) == len(set(drawn)) == 4

    @pytest.mark.parametrize("other", [{"seed": 4}, {"init": "kaiming_normal"}, {"scale": 2.0}, {"share": "none"}])
    def test_others_do_not_share(self, fresh: NewModel, other: dict[str, Any]) -> None:
        pool = WeightPool()
        specs = [
            Ticket.of(masked(fresh("stacks")[0], config)).weights[0] for config in (MaskConfig(), MaskConfig(**other))
        ]
        assert pool.get(specs[0]).data_ptr() != pool.get(specs[1]).data_ptr()
        assert len(pool) == 2
        if other != {"share": "none"}:
            assert not torch.equal(pool.get(specs[0]), pool.get(specs[1]))

    def test_a_model_has_its_own_tensors(self, fresh: NewModel) -> None:
        """Changing a filled model does not change what the pool holds."""
        pool = WeightPool()
        ticket = Ticket.of(masked(fresh("tied")[0], MaskConfig(keep=1.0)))
        model = ticket.fill_(fresh("tied")[0], pool)
        expected = tensors_of(model)
        with torch.no_grad():
            model.get_parameter("fc.weight").zero_()
        assert tensors_of(ticket.fill_(fresh("tied")[0], pool)) == expected


class Toy:
    """An architecture for tests: stacks, or stacks with a head."""

    built = 0

    @classmethod
    def build(cls, ticket: Ticket) -> nn.Module:
        cls.built += 1
        with torch.device("meta"):
            return nn.Sequential(*(nn.Linear(4, 4) for _ in range(ticket.architecture["layers"])))

    @staticmethod
    def translator(ticket: Ticket, engine: str, quantization: str | None, model: nn.Module | None) -> Any:
        return engine, quantization, model


class TestTicketSet:
    @pytest.fixture(autouse=True)
    def _toy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(ticket_module.ARCHITECTURES, "toy", "toy")
        monkeypatch.setattr(ticket_module, "import_module", lambda name: Toy)
        monkeypatch.setattr(Toy, "built", 0)

    @staticmethod
    def ticket(layers: int = 2, **config: Any) -> Ticket:
        model = masked(nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers))), MaskConfig(**config))
        return Ticket.of(model, {"kind": "toy", "layers": layers})

    def test_back_and_forth(self) -> None:
        tickets = {"a": self.ticket(keep=0.5), "b": self.ticket(keep=0.25), "c": self.ticket(seed=2)}
        expected = {name: tensors_of(ticket.model()) for name, ticket in tickets.items()}
        assert expected["a"] != expected["b"] != expected["c"]
        tried = TicketSet(tickets)
        for name in "abcacbbaa":
            assert tensors_of(tried.model(name)) == expected[name]
        assert len({id(tried.model(name)) for name in "abc"}) == 1
        assert len(tried.pool) == 2  # of seeds 1 and 2; the layers of each share one

    def test_one_dense_model(self) -> None:
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(keep=0.3)})
        places = [tried.model(name)[0].weight.data_ptr() for name in "abab"]
        assert len(set(places)) == 1
        assert Toy.built == 1

    def test_another_architecture_has_a_model_of_its_own(self) -> None:
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(layers=3)})
        assert (len(tried.model("a")), len(tried.model("b")), Toy.built) == (2, 3, 2)
        assert len(tried.pool) == 1

    def test_translators(self) -> None:
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(keep=0.3)})
        engine, quantization, model = tried.use("a")
        assert (engine, quantization) == ("torch", None)
        assert model is tried.model("a")
        assert tried.use("a") is tried.use("a")
        tried.use("b")
        assert tensors_of(model) == tensors_of(tried.tickets["b"].model())
        tried.use("a")
        assert tensors_of(model) == tensors_of(tried.tickets["a"].model())

    def test_another_engine_is_made_once(self) -> None:
        tried = TicketSet({"a": self.ticket()}, engine="ctranslate2", quantization="int8")
        assert tried.use("a") == ("ctranslate2", "int8", None)
        assert tried.use("a") is tried.use("a")

    def test_after_a_ticket_that_cannot_be_filled(self) -> None:
        """The model then holds no ticket, and the next use fills it."""
        good = self.ticket()
        bad = Ticket(**{**vars(self.ticket()), "masks": tuple(forged(mask) for mask in self.ticket(keep=0.3).masks)})
        tried = TicketSet({"good": good, "bad": bad})
        expected = tensors_of(tried.model("good"))
        with pytest.raises(TicketError, match="does not come out as it was"):
            tried.model("bad")
        assert tensors_of(tried.model("good")) == expected

    def test_after_filling_was_interrupted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The model is then half of each, and no ticket's until it is filled anew."""
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(seed=2)})
        expected = tensors_of(tried.model("a"))
        fill_one = ticket_module.fill_.__globals__["_effective_"]

        def interrupted(out: Tensor, mask: Any, weight: Tensor) -> None:
            fill_one(out, mask, weight)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("one_layer_lt.ticket.fill._effective_", interrupted)
            with pytest.raises(KeyboardInterrupt):
                tried.model("b")
        assert tensors_of(tried.model("a")) == expected

    def test_filled_only_where_another_was_in_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        filled: list[int] = []
        fill = Ticket.fill_
        monkeypatch.setattr(Ticket, "fill_", lambda self, *rest: filled.append(id(self)) or fill(self, *rest))
        tried = TicketSet({"a": self.ticket(), "b": self.ticket(keep=0.3), "c": self.ticket(layers=1)})
        for name in "aacbca":
            tried.model(name)
        assert [next(name for name, ticket in tried.tickets.items() if id(ticket) == each) for each in filled] == [
            *("a", "c", "b", "a")
        ]

    def test_no_such_ticket(self) -> None:
        with pytest.raises(KeyError, match="missing"):
            TicketSet({}).model("missing")


def forged(mask: Any) -> Any:
    """A mask over a random weight that nothing gives."""
    weight = type(mask.weight)(**{**asdict(mask.weight), "shape": mask.weight.shape, "digest": "0" * 64})
    return type(mask)(mask.name, weight, mask.config, mask.planes)


def test_planes_are_the_masks(new_model: NewModel) -> None:
    model = masked(new_model("stacks")[0])
    planes = {mask.name: unpack(mask.planes[0], mask.size) for mask in Ticket.of(model).masks}
    for name, module in masked_modules(model):
        assert np.array_equal(planes[name], masked_weight(module).mask(scores_of(module)).detach().view(-1))
