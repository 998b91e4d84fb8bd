"""The error that a user should see: a single line that names the file, flag or value, and the mend."""

from __future__ import annotations

import re
from collections.abc import Mapping


class UserError(ValueError):
    """Something the user can mend. Its text is the whole message."""


def flagged(said: object, flags: Mapping[str, str]) -> str:
    """What the library says of its arguments, said of a command's flags. flags: argument -> flag.

    An argument is told from the same word of English: it opens the message, has an underscore, or a number follows.
    """

    def flag(match: re.Match[str]) -> str:
        name = match[0]
        return flags.get(name, name) if "_" in name or not match.start() or match[1] else name

    return re.sub(r"(?<![\w-])[a-z_]+\b(?=( -?\d)?)", flag, str(said))
