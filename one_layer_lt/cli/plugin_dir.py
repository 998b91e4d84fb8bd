"""Print the folder of the fairseq plugin, for fairseq's commands.

fairseq-train data-bin/multi30k.de-en --user-dir "$(one-layer-lt plugin-dir)" --arch one_layer_masked ...
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from ..errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> None:
    """As fairseq compares folders of plugins: the very words that Python imports it by."""
    spec = find_spec("fairseq_plugins")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("fairseq_plugins is not installed beside one_layer_lt: install the project anew")
    print(spec.submodule_search_locations[0])
