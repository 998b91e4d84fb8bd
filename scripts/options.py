"""Write the tables of docs/options.md: the model's options, its named sizes, and the settings of masks.

python -m scripts.options
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from fairseq_plugins import listing
from fairseq_plugins.archs import SIZES
from fairseq_plugins.masking import DECIDED_BY
from fairseq_plugins.old_names import flag
from one_layer_lt import MaskConfig, markdown, terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.vision.recipes import Recipe
from scripts.results import ROOT

PAGE = ROOT / "docs" / "options.md"
COMMAND = "python -m scripts.options"
COLUMNS = ("`--arch`", "width", "feed-forward width", "attention heads", "layers of encoder and decoder")
SETTINGS = ("field of `MaskConfig`", "`fairseq-train`", "`one-layer-lt vision train`")


def tables() -> dict[str, str]:
    """The page's tables in Markdown, by the command that marks the place of each."""
    own, _ = listing.listed()
    sizes = (
        (f"`{name}`", width, f"{ffn:,}", heads, f"{layers}+{layers}")
        for name, (width, ffn, heads, layers) in SIZES.items()
    )
    return {
        COMMAND: "\n".join(listing.markdown(own)),
        f"{COMMAND}, sizes": "\n".join(markdown.table(COLUMNS, *sizes)),
        f"{COMMAND}, settings": "\n".join(markdown.table(SETTINGS, *_settings())),
    }


def _settings() -> Iterator[tuple[str, str, str]]:
    """Each field of ``MaskConfig``, and its options."""
    of_images = {field.name for field in fields(Recipe)}
    for field in fields(MaskConfig):
        of_translators = ", ".join(f"`{flag(name)}`" for name in DECIDED_BY[field.name])
        yield f"`{field.name}`", of_translators, f"`{flag(field.name)}`" if field.name in of_images else ""


def main() -> None:
    Parser(prog="scripts.options", description=__doc__).parse_args()
    for command, table in tables().items():
        markdown.put_table(PAGE, command, table)


if __name__ == "__main__":
    terminal.run(main)
