"""What hostile files do: `python -m tests.hostile` runs every case, and writes docs/reliability-hostile.md.

--short runs those that the tests run; --only TEXT those whose name or class holds TEXT. Both only print.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a process that forks must have no other threads

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from one_layer_lt.files import write_json
from tests.hostile.engine import ACCEPTED, REFUSED, SECONDS, CONSTANT, Found, each
from tests.hostile.table import CLASSES, page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--short", action="store_true", help="only the cases that are quick")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the cases whose class or name holds TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what each case came to")
    args = parser.parse_args()
    chosen = {
        name: [case for case in make() if args.only in f"{name}: {case.name}"] for name, make in CLASSES.items()
    }
    found: dict[str, list[Found]] = {}
    for name, result in each(chosen, args.short):
        found.setdefault(name, []).append(result)
        said = f"{result.outcome:9}{result.seconds:7.2f} s{result.memory >> 20:6} MiB  {name}: {result.case}"
        print(said.encode("ascii", "backslashreplace").decode(), flush=True)
        if result.wrong:
            print(f"    WRONG: {'; '.join(result.wrong)}\n    {result.said[-1500:]!r}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({name: [asdict(one) for one in some] for name, some in found.items()}))
    elif not (args.short or args.only):
        write_json(DOCS / "results" / "hostile.json", {name: [asdict(one) for one in some] for name, some in found.items()})
        (DOCS / "reliability-hostile.md").write_text(page(found))
    return int(any(result.wrong for some in found.values() for result in some))


if __name__ == "__main__":
    raise SystemExit(main())
