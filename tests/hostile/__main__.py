"""What hostile files do: `python -m tests.hostile` runs every case, and writes docs/reliability.md.

--short runs those that the tests run; --only TEXT those whose name or class holds TEXT. Both only print.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a process that forks must have no other threads

import argparse
from pathlib import Path

from one_layer_lt.files import write_json
from one_layer_lt.markdown import put_table
from tests.hostile.engine import Found, prepare, run
from tests.hostile.table import CLASSES, record, table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--short", action="store_true", help="only the cases that are quick")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the cases whose class or name holds TEXT")
    args = parser.parse_args()
    prepare()
    found: dict[str, list[Found]] = {}
    for name, cases in CLASSES.items():
        for case in cases():
            if (case.slow and args.short) or args.only not in f"{name}: {case.name}":
                continue
            result = run(case)
            found.setdefault(name, []).append(result)
            said = f"{result.outcome:9}{result.seconds:7.2f} s{result.memory >> 20:6} MiB  {name}: {result.case}"
            print(said.encode("ascii", "backslashreplace").decode(), flush=True)
            if result.wrong:
                print(f"    WRONG: {'; '.join(result.wrong)}\n    {result.said[-1500:]!r}", flush=True)
    if not (args.short or args.only):
        write_json(DOCS / "results" / "hostile.json", record(found))
        put_table(DOCS / "reliability.md", "python -m tests.hostile", table(found))
    return int(any(result.wrong for some in found.values() for result in some))


if __name__ == "__main__":
    raise SystemExit(main())
