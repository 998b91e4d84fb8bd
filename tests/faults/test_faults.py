"""Every command, killed once, without room, without leave to write, and twice at once: a short run of the harness."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from . import programs
from .engine import Bench, Tally, moments
from .scenarios import SCENARIOS, Scenario, make_toys

FAST = [scenario for scenario in SCENARIOS if scenario.name not in ("distil", "prune", "sweep", "train, resumed")]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("ctranslate2", "matplotlib", "sklearn", "tensorboardX"):
        pytest.importorskip(name)
    if not Path("/proc/self/schedstat").is_file():
        pytest.skip("needs Linux, with times of processes")
    programs.load()
    folder = tmp_path_factory.mktemp("faults") / "toys"
    make_toys(folder)
    return folder


@pytest.mark.parametrize("scenario", FAST, ids=lambda scenario: scenario.name)
def test_nothing_is_lost(scenario: Scenario, toys: Path, tmp_path: Path) -> None:
    bench = Bench(scenario, toys, tmp_path / "bench")
    for moment in moments(10, 1, scenario.name):  # beside other work it may be done before the first ones
        if not bench.tally.kills:
            bench.killed(moment)
    bench.full(0.4)
    bench.denied()
    assert dataclasses.asdict(bench.tally) == dataclasses.asdict(Tally(kills=1, full=1, denied=1))
