"""With the extra `translate`, without fairseq: a translator's ticket is looked into, translates, and is converted."""

from __future__ import annotations

import json
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
expected = json.loads((TICKET.parents[1] / "digests.json").read_text())[TICKET.stem]["translations"]
lines = "".join(f"{line}\n" for line in expected)
search = ["--beam", "2", "--max-len-b", "30"]
done = command("translate", str(TICKET), *search, text=lines)
assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", [*expected.values()]), done
done = command("translate", str(TICKET), "--quantization", "int8", text=lines)
assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", len(expected)), done
done = command("translate", str(TICKET), "--engine", "torch", text=lines)
said = "error: fairseq is not installed: pip install 'one_layer_lt[fairseq]'\n"
assert (done.returncode, done.stderr, done.stdout) == (2, said, ""), done
done = command("convert", str(TICKET), "--to", "ctranslate2", "-o", "folded")
assert done.returncode == 0, done.stderr
assert Path("folded", "model.bin").is_file()
