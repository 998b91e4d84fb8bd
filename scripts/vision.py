"""Train the networks of the table in docs/vision.md, and write the table.

    python scripts/vision.py digits mnist-lenet --mnist FOLDER --cifar10 FOLDER_OR_ARCHIVE
    python scripts/vision.py --table             # only rewrite the table

A row that was stopped goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from one_layer_lt.origin import commit, machine
from one_layer_lt.ticket.sizes import sizes
from one_layer_lt.vision import data as datasets
from one_layer_lt.vision.recipes import Recipe, recipe_of
from one_layer_lt.vision.ticket import ticket_of
from one_layer_lt.vision.train import METRICS, lines, load_run, train
from scripts import markdown, plots
from scripts.results import RESULTS, ROOT, put_table

PAGE = ROOT / "docs" / "vision.md"
COMMAND = "python scripts/vision.py"
COLUMNS = (
    "run",
    "network",
    "rule",
    "keep",
    "epochs",
    "test accuracy",
    "ticket",
    "dense float32",
    "published accuracy, %",
)


@dataclass(frozen=True)
class Row:
    """A preset with changes, and what was published of the like."""

    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)
    published: str = ""


_SHORT = {"epochs": 15, "bf16": True}  # the best rate of three, after two epochs on half of the training set
ROWS: dict[str, Row] = {
    "digits": Row("digits"),
    "digits-dense": Row("digits", {"dense": True}),
    "mnist-lenet": Row(
        "mnist-lenet", {}, "about 98, with rescaled weights ([Zhou 2019](https://arxiv.org/abs/1905.01067))"
    ),
    "mnist-lenet-dense": Row("mnist-lenet", {"dense": True, "lr": 0.001}),
    "mnist-conv2": Row("mnist-conv2"),
    "mnist-conv2-dense": Row("mnist-conv2", {"dense": True, "lr": 0.02}),
    "cifar10-conv4": Row(
        "cifar10-conv4",
        {**_SHORT, "lr": 0.2},
        "86 to 88, after 100 epochs ([Ramanujan 2019](https://arxiv.org/abs/1911.13299))",
    ),
    "cifar10-conv4-dense": Row("cifar10-conv4", {**_SHORT, "lr": 0.03, "dense": True}),
}


def measure(name: str, row: Row, roots: dict[str, Optional[Path]]) -> None:
    """Train a row to its end, and keep its curve and the size of its ticket."""
    recipe = recipe_of(row.recipe, row.changes)
    root = roots.get(recipe.data)
    if recipe.data != "digits" and root is None:
        raise UserError(f"{name} needs --{recipe.data} PATH")
    # A JPEG archive of folders will do for CIFAR-10, too.
    kind = "folder" if recipe.data == "cifar10" and root is not None and "imagefolder" in root.name else recipe.data
    data = datasets.load(kind, root)
    run = ROOT / "runs" / "vision" / name
    train(recipe, data, run)
    result: dict[str, Any] = {
        "recipe": row.recipe,
        "settings": asdict(recipe),
        "curve": list(lines(run / METRICS)),
        "commit": commit(),
        "machine": machine(),
    }
    trainer = load_run(run, data)
    result["weights"] = sum(p.numel() for p in trainer.trained if p.dim() > 1)
    result["ticket_bytes"] = None if recipe.dense else sizes(ticket_of(trainer.model, recipe, data)).file
    path = RESULTS / "vision" / f"{name}.json"
    write_json(path, result)


def table() -> str:
    """The rows that were measured, in Markdown."""
    rows: list[list[object]] = []
    for name, row in ROWS.items():
        path = RESULTS / "vision" / f"{name}.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text())
        settings, last = result["settings"], result["curve"][-1]
        rule = "dense" if settings["dense"] else settings["rule"]
        keep = "" if settings["dense"] else Recipe(**settings).mask_config().keep or "learned"
        stored = "" if result["ticket_bytes"] is None else f"{result['ticket_bytes'] / 1000:,.0f} kB"
        dense = f"{4 * result['weights'] / 1000:,.0f} kB"
        run = [f"[{name}](results/vision/{name}.json)", settings["model"], rule, keep, last["epoch"]]
        rows.append([*run, f"{100 * last['accuracy']:.2f}%", stored, dense, row.published])
    return "\n".join(
        [*markdown.table(COLUMNS, *rows), "", "Test accuracy is that after the last epoch, with one seed."]
    )


def draw() -> None:
    """Test accuracy by epoch, a panel a data set, masked and dense."""
    pyplot = plots.set_up()
    panels: dict[str, list[str]] = {}
    for name, row in ROWS.items():
        if (RESULTS / "vision" / f"{name}.json").is_file():
            panels.setdefault(row.recipe, []).append(name)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3.2 * len(panels), 3), layout="constrained", squeeze=False)
    for panel, (recipe, names) in zip(axes[0], panels.items()):
        for name in names:
            curve = json.loads((RESULTS / "vision" / f"{name}.json").read_text())["curve"]
            label = "dense" if ROWS[name].changes.get("dense") else "masked"
            panel.plot([line["epoch"] for line in curve], [100 * line["accuracy"] for line in curve], label=label)
        panel.set(title=recipe, xlabel="epoch", ylabel="test accuracy, %")
        panel.legend()
    figure.savefig(RESULTS / "vision.png", dpi=110)


def main() -> None:
    parser = Parser(prog="vision.py", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to train: {', '.join(ROWS)} (all)")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument(
        "--cifar10", type=Path, help="CIFAR-10: its folder or archive; or an archive of pictures, named *imagefolder*"
    )
    parser.add_argument("--table", action="store_true", help="train nothing: only write the table and the plot")
    args = parser.parse_args()
    for name in args.rows:
        if name not in ROWS:
            parser.error(f"unknown row {name!r}; choose of: {', '.join(ROWS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    if not args.table:
        for name in args.rows or ROWS:
            measure(name, ROWS[name], {"mnist": args.mnist, "cifar10": args.cifar10})
    put_table(PAGE, f"{COMMAND} --table", table())
    draw()


if __name__ == "__main__":
    terminal.run(main)
