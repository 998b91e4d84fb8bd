"""Kill every command many times, and write what became of its files to docs/reliability.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from one_layer_lt import markdown
from one_layer_lt.files import write_json
from one_layer_lt.origin import commit, machine
from scripts.results import RESULTS, ROOT

from . import programs
from .engine import Bench, moments
from .scenarios import SCENARIOS, make_toys

RESULT, PAGE = RESULTS / "reliability.json", ROOT / "docs" / "reliability.md"
SUM = sum(scenario.kills for scenario in SCENARIOS)
COLUMNS = ("command", "killed", "disk full", "read-only", "two at once")
COLUMNS += ("files lost", "not resumed", "another result", "programs left", "not one line")


def measure(kills: int, seed: int) -> dict[str, Any]:
    """What became of every command, by its name."""
    found = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        make_toys(Path(folder, "toys"))
        for scenario in SCENARIOS:
            bench = Bench(scenario, Path(folder, "toys"), Path(folder, scenario.name.replace(" ", "_")))
            wanted = -(-kills * scenario.kills // SUM)
            for moment in moments(wanted, seed, scenario.name):
                if bench.tally.kills < wanted:
                    bench.killed(moment)
            for part in moments(1, seed, f"full {scenario.name}"):
                bench.full(part)
            bench.denied()
            bench.both()
            found[scenario.name] = dataclasses.asdict(bench.tally)
            print(scenario.name, f"{bench.seconds:.2f} s", found[scenario.name], flush=True)
    return found


def table(result: dict[str, Any]) -> str:
    """The table of the page, and what it was made from."""
    keys = ("kills", "full", "denied", "both", "lost", "stuck", "other", "alive", "loud")
    rows = [[name, *(tally[key] for key in keys)] for name, tally in result["commands"].items()]
    rows.append(["all", *(sum(column) for column in list(zip(*rows))[1:])])
    lines = "\n".join(markdown.table(COLUMNS, *rows))
    commit, processor = result["commit"]["hash"], result["machine"]["processor"]
    return f"{lines}\n\n`{result['command']}`, commit {commit}, {processor}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, metavar="N", help="how many, over all commands (300)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments (1)")
    parser.add_argument("--page", action="store_true", help="kill nothing: only write the page")
    args = parser.parse_args()
    if not args.page:
        programs.load()
        command = f"python -m tests.faults --kills {args.kills} --seed {args.seed}"
        about = {"command": command, "seed": args.seed, "commit": commit(), "machine": machine()}
        write_json(RESULT, {**about, "commands": measure(args.kills, args.seed)})
    markdown.put_table(PAGE, "python -m tests.faults", table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
