"""python -m one_layer_lt: the command line, where `one-layer-lt` is not installed."""

from .cli import main

main()
