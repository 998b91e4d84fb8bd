"""`python -m one_layer_lt.vision`: train networks for images by masks, evaluate them, make tickets of them.

python -m one_layer_lt.vision train
python -m one_layer_lt.vision train --recipe mnist-conv2 --root FOLDER --epochs 3
python -m one_layer_lt.vision evaluate runs/vision/mnist-conv2 --root FOLDER
python -m one_layer_lt.vision export runs/vision/mnist-conv2 --root FOLDER -o conv2.ticket
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..terminal import run_click
from ..ticket import load_ticket
from ..ticket.sizes import sizes
from . import data as datasets
from .recipes import RECIPES, Recipe, recipe_of
from .ticket import checked, ticket_of
from .train import Trainer, World, load_run, train

_path = click.Path(path_type=Path)
_KINDS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool}
_root = click.option("--root", type=_path, help="Where the data is: a folder, or an archive.")
_broken = click.option(
    "--broken",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    help="Images that cannot be decoded.",
    show_default=True,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Hidden networks for images.

    \b
    python -m one_layer_lt.vision train
    python -m one_layer_lt.vision train --recipe mnist-conv2 --root FOLDER --epochs 3
    python -m one_layer_lt.vision evaluate runs/vision/mnist-conv2 --root FOLDER
    python -m one_layer_lt.vision export runs/vision/mnist-conv2 --root FOLDER -o conv2.ticket
    """


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each field of a recipe."""
    for field in reversed(dataclasses.fields(Recipe)):
        kind = _KINDS[str(field.type).replace("Optional[", "").rstrip("]")]
        name = field.name.replace("_", "-")
        flag = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
        command = click.option(flag, field.name, type=kind, default=None, help=_help(field.name))(command)
    return command


def _help(name: str) -> str:
    return f"digits: {getattr(RECIPES['digits'], name)}"


@cli.command("train")
@click.option("--recipe", "preset", type=click.Choice(list(RECIPES)), default="digits", show_default=True)
@click.option("--out", "folder", type=_path, help="The folder to write: runs/vision/RECIPE.")
@_root
@_broken
@_settings
def train_(preset: str, folder: Optional[Path], root: Optional[Path], broken: str, **changes: Any) -> None:
    """Train by a named recipe, any of its settings changed by its option."""
    recipe = recipe_of(preset, {name: value for name, value in changes.items() if value is not None})
    data = datasets.load(recipe.data, root, size=recipe.size, broken=broken)
    world = World.join()
    try:
        with _progress(world) as progress:
            last = train(recipe, data, folder or Path("runs", "vision", preset), world, progress)
    finally:
        world.leave()
    if world.rank == 0:
        click.echo(f"test accuracy {100 * last['accuracy']:.2f}% after {last['epoch']} epochs")


@cli.command()
@click.argument("path", type=_path)
@click.option("--data", "name", help="The data set (that of the run).")
@_root
@_broken
def evaluate(path: Path, name: Optional[str], root: Optional[Path], broken: str) -> None:
    """The test accuracy of a run's folder, or of a ticket."""
    if path.is_dir():
        data = datasets.load(name or _recipe(path).data, root, size=_recipe(path).size, broken=broken)
        trainer = load_run(path, data)
    else:
        if name is None:
            raise click.UsageError("a ticket does not know its data set: name it by --data")
        trainer, data = _of_ticket(path, name, root, broken)
    click.echo(f"test accuracy {100 * trainer.accuracy(data.test):.2f}% of {len(data.test):,} images")


@cli.command()
@click.argument("folder", type=_path, metavar="RUN")
@_root
@click.option("-o", "--out", type=_path, required=True, help="The ticket to write.")
def export(folder: Path, root: Optional[Path], out: Path) -> None:
    """Make a ticket of a run."""
    recipe = _recipe(folder)
    data = datasets.load(recipe.data, root, size=recipe.size)
    trainer = load_run(folder, data)
    ticket = ticket_of(trainer.model, recipe, data)
    ticket.save(out)
    click.echo(f"{out}: {sizes(ticket).file:,} bytes")


@cli.command()
@click.argument("file", type=_path)
def info(file: Path) -> None:
    """What network a ticket holds, and its size."""
    ticket = load_ticket(file)
    about, measured = checked(ticket), sizes(ticket)
    click.echo(f"{about['model']} for {len(about['classes'])} classes of images {about['shape']}")
    click.echo(
        f"{measured.file:,} bytes; dense in float32 {measured.dense:,}: {measured.dense / measured.file:.1f} times"
    )
    click.echo("more: one-layer-lt info FILE")


def _recipe(run: Path) -> Recipe:
    return Recipe(**json.loads((run / "recipe.json").read_text()))


def _of_ticket(path: Path, name: str, root: Optional[Path], broken: str) -> tuple[Trainer, datasets.DataSet]:
    ticket = load_ticket(path)
    about = checked(ticket)
    data = datasets.load(name, root, size=max(about["shape"][1:]), broken=broken)
    if list(data.classes) != about["classes"] or list(data.train.shape) != about["shape"]:
        raise ValueError(f"{path} is for other images than {name}'s: {about['shape']}, {len(about['classes'])} classes")
    recipe = Recipe(
        data=name, model=about["model"], width=about["width"], affine=about["affine"], binary=about["binary"]
    )
    trainer = Trainer(recipe, data, World(), torch.device("cpu"))
    trainer.model = ticket.model()
    return trainer, data


@contextmanager
def _progress(world: World) -> Iterator[Optional[Callable[[Trainer], Callable[[int, float], None]]]]:
    """A bar for each epoch, on a terminal."""
    console = Console(stderr=True)
    if world.rank or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("", epoch="", loss="")

        def begin(trainer: Trainer) -> Callable[[int, float], None]:
            bar.reset(task, total=trainer.steps, epoch=f"{trainer.epoch + 1}/{trainer.recipe.epochs}")
            return lambda step, loss: bar.update(task, completed=step + 1, loss=f"loss {loss:.3f}")

        yield begin


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run_click(cli)


if __name__ == "__main__":
    main()
