"""The plugin's corpus, model and ticket."""

from tests.plugin.conftest import checkpoint, corpus, data, ticket

__all__ = ["checkpoint", "corpus", "data", "ticket"]
