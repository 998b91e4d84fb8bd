"""Write the README's table of the model's options anew, from the options themselves.

python -m scripts.options
"""

from __future__ import annotations

from fairseq_plugins.listing import listed, markdown
from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from scripts.results import ROOT, put_table

COMMAND = "python -m scripts.options"


def table() -> str:
    """The model's own options, in Markdown."""
    own, _ = listed()
    return "\n".join(markdown(own))


def main() -> None:
    Parser(prog="scripts.options", description=__doc__).parse_args()
    put_table(ROOT / "README.md", COMMAND, table())


if __name__ == "__main__":
    terminal.run(main)
