"""The same as `one-layer-lt embeddings`: stored commands name this file."""

from one_layer_lt.cli import main

if __name__ == "__main__":
    main("embeddings")
