"""Tickets with a digest that fits, as a stranger could have signed them."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from one_layer_lt import TicketError, cli, load_ticket
from one_layer_lt.cli import info, verify
from one_layer_lt.ticket.sizes import sizes
from tests.core.test_ticket_fuzz import ODD, places
from tests.hostile.engine import ACCEPTED, GOLDEN, REFUSED, Case
from tests.support.edits import all_edits, set_entry, set_tensor
from tests.support.signing import Edit, metadata_of, resign, signed

NET, BPE, PIECES = "edge_popup", "translation-moses-bpe", "translation-sentencepiece"
COMMANDS: dict[str, list[str]] = {
    "info": ["info", "FILE"],
    "verify": ["verify", "FILE"],
    "translate": ["translate", "FILE", "--beam", "1", "--max-len-b", "5"],
    "convert": ["convert", "FILE", "--to", "fairseq", "-o", "folded"],
}


def changed(edit: Edit, of: str = NET) -> Callable[[Path], Path]:
    """A kept ticket after an edit, signed anew."""

    def make(folder: Path) -> Path:
        path = folder / "a.ticket"
        path.write_bytes((GOLDEN / f"{of}.ticket").read_bytes())
        return resign(path, edit)

    return make


def written(about: dict[str, Any], tensors: dict[str, Tensor]) -> Callable[[Path], Path]:
    """A ticket of these parts, the others as in an honest one."""

    def make(folder: Path) -> Path:
        honest = metadata_of((GOLDEN / f"{NET}.ticket").read_bytes())
        (folder / "a.ticket").write_bytes(signed({**honest, **about}, tensors))
        return folder / "a.ticket"

    return make


def command(name: str, text: str = "ab ab\n") -> Callable[[Path], None]:
    """A subcommand, on a file and this standard input."""

    def read(path: Path) -> None:
        sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
        cli.call([str(path) if word == "FILE" else word for word in COMMANDS[name]])

    return read


def one(shape: list[int], size: int, config: dict[str, Any], masks: int = 1, **more: Any) -> dict[str, Any]:
    """Metadata of masks over one random weight."""
    weight = {"name": "w", "shape": shape, "init": "kaiming_uniform", "seed": 1, "scale": 1.0, "digest": "x"}
    return {
        "weights": [weight],
        "configs": [config],
        "masks": [{"name": f"m{number}", "weight": 0, "config": 0} for number in range(masks)],
        "planes": [{"coding": "raw", "size": size}],
        **more,
    }


def zeros(size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.uint8)


def deflated(raw: bytes) -> Tensor:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return torch.frombuffer(bytearray(coder.compress(raw) + coder.flush()), dtype=torch.uint8)


def redrawn() -> Callable[[Path], Path]:
    """All numbers of draws there are, over few weights."""
    n = 98_304
    numbers = [at % 32_767 + 1 for at in range(n)]
    raw = bytes(number & 255 for number in numbers) + bytes(number >> 8 for number in numbers)
    about = one([n // 8, 8], n // 8, {"rule": "bernoulli"}, redraws={"0": {"coding": "raw", "size": len(raw)}})
    tensors = {"planes.0": zeros(n // 8), "redraws.0": torch.frombuffer(bytearray(raw), dtype=torch.uint8)}
    return written(about, tensors)


def many_weights() -> Callable[[Path], Path]:
    about = one([1, 8], 3_000, {"rule": "bernoulli"})
    spec = about["weights"][0]
    about["weights"] = [{**spec, "name": f"w{number}"} for number in range(3_000)]
    about["masks"] = [{"name": f"m{number}", "weight": number, "config": 0} for number in range(3_000)]
    return written(about, {"planes.0": zeros(3_000)})


def named(name: str) -> Edit:
    return set_entry("masks", 0, "name", name)


def asset(name: str, content: bytes) -> Edit:
    return all_edits(
        set_entry("assets", name, {"coding": "raw", "size": len(content)}),
        set_tensor(f"asset.{name}", torch.frombuffer(bytearray(content), dtype=torch.uint8)),
    )


def dictionary(edit: Callable[[list[str]], list[str]], of: str = PIECES) -> Callable[[Path], Path]:
    """A ticket whose dictionary is changed line by line."""
    lines = load_ticket(GOLDEN / f"{of}.ticket").assets["dict.source"].decode().splitlines()
    return changed(asset("dict.source", "\n".join([*edit(lines), ""]).encode()), of)


def deep_layers(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    about["architecture"] |= {"encoder_layers": 1024, "decoder_layers": 1024}
    tensors |= {f"dense.x{number}": torch.zeros(0) for number in range(2048)}


def odd_values(of: str, most: int, step: int) -> tuple[Callable[[Path], Path], Callable[[Path], tuple[int, int]]]:
    """Every entry of the metadata in turn takes every odd value, and all that opens tickets reads it."""

    def make(folder: Path) -> Path:
        return changed(lambda about, tensors: None, of)(folder)

    def variants(about: dict[str, Any]) -> Iterator[None]:
        for container, key in places(about, most=most):
            value = container[key]
            for odd in [*ODD, *TERMINAL]:
                container[key] = copy.deepcopy(odd)
                yield
            container[key] = value

    def read(path: Path) -> tuple[int, int]:
        raw = path.read_bytes()
        about, tensors = metadata_of(raw), load(raw)
        tried = refused = 0
        for number, _ in enumerate(variants(about)):
            if number % step:
                continue
            path.write_bytes(signed(about, tensors))
            tried += 1
            try:
                opened(path)
            except TicketError:
                refused += 1
        return tried, refused

    return make, read


TERMINAL = ["\x1b[2J", "a\x07", "[/bold]", ":smile:", "\u202e", "\x9b31m", "a\nb"]


def opened(path: Path) -> None:
    """What the subcommands do with a ticket; the network is built and run where the ticket says how."""
    ticket = load_ticket(path)
    measured = sizes(ticket)
    info._table(measured)
    list(info._summary(ticket, measured))
    verify.check(ticket)


def flipped(name: str) -> tuple[Callable[[Path], Path], Callable[[Path], tuple[int, int]]]:
    """An asset with bits flipped, again and again; the text side reads it."""

    def read(path: Path) -> tuple[int, int]:
        from one_layer_lt.text.ticket import Text

        chance, refused, tried = random.Random(1), 0, 300
        raw = path.read_bytes()
        content = load_ticket(path).assets[name]
        for _ in range(tried):
            odd = bytearray(content)
            for _ in range(chance.choice([1, 1, 3, 30])):
                odd[chance.randrange(len(odd))] ^= 1 << chance.randrange(8)
            path.write_bytes(raw)
            resign(path, asset(name, bytes(odd)))
            try:
                text = Text(load_ticket(path))
                text.join([" ".join(words) for words in text.split(["ab ab", "b a"])])
            except TicketError:
                refused += 1
        return tried, refused

    return changed(lambda about, tensors: None, PIECES), read


def cases() -> list[Case]:
    sparse = {"rule": "bernoulli", "drop": 1 - 1e-8}
    patterned = {"rule": "bernoulli", "drop": 0.5}
    huge: list[tuple[str, Callable[[Path], Path]]] = [
        ("a pattern of 1.6 billion weights", written(one([40_000, 40_000], 2, sparse), {"planes.0": zeros(2)})),
        (
            "tiles as large as the shape",
            written(one([30_000, 30_000], 1, {"rule": "bernoulli", "tiles": [30_000, 30_000]}), {"planes.0": zeros(1)}),
        ),
        (
            "2,000 masks over one weight with a pattern",
            written(one([1024, 1024], 9, {**sparse, "drop": 0.9995}, masks=2000), {"planes.0": zeros(9)}),
        ),
        ("32,767 draws of one weight", redrawn()),
        ("a shape of 10^74 weights", changed(set_entry("weights", 0, "shape", [2**31 - 1] * 8))),
        (
            "a bomb",
            changed(all_edits(asset("x", b"x"), set_entry("assets", "x", {"coding": "deflate", "size": 1 << 34}))),
        ),
        (
            "a bomb that claims little",
            changed(
                all_edits(
                    set_entry("assets", "x", {"coding": "deflate", "size": 100_000}),
                    set_tensor("asset.x", deflated(bytes(100 << 20))),
                )
            ),
        ),
        ("metadata nested 100,000 deep", changed(lambda about, _: "[" * 100_000 + "]" * 100_000)),
        ("numbers of 4,000 digits", changed(set_entry("weights", 0, "seed", 10**4000))),
        ("a list of a million lists", changed(lambda about, _: json.dumps({**about, "masks": [[]] * 10**6}))),
    ]
    found = [
        Case(
            name,
            make,
            command(reader),
            None if name.startswith(("numbers", "32,767")) else REFUSED,
            slow=reader == "verify" or name.startswith("32,767"),
        )
        for name, make in huge
        for reader in ("info", "verify")
    ]
    found.append(Case("3,000 weights", many_weights(), command("info"), ACCEPTED, slow=True))
    found.append(
        Case(
            "as many weights with a pattern as a file may cover",
            written(one([4096, 4096], 1 << 20, patterned), {"planes.0": zeros(1 << 20)}),
            command("verify"),
        )
    )
    found.append(
        Case(
            "as many weights as a file may cover, of another digest",
            written(one([4096, 4096], 1 << 21, {"rule": "bernoulli"}), {"planes.0": zeros(1 << 21)}),
            command("verify"),
        )
    )
    for name in ("x[/bold]y", ":smile:", "[link=file:///etc/passwd]x[/link]"):
        found.append(Case(f"a mask called {name}", changed(named(name)), command("info"), ACCEPTED))
    for name in ("\x1b[2J", "a\nb", "\x9b31m", "\ud800", "\x00", "a" * 10**6):
        found.append(Case(f"a mask called {name!r:.12}", changed(named(name)), command("info")))
    for value in (math.nan, math.inf, 1e308):
        dense = set_tensor("dense.norm.weight", torch.tensor([1, value]))
        found.append(Case(f"a tensor that holds {value:g}", changed(dense), command("verify"), None))
        found.append(Case(f"a scale of {value:g}", changed(set_entry("weights", 0, "scale", value)), command("verify")))
        found.append(
            Case(f"settings of {value:g}", changed(set_entry("architecture", {"x": value})), command("info"), None)
        )
    texts: list[tuple[str, Callable[[Path], Path], str | None]] = [
        (
            "BPE codes of a version without an end",
            changed(asset("subwords", b"#version: " + b".0" * 60_000 + b".\n"), BPE),
            REFUSED,
        ),
        ("BPE codes that are none", changed(asset("subwords", b"#version: 0.2\n\x1b[2J a b\n"), BPE), REFUSED),
        ("BPE codes that are no UTF-8", changed(asset("subwords", b"#version: 0.2\n\xff\xfe b\n"), BPE), REFUSED),
        ("empty BPE codes", changed(asset("subwords", b"\n"), BPE), REFUSED),
        ("sentencepieces that are none", changed(asset("subwords", bytes(range(256))), PIECES), REFUSED),
        ("a dictionary of one word, again and again", dictionary(lambda lines: lines[:1] * len(lines)), REFUSED),
        ("a dictionary of odd counts", dictionary(lambda lines: ["x \x1b[2J"] * len(lines)), REFUSED),
        ("a dictionary that is no UTF-8", changed(asset("dict.source", b"\xff 1\n"), PIECES), REFUSED),
        ("a dictionary of one line", dictionary(lambda lines: ["x" * 10**6 + " 1"]), REFUSED),
        (
            "a dictionary that drives terminals",
            dictionary(lambda lines: [f"\x1b[{number}m\x07\x9b {number}" for number in range(len(lines))]),
            ACCEPTED,
        ),
        ("2,048 layers of nothing", changed(deep_layers, PIECES), REFUSED),
        ("a language that climbs", changed(set_entry("architecture", "source", "../../x"), PIECES), REFUSED),
        ("a language that is an option", changed(set_entry("architecture", "target", "-x"), BPE), None),
        ("another builder", changed(set_entry("architecture", "kind", "os.system"), PIECES), REFUSED),
    ]
    for name, make, outcome in texts:
        for reader in ("translate", "convert"):
            expected = outcome if reader == "translate" or outcome is None else None
            found.append(Case(f"{name} ({reader})", make, command(reader), expected, slow=reader == "convert"))
    for of, most, step in ((NET, 1, 3), ("vision", 1, 23), (PIECES, 1, 41)):
        make, read = odd_values(of, most, step)
        found.append(Case(f"odd values in {of}", make, read, ACCEPTED))
    for of, most, step in (
        (NET, 9, 1),
        ("vision", 2, 3),
        (PIECES, 2, 7),
        ("several-configs", 9, 1),
        ("iterand-redraws", 9, 1),
    ):
        make, read = odd_values(of, most, step)
        found.append(Case(f"more odd values in {of}", make, read, ACCEPTED, slow=True))
    for name in ("subwords", "dict.source"):
        make, read = flipped(name)
        found.append(Case(f"{name} with bits flipped", make, read, ACCEPTED))
    return found
