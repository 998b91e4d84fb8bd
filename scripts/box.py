"""Make the tickets that come with the package, of the runs of scripts/studies/box.toml that are trained here.

    python scripts/sweep.py scripts/studies/box.toml
    python scripts/box.py

Each is named after its languages. Its card says how it was trained, and what its stored result says of the test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from fairseq_plugins.commands import export as exporting
from fairseq_plugins.commands.score import find_checkpoint
from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.ticket.box import BOX, ENDING
from one_layer_lt.ticket.card import checked
from scripts.results import ROOT
from scripts.study import STUDIES, Run, read_study

STUDY = STUDIES / "box.toml"
LICENCE = "CC BY 2.0 FR"
DATA = {
    "name": "Tatoeba, German-English, the edition of manythings.org of 2018",
    "licence": LICENCE,
    "attribution": "tatoeba.org and its contributors; manythings.org/anki",
}


def card(run: Run, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the ticket of a run says of itself."""
    test, languages = result["test"], run.language_pair.lstrip(".")
    on = f"{test['sentences']:,} test sentences, beam {test['beam']}, length penalty {test['lenpen']:g}"
    return checked(
        {
            "name": f"tatoeba.{languages}",
            "languages": languages.split("-"),
            "licence": LICENCE,
            "data": [DATA],
            "scores": [
                {"metric": name, "value": round(found["score"], 2), "on": on, "signature": found["signature"]}
                for name, found in (("BLEU", test["bleu"]), ("chrF", test["chrf"]))
            ],
            "date": date.today().isoformat(),
            "command": f"python scripts/sweep.py scripts/studies/{run.study}.toml, commit {result['commit']['hash']}",
        }
    )


def make(run: Run, result: Mapping[str, Any], folder: Path = BOX) -> Path:
    """Write the ticket of a run, and return its path."""
    checkpoint, _ = find_checkpoint(ROOT / run.folder, run.last)
    path = folder / f"{run.language_pair.lstrip('.')}{ENDING}"
    exporting.export(checkpoint, path, card(run, result), ROOT / run.data)
    return path


def main() -> None:
    Parser(prog="box.py", description=__doc__).parse_args()
    found = [(run, result) for run in read_study(STUDY) if not run.is_dense and (result := run.kept())]
    if not found:
        raise UserError(f"no ticket of {STUDY} is trained: run python scripts/sweep.py {STUDY}")
    for run, result in found:
        path = make(run, result)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    terminal.run(main)
