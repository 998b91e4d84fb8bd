"""The same as `one-layer-lt launch`: stored commands name this file."""

from one_layer_lt.cli import main

if __name__ == "__main__":
    main("launch")
