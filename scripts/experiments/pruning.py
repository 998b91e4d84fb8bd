"""Do the masks of a pruned translator matter? Magnitude pruning in rounds, with controls, beside hidden tickets.

The Transformer is the dense row of the study ablation-narrow, trained as long as the masks over random weights of that
study. After each round, weights go back to an early update (Frankle et al. 2019, arXiv 1903.01611). In the controls,
the masks of a round are over other weights, or as many weights are kept at random in each tensor. From that update on
they are trained like the round.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from one_layer_lt import markdown
from one_layer_lt.files import write_json
from one_layer_lt.lab.controls import randomly_pruned
from scripts import plots
from scripts.results import ROOT
from scripts.rows import rows_of
from scripts.study import STUDIES, chosen, read_study

STUDY = STUDIES / "ablation-narrow.toml"
HIDDEN = ("keep 0.35", "reference", "keep 0.65", "signed masks")
"""Rows of the study that have masks over random weights."""
ROUNDS, RATE, REWIND, BITS = 5, 0.3, 100, 4
FROM = "the prepared folder of Multi30k, German to English"
CONTROLLED = (5, 2)
"""Of these rounds there are controls."""
REWOUND, REINITIALISED, RANDOM = (
    "pruned by magnitude, rewound",
    "the same masks, reinitialised",
    "pruned at random, rewound",
)


def run(source: Path | None, before: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result after each training. Trainings are kept in runs/pruning, and go on there.

    source: the folder of the prepared corpus.
    """
    data = str(source)
    from fairseq_plugins.commands import prune  # fairseq is slow to import
    from scripts import translators

    (dense,) = chosen(read_study(STUDY), ["dense"])
    words = [word for word in dense.command()[2:-2] if word != "--dense"]  # neither the data nor the folder
    arguments = [data, *words, *translators.LOGGED, *translators.added(dense)]
    out, rows = ROOT / "runs" / "pruning", list[dict[str, Any]]()
    for done in prune.prune(out, arguments, rounds=ROUNDS, rate=RATE, rewind=REWIND):
        rows.append({"name": REWOUND, "keep": done["keep"], **_measured(out / f"round{done['round']}", data)})
        yield {"rows": rows}
    for number in CONTROLLED:
        for name in (REINITIALISED, RANDOM):
            folder = out / f"{name.split()[-1]}{number}"
            if not (folder / prune.LAST).is_file():
                _start(folder, name, out / f"round{number}" / prune.LAST, out / "rewind.pt")
            if not (folder / "measured.json").is_file():
                prune.train_round(folder, arguments, None)
            rows.append({"name": name, "keep": rows[number]["keep"], **_measured(folder, data)})
            yield {"rows": rows}


def _start(folder: Path, name: str, pruned: Path, rewind: Path) -> None:
    """Put the checkpoint that the training of a control resumes from into ``folder``."""
    from fairseq.checkpoint_utils import load_model_ensemble_and_task

    from fairseq_plugins.checkpoints import load
    from fairseq_plugins.commands import prune

    (model,), config, task = load_model_ensemble_and_task([str(pruned)])
    state = load(rewind)
    if name == REINITIALISED:
        torch.manual_seed(2)  # the training's is 1
        state["model"].update(task.build_model(config.model).state_dict())
        for averages in state["last_optimizer_state"]["state"].values():  # of the gradients of other weights
            averages["exp_avg"].zero_()
            averages["exp_avg_sq"].zero_()
    else:
        model = randomly_pruned(model, seed=1)
    prune.put_masked(folder, state, model)


def _measured(folder: Path, data: str) -> dict[str, Any]:
    """BLEU on validation, as trained and with rounded weights, and the bytes of these."""
    from fairseq_plugins.commands.score import score
    from scripts.quantize import quantize

    kept = folder / "measured.json"
    if not kept.is_file():
        best, rounded = folder / "checkpoint_best.pt", folder / "rounded.pt"
        _, bytes_ = quantize(best, BITS, rounded)
        found = {key: score(file, Path(data), split="valid") for key, file in (("trained", best), ("rounded", rounded))}
        bleu = {key: each["bleu"] for key, each in found.items()}
        write_json(kept, {**bleu, "bytes": bytes_})
    measured: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return measured


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The table of the page: models of trained weights, and the rows of the study that are masks over random ones."""
    rows = [_cells(row["name"], row["keep"], row["trained"], row["rounded"], row["bytes"]) for row in result["rows"]]
    for name, keep, hidden in _hidden():
        rows.append(
            _cells(f"masks over random weights: {name}", keep, hidden["valid"]["bleu"], None, hidden["size"]["bytes"])
        )
    columns = ["model", "kept", "valid BLEU", "brevity penalty", f"valid BLEU at {BITS} bits", "kB"]
    return {"models": "\n".join(markdown.table(columns, *rows))}


def _cells(name: str, keep: float, bleu: dict[str, Any], rounded: dict[str, Any] | None, bytes_: int) -> list[str]:
    at_bits = f"{rounded['score']:.2f}" if rounded else ""
    return [
        name,
        f"{keep:.1%}",
        f"{bleu['score']:.2f}",
        f"{bleu['brevity_penalty']:.3f}",
        at_bits,
        f"{bytes_ / 1000:,.0f}",
    ]


def _hidden() -> Iterator[tuple[str, float, dict[str, Any]]]:
    """(name, kept fraction, result of the first seed)."""
    for row in rows_of(STUDY):
        if row.run.name in HIDDEN:
            yield row.run.name, float(row.run.flags.get("keep", 0.5)), row.results[0]


def draw(result: dict[str, Any], path: Path) -> None:
    """BLEU against the kept fraction, and against bytes."""
    trained, sized = dict[str, Any](), dict[str, Any]()
    for name in dict.fromkeys(row["name"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["name"] == name]
        trained[name] = [row["keep"] for row in rows], [[row["trained"]["score"]] for row in rows]
        sized[f"{name}, {BITS} bits"] = [row["bytes"] for row in rows], [[row["rounded"]["score"]] for row in rows]
    hidden = [(keep, each["size"]["bytes"], [each["valid"]["bleu"]["score"]]) for _, keep, each in _hidden()]
    keeps, bytes_, scores = (list(each) for each in zip(*sorted(hidden)))
    trained["masks over random weights"] = keeps, scores
    sized["masks over random weights"] = bytes_, scores
    panels = [
        plots.Panel("kept", "fraction of the weights that is kept", "validation BLEU", trained, "log"),
        plots.Panel("bytes", "bytes, without dictionaries and tokenizer", "validation BLEU", sized, "log"),
    ]
    plots.spreads(path, panels)
