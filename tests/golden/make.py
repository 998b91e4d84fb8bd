"""Write golden tickets by the code of any tree, and note their digests in digests.json.

    PYTHONPATH=TREE python tests/golden/make.py cases vision translation    # of TREE's one_layer_lt; or: later

Refuses to overwrite: a ticket that is there stays as it is, for what was written once must be read for ever. Where a
test of golden tickets fails, it is the code that is to be mended. New cases, under new names, may be added.

digests.json has of each ticket the commit of the tree that wrote it, the digest of the model that it gives
(``model_digest``) and, of translators, a few lines with their translations.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import one_layer_lt
from one_layer_lt import MaskConfig, Ticket, load_ticket, mask_

HERE = Path(__file__).resolve().parent
TICKETS, DIGESTS = HERE / "tickets", HERE / "digests.json"
sys.path.append(str(HERE.parents[1]))  # for tests.*, and after the tree whose code writes

from tests.golden.cases import CASES, LATER, MODELS, Case, made  # noqa: E402

DECODING = {"beam": 2, "max_len_b": 30}
LINES = ["Alpha bravo charlie.", "Hotel golf delta echo foxtrot."]
UPDATES = 200


def model_digest(model: nn.Module) -> str:
    """SHA-256 (hex) of the little-endian float32 bytes of a dense model's tensors, in the order of their names.

    Those are its parameters, tied ones each time, and the buffers of more than one number that are saved with it.
    """
    held = dict(model.named_parameters(remove_duplicate=False))
    held |= {name: buffer for name, buffer in model.state_dict().items() if name not in held and buffer.numel() > 1}
    digest = hashlib.sha256()
    for name in sorted(held):
        digest.update(held[name].detach().float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def dense_model(ticket: Ticket, name: str) -> nn.Module:
    """The model that the golden ticket ``name`` gives."""
    case = {**CASES, **LATER}.get(name)
    return ticket.model() if case is None else ticket.fill_(MODELS[case.model]())


def new_ticket(case: Case) -> Ticket:
    """The ticket of a case, by the code that runs now."""
    return Ticket.of(made(case), case.architecture, case.assets)


def vision() -> Ticket:
    """A small network for images with batch norms."""
    about = {"model": "conv2", "shape": [1, 8, 8], "width": 0.0625, "affine": True, "binary": True}
    about |= {"kind": "vision", "classes": ["one", "two", "three"], "mean": [0.5], "std": [0.25]}
    torch.manual_seed(1)
    from one_layer_lt.vision import models

    model = models.build("conv2", shape=(1, 8, 8), classes=3, width=0.0625, affine=True, binary=True)
    mask_(model, MaskConfig(rule="biprop", keep=0.3, share="none", init="signed_constant"))
    for _ in range(3):
        model.train()(torch.randn(8, 1, 8, 8))  # for the statistics of the batch norms
    return Ticket.of(model, about)


def translation() -> Iterator[tuple[str, Ticket]]:
    """Tiny Transformers that have learnt a little, of both kinds of subwords."""
    from fairseq_plugins.ticket import from_checkpoint
    from one_layer_lt.text.subwords import Subword
    from tests.plugin.running import TICKET_RECIPE, prepared, train

    flags = [*TICKET_RECIPE, "--max-tokens", "400"]
    kinds = {
        "translation-sentencepiece": (Subword("sentencepiece", 60), ("xx", "yy"), True, flags),
        "translation-moses-bpe": (
            *(Subword("moses-bpe", 30, lowercase=True), ("de", "en"), False),
            [*flags, "--keep", "0.3", "--layer-norm", "affine", "--share", "stack"],
        ),
    }
    for name, (subword, languages, joined, chosen) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            data = prepared(Path(folder), subword, languages, joined)
            yield name, from_checkpoint(train(data, Path(folder) / "run", *chosen, updates=UPDATES), data)


def tickets(group: str) -> Iterator[tuple[str, Ticket]]:
    """The tickets of a group: ``cases``, ``later``, ``vision`` or ``translation``."""
    if group == "translation":
        yield from translation()
    elif group == "vision":
        yield "vision", vision()
    else:
        yield from ((name, new_ticket(case)) for name, case in {"cases": CASES, "later": LATER}[group].items())


def translations(ticket: Ticket) -> dict[str, str]:
    """A few lines, and what they are translated to."""
    from one_layer_lt.translation import Decoding

    return dict(zip(LINES, ticket.translator("torch").translate(LINES, Decoding(**DECODING))))


def commit() -> str:
    """That of the code which runs. Exits where the code is not as committed."""
    tree = Path(one_layer_lt.__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(tree), *arguments], check=True, capture_output=True, text=True).stdout

    if git("status", "--porcelain", "--", "one_layer_lt", "fairseq_plugins", "data_prep"):
        sys.exit(
            f"make.py: error: {tree} has changes that are not committed: no commit would name what wrote the files"
        )
    return git("rev-parse", "HEAD").strip()


def main(groups: list[str]) -> None:
    known = ("cases", "later", "vision", "translation")
    if not groups or not set(groups) <= set(known):
        sys.exit(f"make.py: error: name the groups to write, of: {', '.join(known)}")
    digests: dict[str, Any] = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    wrote_by = commit()
    for group in groups:
        for name, ticket in tickets(group):
            path = TICKETS / f"{name}.ticket"
            if path.exists() or name in digests:
                print(f"{path.name} is there already, and is left as it is")
                continue
            ticket.save(path)
            found = load_ticket(path)
            digests[name] = {"commit": wrote_by, "model": model_digest(dense_model(found, name))}
            if group == "translation":
                digests[name]["translations"] = translations(found)
            print(f"{path.name}: {path.stat().st_size:,} bytes")
            DIGESTS.write_text(json.dumps(digests, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
