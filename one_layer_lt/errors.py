"""The error that a user should see: a single line that names the file, flag or value, and the mend."""


class UserError(ValueError):
    """Something the user can mend. Its text is the whole message."""
