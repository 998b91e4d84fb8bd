"""Writing tickets: the same bytes each time, and nothing lost where it fails."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from one_layer_lt import MaskConfig, fold_, load_ticket, masked_weight, save_ticket
from tests.support.tickets import NewModel, embed_left_out, masked, tensors_of

ROOT = Path(__file__).resolve().parents[2]


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

    def test_zeros_that_are_not_the_digest_stay(self, fresh: NewModel, path: Path) -> None:
        zeros = {"note": "0" * 64}
        save_ticket(path, masked(fresh("stacks")[0]), architecture=zeros, assets={"zeros": b"0" * 64})
        assert (load_ticket(path).architecture, load_ticket(path).assets) == (zeros, {"zeros": b"0" * 64})

    def test_no_such_folder(self, fresh: NewModel, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            save_ticket(tmp_path / "missing" / "net.ticket", masked(fresh("tied")[0]))

    def test_a_path_as_text(self, fresh: NewModel, path: Path) -> None:
        save_ticket(str(path), masked(fresh("tied")[0]))
        assert len(load_ticket(str(path)).masks) == 2
