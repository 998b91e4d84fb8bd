"""With the extra `fairseq`, outside the clone: one's own text is prepared, trained on, scored, and made a ticket."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
chance = random.Random(1)
words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"]


def run(*command: str, text: str = "") -> str:
    done = subprocess.run([BIN / command[0], *command[1:]], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


Path("raw").mkdir(exist_ok=True)
for split, pairs in (("train", 60), ("valid", 8), ("test", 8)):
    lines = [" ".join(chance.choices(words, k=chance.randint(2, 6))) for _ in range(pairs)]
    Path("raw", f"{split}.en").write_text("".join(f"{line}\n" for line in lines))
    Path("raw", f"{split}.xx").write_text("".join(f"{line.upper()}\n" for line in lines))
run(
    "python",
    "-m",
    "data_prep.corpus",
    "--from",
    "raw",
    "--source",
    "en",
    "--target",
    "xx",
    "--size",
    "40",
    "--out",
    "data",
)
plugin = run("one-layer-lt", "plugin-dir").strip()
run(
    *("fairseq-train", "data", "--user-dir", plugin, "--arch", "one_layer_masked_tiny", "--cpu", "--max-tokens", "400"),
    *("--optimizer", "adam", "--lr", "5e-3", "--max-update", "20", "--save-dir", "run", "--no-epoch-checkpoints"),
)
assert "BLEU" in run("one-layer-lt", "score", "run", "--data", "data")
run("one-layer-lt", "export", "run/checkpoint_best.pt", "--data", "data", "-o", "net.ticket")
for engine in ("torch", "ctranslate2"):
    assert run("one-layer-lt", "translate", "net.ticket", "--engine", engine, text="alpha bravo\n").count("\n") == 1
