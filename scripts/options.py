"""Write the tables of docs/options.md: the model's options and its named sizes.

python -m scripts.options
"""

from __future__ import annotations

from fairseq_plugins import listing
from fairseq_plugins.archs import SIZES
from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from scripts import markdown
from scripts.results import ROOT, put_table

PAGE = ROOT / "docs" / "options.md"
COMMAND = "python -m scripts.options"
COLUMNS = ("`--arch`", "width", "feed-forward width", "attention heads", "layers of encoder and decoder")


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
    }


def main() -> None:
    Parser(prog="scripts.options", description=__doc__).parse_args()
    for command, table in tables().items():
        put_table(PAGE, command, table)


if __name__ == "__main__":
    terminal.run(main)
