"""one-layer-lt prune: rounds of a few updates, in this process but for one run of the command."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
import torch
from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import generate
from fairseq_cli import train as fairseq_train

from fairseq_plugins import training
from fairseq_plugins.commands import prune
from one_layer_lt.cli import main
from one_layer_lt.errors import UserError
from one_layer_lt.pruning import count_kept, pruned_modules, pruned_weight
from one_layer_lt.selection import kept_count
from one_layer_lt.trained import trained_weight
from tests.plugin import conftest as toy
from tests.plugin.running import PLUGIN, batch, build, load_model, load_state, train, train_arguments

ROOT = Path(__file__).resolve().parents[2]
ORIGINAL = ".parametrizations.weight.original"
UPDATES, REWIND = 6, 2
SMALL = ["--encoder-layers", "1", "--decoder-layers", "1", "--no-epoch-checkpoints"]
corpus = toy.corpus

Keeping = Optional[tuple[int, Path]]
States = list[dict[str, Any]]
Train = Callable[[Sequence[str], Keeping, Path], None]


def stand_in(states: States) -> Train:
    """fairseq-train in this process. Adds to ``states`` what each training finds in its folder, {} for nothing."""

    def run(arguments: Sequence[str], keeping: Keeping, log: Path) -> None:
        args = options.parse_args_and_arch(options.get_training_parser(), list(arguments))
        last = Path(args.save_dir) / "checkpoint_last.pt"
        states.append(load_state(last) if last.exists() else {})
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        cfg = convert_namespace_to_omegaconf(args)
        if keeping is None:
            fairseq_train.main(cfg)
        else:
            prune.train_keeping(cfg, keeping[0], str(keeping[1]))

    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> States:
    """Trainings run in this process; the state that each started from."""
    states: States = []
    monkeypatch.setattr(prune, "fairseq_train", stand_in(states))
    return states


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, States]:
    """Two pruned rounds, by tensor, and the states that the three trainings started from."""
    folder = tmp_path_factory.mktemp("imp")
    states: States = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prune, "fairseq_train", stand_in(states))
        prune_rounds(folder, corpus, rounds=2, scope="tensor")
    while training._HELD:  # as when the process of a training ends
        os.close(training._HELD.popitem()[1])
    return folder, states


def arguments(corpus: Path, updates: int = UPDATES) -> list[str]:
    """fairseq-train's, without --save-dir."""
    found = train_arguments(corpus, corpus, *SMALL, updates=updates)
    at = found.index("--save-dir")
    return found[:at] + found[at + 2 :]


def prune_rounds(folder: Path, corpus: Path, updates: int = UPDATES, **settings: Any) -> list[dict[str, Any]]:
    settings = {"rounds": 1, "rate": 0.2, "rewind": REWIND, **settings}
    return list(prune.prune(folder, arguments(corpus, updates), **settings))


def final(folder: Path) -> dict[str, Any]:
    return load_state(folder / "checkpoint_last.pt")


def updates_of(state: dict[str, Any]) -> int:
    return state["optimizer_history"][-1]["num_updates"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_command_trains_prunes_and_trains_again(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "imp"
    command = [sys.executable, "-m", "one_layer_lt", "prune", "--rounds", "1", "--rate", "0.3", "--rewind", str(REWIND)]
    command += ["--save-dir", str(run), "--", *arguments(corpus)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    result = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]

    rounds = json.loads((run / "rounds.json").read_text())
    model = load_model(run / "round1" / "checkpoint_last.pt")
    kept, weights = count_kept(model)
    assert kept == kept_count(0.7, weights)
    assert [entry["round"] for entry in rounds] == [0, 1]
    assert [entry["keep"] for entry in rounds] == [1.0, kept / weights]
    assert [entry["updates"] for entry in rounds] == [UPDATES, UPDATES]
    assert all(entry["best"] == final(run / f"round{entry['round']}")["extra_state"]["best"] for entry in rounds)
    logs = [run / f"round{number}" / "train.log" for number in range(2)]
    best = f"best loss {rounds[1]['best']:.4f}"
    said = f"round 1: {kept:,} of {weights:,} weights kept (70.01%), {best}, {UPDATES} updates; log: {logs[1]}"
    assert result.stdout.splitlines()[1:] == [said]
    assert result.stderr == ""
    assert all("begin training epoch" in log.read_text() for log in logs)

    smallest_kept, largest_pruned = [], []
    dense = load_model(run / "round0" / "checkpoint_last.pt")
    for (_, module), (_, before) in zip(pruned_modules(model), pruned_modules(dense)):
        mask, magnitude = pruned_weight(module).mask, trained_weight(before).detach().abs()
        smallest_kept.append(magnitude[mask].min())
        largest_pruned.append(magnitude[~mask].max())
        assert not module.weight[~mask].any()
        assert not torch.equal(trained_weight(module)[mask], trained_weight(before)[mask])
    assert min(smallest_kept) >= max(largest_pruned)


def test_rounds_start_from_the_rewound_state(whole: tuple[Path, States]) -> None:
    folder, (dense, *pruned) = whole
    rewind = load_state(folder / "rewind.pt")
    assert dense == {}
    assert updates_of(rewind) == REWIND
    before = rewind["model"]
    for number, state in enumerate(pruned, start=1):
        assert updates_of(state) == REWIND
        assert state["extra_state"]["train_iterator"] == rewind["extra_state"]["train_iterator"]
        assert "best" not in state["extra_state"]
        ended = final(folder / f"round{number}")["model"]
        for name, tensor in state["model"].items():
            if name.endswith(prune.MASK):
                assert tensor.sum() == kept_count(0.8**number, tensor.numel())
                assert not (tensor & ~before[name]).any()
                assert torch.equal(tensor, ended[name])
            else:
                assert torch.equal(tensor, rewind["model"][name])
                assert not (name.endswith(ORIGINAL) and torch.equal(tensor, ended[name]))
        before = state["model"]


def test_again_does_nothing_more(corpus: Path, whole: tuple[Path, States]) -> None:
    folder, _ = whole
    rounds = json.loads((folder / "rounds.json").read_text())
    assert [entry["keep"] for entry in rounds] == pytest.approx([1, 0.8, 0.64], abs=1e-2)
    (folder / "rounds.json").unlink()
    (folder / "round2" / "round.json").unlink()  # it ended, but nothing says so: not an update more
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")}
    assert prune_rounds(folder, corpus, rounds=2, scope="tensor") == rounds
    assert json.loads((folder / "rounds.json").read_text()) == rounds
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")} == before
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize(("rewind", "epoch_ends"), [(2, False), (3, True)])
def test_rewinding_without_pruning_is_the_same_training(
    corpus: Path, tmp_path: Path, started: States, rewind: int, epoch_ends: bool
) -> None:
    """Weights, optimizer, schedule and data all go back: a rate that prunes nothing ends where round 0 did."""
    prune_rounds(tmp_path, corpus, rate=1e-9, rewind=rewind)
    dense, again = final(tmp_path / "round0"), final(tmp_path / "round1")
    assert updates_of(started[1]) == rewind
    assert (started[1]["extra_state"]["train_iterator"]["iterations_in_epoch"] == 0) == epoch_ends
    assert_same(dense["model"], again["model"])
    assert dense["extra_state"]["train_iterator"] == again["extra_state"]["train_iterator"]


def test_masks_of_ones_train_as_without(corpus: Path, tmp_path: Path, whole: tuple[Path, States]) -> None:
    plain = load_state(train(corpus, tmp_path, "--dense", *SMALL, updates=UPDATES))["model"]
    masked = final(whole[0] / "round0")["model"]
    assert all(tensor.all() for name, tensor in masked.items() if name.endswith(prune.MASK))
    weights = {name.replace(ORIGINAL, ".weight"): tensor for name, tensor in masked.items()}
    assert_same(plain, {name: tensor for name, tensor in weights.items() if not name.endswith(prune.MASK)})


def test_interrupted_rounds_go_on(
    corpus: Path, tmp_path: Path, whole: tuple[Path, States], started: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prune.fairseq_train

    def stopped_in(name: str) -> Train:
        def stopped(arguments: Sequence[str], keeping: Keeping, log: Path) -> None:
            folder = Path(arguments[-1])
            if folder.name != name:
                run(arguments, keeping, log)
                return
            run([*arguments, "--save-interval-updates", "1"], keeping, log)
            (midway,) = folder.glob("checkpoint_*_4.pt")
            shutil.copy(midway, folder / "checkpoint_last.pt")
            raise KeyboardInterrupt

        return stopped

    for name in ("round0", "round1"):
        monkeypatch.setattr(prune, "fairseq_train", stopped_in(name))
        with pytest.raises(KeyboardInterrupt):
            prune_rounds(tmp_path, corpus, scope="tensor")
    monkeypatch.setattr(prune, "fairseq_train", run)
    assert [entry["updates"] for entry in prune_rounds(tmp_path, corpus, scope="tensor")] == [UPDATES, UPDATES]
    assert [updates_of(state) if state else 0 for state in started] == [0, 4, REWIND, 4]
    for name in ("round0", "round1"):
        assert_same(final(whole[0] / name)["model"], final(tmp_path / name)["model"])


def test_generation_folds(corpus: Path, whole: tuple[Path, States]) -> None:
    checkpoint = whole[0] / "round2" / "checkpoint_best.pt"
    model = load_model(checkpoint)
    with torch.no_grad():
        expected = model(**batch())[0]
        model.make_generation_fast_()
        torch.testing.assert_close(model(**batch())[0], expected)
    assert not list(pruned_modules(model))
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight

    flags = [str(corpus), "--path", str(checkpoint), "--user-dir", str(PLUGIN), "--cpu", "--no-progress-bar"]
    flags += ["--max-len-b", "8", "--required-batch-size-multiple", "1"]
    args = options.parse_args_and_arch(options.get_generation_parser(), flags)
    with redirect_stdout(io.StringIO()) as said:
        generate.main(convert_namespace_to_omegaconf(args))
    assert len(re.findall(r"^H-\d+\t", said.getvalue(), re.MULTILINE)) == 8


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "required: --rounds, --rewind, -o/--out"),
        (["--rounds", "0"], "argument --rounds: 0 is not a whole number above 0"),
        (["--rewind", "-1"], "argument --rewind: -1 is not a whole number above 0"),
        (["--rate", "1"], "argument --rate: 1 is not a number between 0 and 1"),
        (["--rate", "some"], "argument --rate: some is not a number between 0 and 1"),
        (["--scope", "layer"], "argument --scope: invalid choice: 'layer'"),
        (["data"], "unrecognized arguments: data"),
        (["--"], "put fairseq-train's arguments after a lone --"),
        (["--", "data", "--save-dir", "x"], "--save-dir: not for the fairseq-train of this command; leave it out"),
        (["--", "data", "--restore-file=x.pt"], "--restore-file: not for"),
        (["--", "data", "--log-file", "x"], "--log-file: not for"),
        (["--", "data", "--dense"], "--dense: not for"),
        (["--", "data", "--prunable"], "--prunable: not for"),
        (["--", "data", "--reset-optimizer"], "--reset-optimizer: not for"),
    ],
)
def test_bad_flags(
    flags: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--rounds", "1", "--rewind", "2", "--save-dir", str(tmp_path / "imp")] if flags else []
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "prune", *given, *flags])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "imp").exists()


def test_other_settings_are_not_mixed(corpus: Path, tmp_path: Path, started: States) -> None:
    with pytest.raises(UserError, match="--rewind 1: round 0 ended at update 1; it must go beyond"):
        prune_rounds(tmp_path, corpus, updates=1, rewind=1)
    for name, value in (("rewind", 2), ("rate", 0.3), ("scope", "tensor")):
        with pytest.raises(UserError, match=f"--{name} {value}: .* was begun with .*; choose another --out"):
            prune_rounds(tmp_path, corpus, **{"rewind": 1, name: value})
    assert len(started) == 1


def test_other_arguments_and_data_are_not_mixed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Sequence[str]] = []

    def failing(arguments: Sequence[str], keeping: Keeping, log: Path) -> None:
        trained.append(arguments)
        raise UserError("ended with code 1")

    monkeypatch.setattr(prune, "fairseq_train", failing)
    moved = Path(shutil.copytree(corpus, tmp_path / "moved"))

    def again(passed: Sequence[str]) -> str:
        with pytest.raises(UserError) as refused:
            list(prune.prune(tmp_path / "imp", passed, rounds=1, rate=0.2, rewind=REWIND))
        return str(refused.value)

    flags = arguments(corpus)[1:]
    begun = [str(corpus), *flags]
    assert "ended with code 1" in again(begun)
    changed = [{"5e-3": "1e-3"}.get(word, word) for word in begun]
    assert f"--lr 1e-3: {tmp_path / 'imp'} was begun with --lr 5e-3; choose another --out" in again(changed)
    seeded = again([*begun, "--seed=4"])
    assert "--seed 4: " in seeded
    assert "was begun with --seed 3" in seeded
    assert "was begun with no --keep" in again([*begun, "--keep", "0.4"])
    assert len(trained) == 1
    assert "ended with code 1" in again([*flags, "--num-workers", "2", str(moved)])  # the same, elsewhere
    (moved / "train.xx-yy.xx.bin").write_bytes(b"more" * 1000)
    assert f"{moved}: {tmp_path / 'imp'} was begun with {corpus}; choose another" in again([str(moved), *flags])
    assert len(trained) == 2


def test_rounds_of_before_go_on_with_a_warning(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    def failing(arguments: Sequence[str], keeping: Keeping, log: Path) -> None:
        raise UserError("ended with code 1")

    monkeypatch.setattr(prune, "fairseq_train", failing)
    record = tmp_path / "prune.json"
    record.write_text(json.dumps({"rate": 0.2, "rewind": REWIND, "scope": "global"}))
    for _ in range(2):
        with pytest.raises(UserError, match="ended with code 1"):
            prune_rounds(tmp_path, corpus)
    assert len([line for line in caplog.messages if "does not say what arguments" in line]) == 1
    assert json.loads(record.read_text())["flags"]["--lr"] == "5e-3"


def test_failing_training_says_why(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    log = tmp_path / "round0" / "train.log"
    with pytest.raises(UserError) as failed:
        list(prune.prune(tmp_path, [*arguments(corpus), "--keep", "some"], rounds=1, rate=0.2, rewind=REWIND))
    said = str(failed.value)
    assert said.startswith("round0: fairseq-train ended with code 2: ")
    assert "error: argument --keep: invalid float value: 'some'" in said
    assert said.endswith(f"(all of it: {log})")
    assert "usage: " in log.read_text()
    assert not list(tmp_path.rglob("*.pt"))


def test_prunable_needs_dense(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build(corpus, "--prunable")
    assert capsys.readouterr().err.splitlines()[-1].startswith("one_layer_masked: error: --prunable: needs --dense")
