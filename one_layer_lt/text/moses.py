"""Moses' own scripts, as the PyPI package `mosestokenizer` ships them, and the little ones that it does not ship.

sacremoses, a port to Python, differs from the real tokenizer on about one line in a hundred; so the Perl is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..errors import UserError
from ..optional import need
from ..progress import progress
from .lines import open_binary, read_lines

LOWERCASE = ("perl", "-CS", "-pe", "$_ = lc")
# Every character of Unicode's category "other" becomes a space; the line end is one of them, hence -l.
NO_CONTROL_CHARACTERS = ("perl", "-CS", "-lpe", r"s/\p{C}/ /g")
# What Moses' repository, which the published recipes clone, has changed since the script that mosestokenizer ships:
# a line's last full stop or comma always stands apart, and "Inc." is no abbreviation any more.
SINCE_SHIPPED = (
    "perl",
    "-CS",
    "-pe",
    r"s/(?:^| )\KInc\.(?= \P{IsLower})/Inc ./g;"
    r"s/(?:^| )(?!\.+$)\S+\K\.$/ ./; s/\p{IsN}\K,$/ ,/; s/\.&apos;$/ . &apos; /",
)
MAX_WORD = 1000  # characters: the cleaner drops lines with a longer word


def normalizer(language: str) -> Sequence[str]:
    """Moses' normalize-punctuation.perl."""
    return ("perl", str(_script("normalize-punctuation.perl")), "-l", language)


def tokenizer(language: str, aggressive: bool = False) -> list[Sequence[str]]:
    """Moses' tokenizer with the language's nonbreaking prefixes. The threads do not change what it writes."""
    script = str(_script("tokenizer-v1.1.perl"))
    threads = str(min(8, os.cpu_count() or 1))
    command = ["perl", script, "-q", "-threads", threads, "-l", language]
    return [command + ["-a"] if aggressive else command, SINCE_SHIPPED]


def pipe(commands: Sequence[Sequence[str]], source: Path, target: Path, append: bool = False) -> None:
    """`source | command | ... > target` (or `>>`), line by line, with progress in bytes read."""
    if not shutil.which("perl"):
        raise UserError("perl is not installed, and the Moses tokenizer needs it (Debian: apt-get install perl)")
    environment = {**os.environ, "LC_ALL": "C"}
    environment.pop("PERL_UNICODE", None)  # it would change what the scripts read and write
    with ExitStack() as stack:
        text = stack.enter_context(open_binary(source))
        out = stack.enter_context(target.open("ab" if append else "wb"))
        complaints = stack.enter_context(tempfile.TemporaryFile())
        chain: list[subprocess.Popen[bytes]] = []
        for number, command in enumerate(commands, 1):
            process = subprocess.Popen(
                command,
                stdin=chain[-1].stdout if chain else subprocess.PIPE,
                stdout=out if number == len(commands) else subprocess.PIPE,
                stderr=complaints,
                env=environment,
            )
            if chain and chain[-1].stdout:
                chain[-1].stdout.close()  # the next process holds the only other end
            chain.append(process)
            stack.callback(process.wait)
        feed = chain[0].stdin
        assert feed is not None
        bar = stack.enter_context(progress(source.name, unit="B"))
        try:
            with feed:
                while block := text.read(1 << 16):
                    feed.write(block)
                    bar.update(len(block))
        except BrokenPipeError:
            pass  # a process died: its exit status tells
        failures = [process.wait() for process in chain]  # of all, so that none is left behind
        if any(failures):
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
            mend = "a full perl is needed: Debian's perl, not perl-base"
            raise UserError(f"Moses failed on {source.name}: {said[0]} ({mend})")


def tokenize(source: Path, target: Path, language: str, lowercase: bool = False, aggressive: bool = False) -> None:
    """Tokenise a file of one sentence a line, and lower-case it if asked."""
    pipe([*tokenizer(language, aggressive), *([LOWERCASE] if lowercase else [])], source, target)


def detokenise(lines: Sequence[str], language: str) -> list[str]:
    """Undo the tokenizer, by Moses' own script."""
    command = ("perl", str(_script("detokenizer.perl")), "-q", "-l", language)
    return [line.strip() for line in through([command], lines)]


def through(commands: Sequence[Sequence[str]], lines: Sequence[str]) -> list[str]:
    """What a pipe makes of a few lines."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.write_bytes("".join(line + "\n" for line in lines).encode())
        pipe(commands, source, target)
        return list(read_lines(target))


def clean(pairs: Iterable[tuple[str, str]], shortest: int, longest: int, ratio: float) -> Iterator[int]:
    """Positions (from 0) of the pairs of tokenised lines that clean-corpus-n.perl keeps.

    It also deletes "|", which the tokenizer has escaped already.
    """
    for position, pair in enumerate(pairs):
        words = [line.split() for line in pair]
        left, right = map(len, words)
        if not (shortest <= left <= longest and shortest <= right <= longest and left and right):
            continue
        if left / right > ratio or right / left > ratio:
            continue
        if any(len(word) > MAX_WORD for side in words for word in side):
            continue
        yield position


def _script(name: str) -> Path:
    return Path(need("mosestokenizer", "data").__path__[0], name)
