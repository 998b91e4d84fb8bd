"""Compare the mask rules: the same model, the same number of updates, one seed, on Multi30k.

    python scripts/rules.py                      # train, score and store all rows that are missing; hours on two cores
    python scripts/rules.py bernoulli signed     # these rows alone
    python scripts/rules.py --table              # only rewrite the table in docs/rules.md

A row that was stopped goes on where it stopped. The corpus must be prepared first: bash data_prep/multi30k.sh
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch

from fairseq_plugins.options import cpu_flags
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from one_layer_lt.ticket.sizes import sizes
from scripts import markdown
from scripts.results import RESULTS, ROOT, put_table, result_of

UPDATES = 400
DATA = Path("data-bin/multi30k.de-en")
PAGE = ROOT / "docs" / "rules.md"
COMMAND = "python scripts/rules.py"
COLUMNS = ("rule", "mask; gradient of the scores", "source", "needs", "bits a weight", "valid loss", "test BLEU")


@dataclass(frozen=True)
class Row:
    """A rule, or a way to share, as a row of the table: flags of fairseq-train, and what the columns say of it."""

    formula: str
    source: str
    needs: str = ""
    flags: str = ""
    rate: float = 1e-3


ROWS: dict[str, Row] = {
    "edge_popup": Row("top k of \\|s\\|; g w sign(s)", "[Ramanujan 2019](https://arxiv.org/abs/1911.13299)", "keep"),
    "topk": Row("top k of s; g w", "straight through", "keep", "--mask-rule topk"),
    "sign": Row(
        "sign(s), keeps all; g w",
        "[Ivan & Florian 2020](https://arxiv.org/abs/2006.16627)",
        "",
        "--mask-rule sign",
    ),
    "signed": Row(
        "sign(s) at top k of \\|s\\|; g w",
        "[Koster 2022](https://arxiv.org/abs/2201.13361)",
        "keep, or threshold",
        "--mask-rule signed",
    ),
    "bernoulli": Row(
        "m ~ Bernoulli(σ(s)), evaluated at σ(s) ≥ ½; g w σ'(s)",
        "[Zhou 2019](https://arxiv.org/abs/1905.01067)",
        "learning rate 0.1",
        "--mask-rule bernoulli",
        rate=0.1,
    ),
    "threshold": Row(
        "s > t; g w", "[Mallya 2018](https://arxiv.org/abs/1801.06519)", "threshold", "--mask-rule threshold"
    ),
    "sigmoid_threshold": Row("σ(s) > t; g w σ'(s)", "variant", "threshold", "--mask-rule sigmoid_threshold"),
    "biprop": Row(
        "α sign(w) at top k of \\|s\\|; g w sign(s)",
        "[Diffenderfer 2021](https://arxiv.org/abs/2103.09377)",
        "keep; stores α",
        "--mask-rule biprop",
    ),
    "biprop, global": Row(
        "as biprop, ranked over all tensors",
        "[Diffenderfer 2021](https://arxiv.org/abs/2103.09377)",
        "keep, ramp; stores α",
        "--mask-rule biprop --mask-options scope=global,ramp=100",
    ),
    "multicoat": Row(
        "sum of nested masks, each a top k of \\|s\\|; g w sign(s)",
        "[Okoshi 2022](https://proceedings.mlr.press/v162/okoshi22a.html)",
        "ratios",
        "--mask-rule multicoat",
    ),
    "annealed": Row(
        "σ(s/T) ≥ ½; g w σ'(s/T)/T",
        "after [Savarese 2020](https://arxiv.org/abs/1912.04427)",
        "schedule of T",
        f"--mask-rule annealed --mask-options over={UPDATES}",
    ),
    "continuous": Row(
        "σ(s/T), then σ(s/T) ≥ ½; g w σ'(s/T)/T",
        "[Savarese 2020](https://arxiv.org/abs/1912.04427), then annealed",
        "schedule of T, learning rate 0.02",
        f"--mask-rule continuous --mask-options over={3 * UPDATES // 4}",
        rate=2e-2,
    ),
    "gem_miner": Row(
        "s in [0, 1], rounded; the lowest are frozen at 0; g w",
        "[Sreenivasan 2022](https://arxiv.org/abs/2202.12002)",
        "keep, schedule, L2, learning rate 0.01",
        f"--mask-rule gem_miner --mask-options period=40,over={UPDATES // 2}",
        rate=1e-2,
    ),
    "iterand": Row(
        "as edge_popup; unused w are drawn again",
        "[Chijiwa 2021](https://arxiv.org/abs/2106.09269)",
        "keep, period; stores which draw each w is from",
        "--mask-rule iterand --mask-options period=50",
    ),
    "frozen masks": Row(
        "edge_popup on 60%; 20% are dropped and 20% kept by seed",
        "[Otsuka 2024](https://arxiv.org/abs/2402.14029)",
        "fractions",
        "--frozen-dropped 0.2 --frozen-locked 0.2",
    ),
    "one mask for all heads": Row("edge_popup", "this project", "", "--share-heads"),
    "share stack": Row("edge_popup, one random weight for both stacks", "this project", "", "--share stack"),
    "share vector": Row("edge_popup, one random vector for all tensors", "this project", "", "--share vector"),
    "share layer_mask": Row("edge_popup, one mask for all layers", "this project", "", "--share layer_mask"),
    "dense": Row("none: w is trained", "the baseline", "", "--dense"),
}


def command(name: str, row: Row) -> list[str]:
    """fairseq-train's command for a row, its paths relative to the repository."""
    arguments = ["fairseq-train", str(DATA), "--user-dir", "fairseq_plugins", "--arch", "one_layer_masked_small"]
    arguments += ["--dropout", "0", "--seed", "1", "--optimizer", "adam", "--adam-betas", "(0.9, 0.98)"]
    arguments += ["--lr", f"{row.rate:g}", "--lr-scheduler", "cosine", "--warmup-updates", "100"]
    arguments += ["--max-update", str(UPDATES), "--criterion", "label_smoothed_cross_entropy"]
    arguments += ["--label-smoothing", "0.1", "--max-tokens", "4096", "--num-workers", "0"]
    arguments += ["--update-epoch-batch-itr", "True", "--no-epoch-checkpoints", "--save-dir", str(_run(name))]
    return [*arguments, *row.flags.split()]


def train(name: str, row: Row) -> None:
    """Train, score and store a row, or go on with it."""
    run = _run(name)
    run.mkdir(parents=True, exist_ok=True)
    trained = command(name, row)
    extra = [] if torch.cuda.is_available() else cpu_flags()
    extra += ["--log-format", "json", "--log-interval", "50", "--log-file", str(run / "train.log")]
    _call([sys.executable, "-m", "fairseq_cli.train", *trained[1:], *extra])
    _call([sys.executable, "-m", "one_layer_lt", "score", str(run), "--data", str(DATA), "--split", "test"])
    scores = {"test": json.loads((ROOT / run / "checkpoint_best.test.json").read_text())}
    result = result_of(ROOT / run, " ".join([*trained, *extra[:-2]]), scores)
    ticket = _ticket(run) if "--dense" not in row.flags else None
    write_json(RESULTS / "rules" / f"{_file(name)}.json", {**result, "ticket": ticket})


def _ticket(run: Path) -> dict[str, Any]:
    measured = sizes(from_checkpoint(run / "checkpoint_best.pt", DATA))
    weights = sum(kind.weights for kind in measured.masked)
    kept = sum(kind.kept for kind in measured.masked)
    return {"weights": weights, "kept": kept, "masks_bytes": measured.masks, "without_assets": measured.without_assets}


def table() -> str:
    """The rows that were measured, in Markdown."""
    rows, signature = [], ""
    for name, row in ROWS.items():
        path = RESULTS / "rules" / f"{_file(name)}.json"
        result: Optional[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else None
        figures = ["", "not measured", ""]
        if result:
            loss = math.log(min(perplexity for _, perplexity in result["curve"]["valid"]))
            signature = result["test"]["bleu"]["signature"]
            bits = "32"
            if result["ticket"]:
                bits = f"{8 * result['ticket']['without_assets'] / result['ticket']['weights']:.2f}"
            figures = [bits, f"{loss:.3f}", f"[{result['test']['bleu']['score']:.2f}](results/rules/{path.name})"]
        rows.append([f"`{name}`", row.formula, row.source, row.needs, *figures])
    about = (
        f"All rows: Multi30k German-English, `one_layer_masked_small`, {UPDATES} updates of 4,096 tokens, one seed, "
        "learning rate 0.001 unless the row needs another. So few updates show how fast a rule finds good masks, not "
        "how good masks become. Bits a weight: the size of the ticket without dictionaries and tokenizer, over the "
        f"number of weights. Valid loss: nats a token, without label smoothing. BLEU: `{signature}`."
    )
    return "\n".join([*markdown.table(COLUMNS, *rows), "", about])


def write_table() -> None:
    """Put the table in its place in docs/rules.md."""
    put_table(PAGE, f"{COMMAND} --table", table())


def _run(name: str) -> Path:
    return Path("runs", "rules", _file(name))


def _file(name: str) -> str:
    return name.replace(",", "").replace(" ", "_")


def _call(arguments: list[str]) -> None:
    if subprocess.run(arguments, cwd=ROOT, check=False).returncode:
        raise UserError(f"failed: {' '.join(arguments[1:4])}")


def main() -> None:
    parser = Parser(prog="rules.py", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to train: {'; '.join(ROWS)} (all)")
    parser.add_argument("--table", action="store_true", help="train nothing: only write the table")
    args = parser.parse_args()
    for name in args.rows:
        if name not in ROWS:
            parser.error(f"unknown row {name!r}; choose of: {'; '.join(ROWS)}")
    if not args.table:
        if not (ROOT / DATA).is_dir():
            raise UserError(f"{DATA} is missing: run bash data_prep/multi30k.sh")
        for name in args.rows or ROWS:
            if not (RESULTS / "rules" / f"{_file(name)}.json").is_file():
                train(name, ROWS[name])
                write_table()
    write_table()


if __name__ == "__main__":
    terminal.run(main)
