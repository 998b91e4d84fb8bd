"""What is wrong with data."""

from ...errors import UserError


class DataError(UserError):
    """Data that cannot be read. Its text is one line, and names the file or value, and the mend."""
