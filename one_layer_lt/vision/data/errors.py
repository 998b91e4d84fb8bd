"""What is wrong with data."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be read. Its text is one line, and names the file or value, and the mend."""
