"""Networks for images: train them by masks, evaluate them, make tickets of them.

one-layer-lt vision train
one-layer-lt vision train --recipe mnist-conv2 --root FOLDER --epochs 3
one-layer-lt vision evaluate runs/vision/mnist-conv2 --root FOLDER
one-layer-lt vision export runs/vision/mnist-conv2 --root FOLDER -o conv2.ticket
one-layer-lt vision evaluate conv2.ticket --data mnist --root FOLDER
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import torch

from ..errors import UserError, flagged
from ..progress import progress
from ..ticket import Ticket, load_ticket
from ..ticket.sizes import sizes
from ..vision import data as datasets
from ..vision.belonging import for_model
from ..vision.recipes import RECIPES, Recipe, recipe_of
from ..vision.ticket import checked, ticket_of
from ..vision.train import Trainer, World, load_run, train
from .parser import add_out

_KINDS: dict[str, Any] = {"str": str, "int": int, "float": float}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(does: Callable[[argparse.Namespace], None], name: str, broken: bool = True) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=does.__doc__, description=does.__doc__)
        added.set_defaults(does=does)
        added.add_argument("--root", type=Path, metavar="PATH", help="where the data is: a folder, or an archive")
        if broken:
            said = "images that cannot be decoded (refuse)"
            added.add_argument("--broken", choices=["refuse", "skip"], default="refuse", help=said)
        return added

    training = action(_train, "train")
    said = f"settings to start from, any of which is changed by its option below: {', '.join(RECIPES)} (digits)"
    training.add_argument("--recipe", choices=list(RECIPES), default="digits", metavar="NAME", help=said)
    add_out(training, "the folder to write (runs/vision/RECIPE)", "FOLDER", required=False)
    for field in dataclasses.fields(Recipe):
        _add_setting(training, field)

    evaluation = action(_evaluate, "evaluate")
    evaluation.add_argument("path", type=Path, metavar="FOLDER", help="a run's folder, or a ticket")
    evaluation.add_argument("--data", metavar="NAME", help="the data set (that of the run); a ticket needs it")

    exporting = action(_export, "export", broken=False)
    exporting.add_argument("folder", type=Path, metavar="FOLDER", help="a run's folder")
    add_out(exporting, "the ticket to write")

    about = actions.add_parser("info", help=_info.__doc__, description=_info.__doc__)
    about.set_defaults(does=_info)
    about.add_argument("file", type=Path, metavar="TICKET", help="a ticket")


def run(args: argparse.Namespace) -> None:
    args.does(args)


def _add_setting(parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
    """The option of a recipe's field."""
    kind = str(field.type).replace("Optional[", "").rstrip("]")
    flag, said = f"--{field.name.replace('_', '-')}", field.metadata["help"] + _of_digits(field.name)
    if kind == "bool":
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=said)
    else:
        metavar = field.metadata["metavar"] or {"str": "NAME", "int": "N", "float": "X"}[kind]
        parser.add_argument(flag, type=_KINDS[kind], metavar=metavar, help=said)


def _of_digits(name: str) -> str:
    """A setting's value in the recipe that is the default, for its help; nothing where it is not set."""
    value = getattr(RECIPES["digits"], name)
    shown = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
    return "" if shown in (None, "") else f" (digits: {shown})"


def _train(args: argparse.Namespace) -> None:
    """Train by a named recipe, any of its settings changed by its option."""
    settings = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe)}
    try:
        recipe = recipe_of(args.recipe, {name: value for name, value in settings.items() if value is not None})
    except ValueError as error:
        raise UserError(flagged(error, {name: f"--{name.replace('_', '-')}" for name in settings})) from None
    data = datasets.load(recipe.data, args.root, size=recipe.size, broken=args.broken)
    world = World.join()
    try:
        with _progress(recipe, world) as begin:
            last = train(recipe, data, args.out or Path("runs", "vision", args.recipe), world, begin)
    finally:
        world.leave()
    if world.rank == 0:
        print(f"test accuracy {100 * last['accuracy']:.2f}% after {last['epoch']} epochs")


def _evaluate(args: argparse.Namespace) -> None:
    """Tell the test accuracy of a run's folder, or of a ticket, which needs --data."""
    if args.path.is_dir():
        recipe = _recipe(args.path)
        data = datasets.load(args.data or recipe.data, args.root, size=recipe.size, broken=args.broken)
        trainer = load_run(args.path, data)
    elif args.data is None:
        raise UserError("a ticket does not know its data set: name it by --data")
    else:
        trainer, data = of_ticket(load_ticket(args.path), str(args.path), args.data, args.root, args.broken)
    print(f"test accuracy {100 * trainer.accuracy(data.test):.2f}% of {len(data.test):,} images")


def _export(args: argparse.Namespace) -> None:
    """Make a ticket of a run."""
    recipe = _recipe(args.folder)
    data = datasets.load(recipe.data, args.root, size=recipe.size)
    trainer = load_run(args.folder, data)
    ticket = ticket_of(trainer.model, trainer.recipe, trainer.data)
    ticket.save(args.out)
    print(f"{args.out}: {sizes(ticket).file:,} bytes")


def _info(args: argparse.Namespace) -> None:
    """Tell what network a ticket holds, and its size."""
    ticket = load_ticket(args.file)
    about, measured = checked(ticket), sizes(ticket)
    print(f"{about['model']} for {len(about['classes'])} classes of images {about['shape']}")
    print(f"{measured.file:,} bytes; dense in float32 {measured.dense:,}: {measured.dense / measured.file:.1f} times")
    print("more: one-layer-lt info TICKET")


def _recipe(run: Path) -> Recipe:
    return Recipe(**json.loads((run / "recipe.json").read_text()))


def of_ticket(
    ticket: Ticket, who: str, name: str, root: Optional[Path], broken: str = "refuse"
) -> tuple[Trainer, datasets.DataSet]:
    """What evaluates a ticket, which messages call ``who``, and the data set ``name`` as its network sees it."""
    about = checked(ticket)
    data = datasets.load(name, root, size=max(about["shape"][1:]), broken=broken)
    data = for_model(data, about, who)
    recipe = Recipe(
        data=name, model=about["model"], width=about["width"], affine=about["affine"], binary=about["binary"]
    )
    trainer = Trainer(recipe, data, World(), torch.device("cpu"))
    trainer.model = ticket.model()
    return trainer, data


@contextmanager
def _progress(recipe: Recipe, world: World) -> Iterator[Callable[[Trainer], Callable[[int, float], None]]]:
    """A bar over all epochs, of the first process."""
    with progress("training", unit="batches", shown=not world.rank) as bar:

        def begin(trainer: Trainer) -> Callable[[int, float], None]:
            bar.total, bar.n = recipe.epochs * trainer.steps, trainer.epoch * trainer.steps

            def step(done: int, loss: float) -> None:
                bar.note = f"epoch {trainer.epoch + 1}/{recipe.epochs}, loss {loss:.3f}"
                bar.update()

            return step

        yield begin
