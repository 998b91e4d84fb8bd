"""Write the README's table of the model's options anew, from the options themselves.

python -m scripts.options
"""

from __future__ import annotations

from data_prep.lib import cli
from fairseq_plugins.listing import listed, markdown
from scripts.results import put_table
from scripts.score import ROOT

COMMAND = "python -m scripts.options"


def table() -> str:
    """The model's own options, in Markdown."""
    own, _ = listed()
    return "\n".join(markdown(own))


def main() -> None:
    cli.Parser(prog="scripts.options", description=__doc__).parse_args()
    put_table(ROOT / "README.md", COMMAND, table())


if __name__ == "__main__":
    cli.run(main)
