"""one-layer-lt where some packages are not installed: ``python -m tests.support.without NAME,NAME ARGUMENTS``.

Unlike ``tests.text.alone`` it may be forked (``tests.support.forked``): what is blocked is forgotten first.
"""

from __future__ import annotations

import sys

from tests.text.alone import ALONE

if __name__ == "__main__":
    names = sys.argv.pop(1).split(",")
    for loaded in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[loaded]
    exec(ALONE.format(blocked=names))

    from one_layer_lt.cli import main

    main()
