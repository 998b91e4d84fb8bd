"""The studies of IWSLT14 and WMT14: from an archive in the corpus's own form to a model that has begun to learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fairseq import options

from data_prep import iwslt14, wmt14
from data_prep.lib import pipeline
from one_layer_lt import process
from scripts.results import ROOT, history
from scripts.study import Run, read_study
from tests.data_prep import test_campaigns as campaigns
from tests.data_prep.conftest import recipe  # noqa: F401
from tests.plugin.running import SIZE, binarised

STUDIES = sorted((ROOT / "scripts" / "studies").glob("*.toml"))
SMALL = [*SIZE, "--max-update", "40", "--warmup-updates", "5", "--lr", "5e-3", "--max-tokens", "500", "--cpu"]
SMALL += ["--required-batch-size-multiple", "1", "--disable-validation", "--log-format", "json", "--log-interval", "10"]
SMALL += ["--encoder-layers", "1", "--decoder-layers", "1", "--no-save"]


@pytest.mark.parametrize("path", STUDIES, ids=[path.stem for path in STUDIES])
def test_fairseq_takes_every_run(path: Path) -> None:
    for run in (run for run in read_study(path) if run.kind == "fairseq"):
        options.parse_args_and_arch(options.get_training_parser(), run.command()[1:])


def train(run: Run, folder: Path, log: Path) -> None:
    process.run([*run.command()[:-2], "--save-dir", str(folder), *SMALL], log=log, cwd=ROOT)


@pytest.mark.parametrize("row", [0, -1], ids=["as-published", "ours"])
@pytest.mark.parametrize("corpus", ["iwslt14", "wmt14"])
def test_the_recipe_starts_and_learns(
    corpus: str,
    row: int,
    tmp_path: Path,
    recipe: Callable[..., tuple[int, str]],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "binarize", binarised)
    data, log = tmp_path / "data", tmp_path / "train.log"
    if corpus == "iwslt14":
        origin, _ = campaigns.iwslt_archive(tmp_path / "de-en.tgz")
        assert recipe(iwslt14, "--from", origin, "--out", data, "--size", 50) == (0, "")
    else:
        origin = campaigns.wmt_folder(tmp_path / "in")
        assert recipe(wmt14, "--from", origin, "--out", data, "--size", 200) == (0, "")
    runs = read_study(ROOT / "scripts" / "studies" / f"{corpus}.toml")
    run = replace(runs[row], data=str(data), flags={**runs[row].flags, "fp16": False})
    train(run, tmp_path / "run", log)
    perplexities = [value for _, value in history(log.read_text().splitlines())["train"]]
    assert len(perplexities) == 4
    assert perplexities[-1] < 0.5 * perplexities[0]
