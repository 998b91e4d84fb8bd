"""Options under the names that they once had: still understood, in commands and in checkpoints, and shown nowhere."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from typing import Any

RENAMED = {
    "mask_seed": "ticket_seed",
    "rule_of": "rule_per_kind",
    "keep_of": "keep_per_kind",
    "scale_of": "weight_scale_per_kind",
    "share": "share_weights",
    "share_heads": "share_masks",
}
_TYPES: dict[str, Any] = {"mask_seed": int}


def flag(name: str) -> str:
    """``--keep-per-kind`` of ``keep_per_kind``."""
    return "--" + name.replace("_", "-")


def add_old_names(parser: ArgumentParser) -> None:
    """Let ``parser`` take the old names, without a word of them in its help."""
    for old in RENAMED:
        how = {"action": "store_true"} if old == "share_heads" else {"type": _TYPES.get(old, str)}
        parser.add_argument(flag(old), dest=old, default=SUPPRESS, help=SUPPRESS, **how)


def rename_(args: Namespace) -> None:
    """Give options that came under old names their new ones, in place.

    Raises ``ValueError`` where one came under both names.
    """
    given = {old: getattr(args, old) for old in RENAMED if hasattr(args, old)}
    for old in given:
        delattr(args, old)
    heads, share = given.pop("share_heads", False), given.get("share")
    if heads or share is not None:
        layers = share == "layer_mask"
        masks = "both" if heads and layers else "heads" if heads else "layers" if layers else "none"
        if layers:
            given["share"] = "layer"
        if masks != "none":
            given["share_masks"] = masks
    for old, value in given.items():
        new = RENAMED.get(old, old)
        if getattr(args, new, value) != value:
            said = "--share-heads or --share layer_mask" if old == new else flag(old)
            raise ValueError(f"{said} is an old name of {flag(new)}, which is given, too: leave it out")
        setattr(args, new, value)
