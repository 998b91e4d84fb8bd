"""The one exception that a user should see: a single line that names the file, flag or value, and the mend."""

from __future__ import annotations


class DataError(Exception):
    """Something the user can mend. Its text is the whole message."""
