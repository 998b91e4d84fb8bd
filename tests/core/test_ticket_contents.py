"""What a ticket holds of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, Ticket, load_ticket, mask_, masked_modules, masked_weight, save_ticket, scores_of
from one_layer_lt.ticket.planes import unpack
from one_layer_lt.ticket.ticket import names_of
from tests.support.signing import metadata_of
from tests.support.tickets import NewModel, bits, masked, tensors_of


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


def test_planes_are_the_masks(new_model: NewModel) -> None:
    model = masked(new_model("stacks")[0])
    planes = {mask.name: unpack(mask.planes[0], mask.size) for mask in Ticket.of(model).masks}
    for name, module in masked_modules(model):
        assert np.array_equal(planes[name], masked_weight(module).mask(scores_of(module)).detach().view(-1))
