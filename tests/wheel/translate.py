"""With the extra `translate`, without fairseq: a translator's ticket is looked into, and translates or says why not."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

TICKET = Path(__file__).parents[1] / "golden" / "tickets" / "translation-sentencepiece.ticket"


def command(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    path = Path(sys.executable).with_name("one-layer-lt")
    return subprocess.run([path, *arguments], input=text, capture_output=True, text=True, check=False)


installed = {distribution.metadata["Name"].lower() for distribution in distributions()}
assert not installed & {"fairseq", "ve-fairseq", "sacrebleu"}, installed
for name in ("info", "verify"):
    done = command(name, str(TICKET))
    assert done.returncode == 0, done.stderr
done = command("translate", str(TICKET), text="alpha bravo\n")
said = done.stderr.strip().splitlines()
assert done.returncode == 0 or (done.returncode == 2 and len(said) == 1 and "one_layer_lt[fairseq]" in said[0]), said
