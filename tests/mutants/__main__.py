"""Try mutants of the core against its tests, and write what came of them to docs/reliability.md.

What was tried is kept in docs/results/mutants.json, and not tried again while the module and the tests are the same.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a process that forks must have no other threads

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from one_layer_lt.files import write_json
from one_layer_lt.markdown import put_table
from one_layer_lt.markdown import table as in_markdown
from one_layer_lt.origin import commit, machine
from one_layer_lt.toml import read_toml

from . import bench
from .bench import ROOT
from .engine import Mutant, mutants, mutated

CORE, TESTS, PAGE = ROOT / "one_layer_lt", ROOT / "tests" / "core", ROOT / "docs" / "reliability.md"
RESULT, REASONS = ROOT / "docs" / "results" / "mutants.json", Path(__file__).with_name("reasons.toml")
REACHED = ROOT / "runs" / "mutants" / "reached.json"  # costs minutes, and follows from the sources
NAMES = "selection weights layout parametrization maskable projection sharing config pruning precision"
FOLDERS = ("rules", "ticket")
SLOW = {"test_kernels.py", "test_compile.py", "test_ticket_fuzz.py"}
MOST_FILE, FIRST, SECOND = 12, 5, 30  # seconds: of a file of tests, and of the tests for a mutant
COLUMNS = ("module", "mutants", "tried", "killed", "of these, out of time", "killed since", "survive")


def modules() -> list[str]:
    """The modules of which mutants are made, as paths within the package."""
    folders = [str(path.relative_to(CORE)) for name in FOLDERS for path in sorted((CORE / name).glob("*.py"))]
    return [*(f"{name}.py" for name in NAMES.split()), *folders]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def reach() -> list[dict[str, Any]]:
    """What each test of the core reaches (``bench.reached``), measured where a file of tests or the core changed."""
    common = [path.read_bytes() for path in [*sorted(CORE.rglob("*.py")), TESTS / "conftest.py"]]
    files = {
        path: _digest(path.read_bytes(), *common) for path in sorted(TESTS.glob("test_*.py")) if path.name not in SLOW
    }
    known = json.loads(REACHED.read_text()) if REACHED.exists() else {}
    REACHED.parent.mkdir(parents=True, exist_ok=True)
    for path, digest in files.items():
        if known.get(path.name, {}).get("digest") != digest:
            tests = bench.reached(path, MOST_FILE)
            known[path.name] = {"digest": digest, "tests": tests}
            print(path.name, len(tests), "tests", flush=True)
            write_json(REACHED, known)
    return [test for path in files for test in known[path.name]["tests"]]


def chosen(module: str, mutant: Mutant, tests: Sequence[dict[str, Any]], most: float) -> list[dict[str, Any]]:
    """The tests that reach the mutant's lines; where none does, as what runs on import, those that reach its module.

    Those whose file is named after it come first, and are taken where no test reaches it; then the fastest, up to a
    sum of ``most`` seconds. A module of constants has nothing to reach.
    """
    span, path = set(range(mutant.line, mutant.last_line + 1)), Path(module)
    names = (path.stem, path.parent.name.rstrip("s") or path.stem)
    own = {test["test"] for test in tests if any(name in test["test"].partition("::")[0] for name in names)}
    near = [test for test in tests if not span.isdisjoint(test["lines"].get(module, ()))]
    near = near or [test for test in tests if module in test["lines"] or test["test"] in own]
    near.sort(key=lambda test: (module not in test["lines"], test["test"] not in own, test["seconds"]))
    sums = accumulate(test["seconds"] for test in near)
    return [test for test, seconds in zip(near, sums) if seconds <= most]


def sampled(module: str, sample: int, seed: int) -> list[Mutant]:
    """So many mutants, drawn from all of the module's; then those that a reason was given for."""
    every = mutants((CORE / module).read_text())
    known = reasons()
    drawn = random.Random(f"{seed} {module}").sample(every, len(every))
    return drawn[:sample] + [each for each in drawn[sample:] if (module, each.text, each.change) in known]


def reasons() -> dict[tuple[str, str, str], str]:
    """Why mutants survive, by module, line and change."""
    return {(each["module"], each["line"], each["change"]): each["reason"] for each in read_toml(REASONS)["survivor"]}


def measure(names: Sequence[str], sample: int, seed: int) -> None:
    """Try what has not been tried, one mutant of each module after the other."""
    command = f"python -m tests.mutants --sample {sample} --seed {seed}"
    about = {"command": command, "commit": commit(), "machine": machine()}
    before = json.loads(RESULT.read_text())["modules"] if RESULT.exists() else {}
    bench.prepare([path for path in TESTS.glob("test_*.py") if path.name not in SLOW])
    tests = reach()
    sources = {name: (CORE / name).read_text() for name in names}
    sizes = {name: len(mutants(source)) for name, source in sources.items()}
    drawn = {name: sampled(name, sample, seed) for name in names}
    found = {name: [_known(before, name, mutant) for mutant in drawn[name]] for name in names}
    for rank in range(max(map(len, drawn.values()))):
        for name in names:
            if rank < len(drawn[name]):
                mutant, old = drawn[name][rank], found[name][rank]
                new = tried(name, sources[name], mutant, tests, old)
                if new is old:
                    continue
                found[name][rank] = new
                print(f"{name}:{mutant.line}", mutant.change, new["outcome"], new["test"], flush=True)
                now = {at: {"mutants": sizes[at], "tried": [each for each in found[at] if each]} for at in names}
                every = {**before, **now}
                write_json(RESULT, {**about, "modules": {at: every[at] for at in modules() if at in every}})


def _known(before: dict[str, Any], module: str, mutant: Mutant) -> dict[str, Any] | None:
    """What came of a mutant in an earlier run."""
    every = before.get(module, {"tried": []})["tried"]
    return next((each for each in every if (each["line"], each["change"]) == (mutant.text, mutant.change)), None)


def tried(
    module: str, source: str, mutant: Mutant, tests: Sequence[dict[str, Any]], old: dict[str, Any] | None
) -> dict[str, Any]:
    """What came of a mutant, as JSON: ``old`` itself where it holds still.

    That is where the module is the same, and so is the test that killed the mutant, or else all that were run.
    tests: all of them.
    """
    digests = {test["test"]: test["digest"] for test in tests}
    first, second = (chosen(module, mutant, tests, most) for most in (FIRST, SECOND))
    digest = _digest(*(f"{test['test']} {test['digest']}".encode() for test in second))
    own = _digest(source.encode())
    same = old is not None and old["source"] == own
    if same and (old["digest"] == digests.get(old["test"]) if old["test"] else old["tests"] == digest):
        return old
    for some in [second] if first == second or (same and old["outcome"] == "survived") else [first, second]:
        seconds = 5 + 2 * sum(test["seconds"] for test in some)
        names = [test["test"] for test in some]
        outcome, test = bench.tried(CORE / module, mutated(source, mutant.number), names, seconds)
        if outcome != "survived":
            break
    since = old is not None and outcome != "survived" and (old["since"] or old["outcome"] == "survived")
    return {
        "line": mutant.text,
        "change": mutant.change,
        "outcome": outcome,
        "test": test,
        "digest": digests.get(test, ""),
        "since": since,
        "source": own,
        "tests": digest,
    }


def table(result: dict[str, Any]) -> str:
    """The tables of the page: what came of the mutants, and of each survivor why."""
    rows = []
    for name, module in result["modules"].items():
        outcomes = [each["outcome"] for each in module["tried"]]
        since = sum(each["since"] for each in module["tried"])
        survive = outcomes.count("survived")
        killed, late = len(outcomes) - survive - since, outcomes.count("out of time")
        rows.append([f"`{name}`", module["mutants"], len(outcomes), killed, late, since, survive])
    rows.append(["all", *(sum(column) for column in list(zip(*rows))[1:])])
    lines = [*in_markdown(COLUMNS, *rows), "", *in_markdown(("survivor", "change", "why"), *_survivors(result))]
    machine = result["machine"]["processor"]
    return "\n".join([*lines, "", f"`{result['command']}`, commit {result['commit']['hash']}, {machine}."])


def _survivors(result: dict[str, Any]) -> Iterator[list[str]]:
    known = reasons()
    for name, module in result["modules"].items():
        for each in module["tried"]:
            if each["outcome"] == "survived":
                why = known.get((name, each["line"], each["change"]), "not looked at")
                yield [f"`{name}`: {_code(each['line'])}", _code(each["change"]), why]


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=12, metavar="N", help="how many of each module (12)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the sample (1)")
    parser.add_argument("--modules", nargs="+", metavar="NAME", choices=modules(), help="only these, as rules/sign.py")
    parser.add_argument("--page", action="store_true", help="try nothing: only write the page")
    args = parser.parse_args()
    if not args.page:
        measure(args.modules or modules(), args.sample, args.seed)
    put_table(PAGE, "python -m tests.mutants", table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
