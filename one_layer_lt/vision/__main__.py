"""python -m one_layer_lt.vision: the same as `one-layer-lt vision`."""

from ..cli import main

main("vision")
