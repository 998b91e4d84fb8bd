"""The subcommands of `one-layer-lt` that need fairseq."""
