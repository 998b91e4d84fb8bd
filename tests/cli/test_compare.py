"""one-layer-lt compare: differences that are chance, those that are not, and results that must not be compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import pytest

from fairseq_plugins.commands import score
from one_layer_lt import origin
from one_layer_lt.cli import compare, main
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Manifest
from tests.cli.test_score import checkpoint, settings

REFERENCES = [f"The {number}th man sees {number % 7} dogs near the old house." for number in range(40)]
GOOD = [line.replace("old ", "") if number % 5 == 0 else line for number, line in enumerate(REFERENCES)]
BAD = [line.replace("sees", "hears").replace("near the ", "") for line in GOOD]
SAMPLES = 200


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)


def data_folder(name: str, references: Sequence[str] = REFERENCES, split: str = "test") -> Path:
    folder = Path(name)
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    for language in ("de", "en"):
        (folder / "raw" / f"{split}.{language}").write_text("".join(line + "\n" for line in references))
    Manifest(settings(), "", {"train": 2, "valid": 0, "test": 2, split: len(references)}, {}, {}).write(folder)
    return folder


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Scores translations as `one-layer-lt score` does, and gives the JSON."""

    def scored(name: str, translations: Sequence[str], data: str = "data", split: str = "test") -> Path:
        if not Path(data).is_dir():
            data_folder(data)
        monkeypatch.setattr(score, "translate", lambda command, count: list(translations))
        score.score(checkpoint(Path(name, "a.pt")), Path(data), split=split)
        return Path(name, f"a.{split}.json")

    return scored


def compared(*paths: Path) -> list[compare.Compared]:
    return compare.compare([compare.read_system(path) for path in paths], SAMPLES)[0]


def test_a_system_does_not_differ_from_itself(scored: Callable[..., Path]) -> None:
    baseline, same = compared(scored("a", GOOD), scored("b", GOOD))
    assert (baseline.difference, baseline.p) == (0, {})
    assert (same.difference, same.p, same.significant) == (0, {"bs": 1, "ar": 1}, False)
    assert compare.verdict(same, "a") == "b/a.test.json has the same BLEU as a."


def test_a_clearly_worse_system_is_told_apart_either_way_round(scored: Callable[..., Path]) -> None:
    good, bad = scored("good", GOOD), scored("bad", BAD)
    best, worse = compared(good, bad)
    assert worse.difference < -10
    assert worse.significant
    assert compare.verdict(worse, "good").endswith(f"{-worse.difference:.2f} BLEU below good, significant at 0.05.")
    assert compared(bad, good)[1].difference == -worse.difference
    for one in (best, worse):
        assert one.interval[0] < one.system.score < one.interval[1]


def test_losses_here_and_gains_there_are_chance(scored: Callable[..., Path]) -> None:
    others = [line.replace("dogs ", "") if number % 5 == 1 else line for number, line in enumerate(REFERENCES)]
    _, other = compared(scored("a", GOOD), scored("b", others))
    assert other.difference != 0
    assert min(other.p.values()) > compare.LEVEL
    assert compare.verdict(other, "a").endswith("not significant at 0.05: it may well be chance.")


def test_one_sentence_is_chance_though_randomisation_alone_would_not_say_so(scored: Callable[..., Path]) -> None:
    _, other = compared(scored("a", GOOD), scored("b", [REFERENCES[0], *GOOD[1:]]))
    assert other.difference > 0
    assert other.p["ar"] < compare.LEVEL < other.p["bs"]
    assert not other.significant


def test_intervals_are_those_of_the_scores(scored: Callable[..., Path]) -> None:
    paths = scored("good", GOOD), scored("bad", BAD)
    found, signatures = compare.compare([compare.read_system(path) for path in paths])
    kept = [json.loads(path.read_text())["bleu"] for path in paths]
    assert [one.interval for one in found] == [pytest.approx(bleu["ci95"]) for bleu in kept]
    assert signatures[0] == kept[0]["ci95_signature"]
    assert "|ar:10000|" in signatures[1]


def test_a_distilled_folder_has_the_same_test_set(scored: Callable[..., Path]) -> None:
    assert compared(scored("a", GOOD, "data"), scored("b", BAD, "distilled"))[1].significant


def test_command_line(
    scored: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = scored("good", GOOD), scored("bad", BAD), scored("same", GOOD)
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "compare", *map(str, paths)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "result"
    assert [line.split()[0] for line in lines[1:4]] == [str(path) for path in paths]
    assert len({line.index(".", 20) for line in lines[1:4]}) == 1  # numbers stand below one another
    assert lines[3].endswith("+0.00        1.0000            1.0000")
    assert lines[5].endswith("BLEU below good/a.test.json, significant at 0.05.")
    assert lines[6] == "same/a.test.json has the same BLEU as good/a.test.json."


def test_other_sentences_are_refused(scored: Callable[..., Path]) -> None:
    baseline = scored("a", GOOD)
    data_folder("data", split="valid")
    data_folder("other", [line.upper() for line in REFERENCES])
    data_folder("short", REFERENCES[:30])
    for path, message in (
        (scored("b", GOOD, split="valid"), r"b/a.valid.json and a/a.test.json are of different splits, valid and test"),
        (scored("c", GOOD, "other"), "are of different data, other and data"),
        (scored("d", GOOD[:30], "short"), "are of different numbers of sentences, 30 and 40"),
    ):
        with pytest.raises(UserError, match=message):
            compared(baseline, path)


def test_results_scored_in_other_ways_are_refused(scored: Callable[..., Path]) -> None:
    baseline, other = scored("a", GOOD), scored("b", BAD)
    other.write_text(other.read_text().replace("case:mixed", "case:lc"))
    with pytest.raises(UserError, match=r"have different signatures, nrefs:1\|case:lc"):
        compared(baseline, other)


def test_changed_files_are_refused(scored: Callable[..., Path]) -> None:
    baseline, other = scored("a", GOOD), scored("b", BAD)
    texts = other.with_suffix(".txt")
    for lines, message in (
        (BAD[:-1], "b/a.test.txt has 39 sentences, but b/a.test.json is of 40: score the checkpoint again"),
        (GOOD, r"b/a.test.json says BLEU \S+, but its translations now have "),
    ):
        texts.write_text("".join(line + "\n" for line in lines))
        with pytest.raises(UserError, match=message):
            compared(baseline, other)
    data_folder("data", REFERENCES[:-1])
    with pytest.raises(UserError, match=r"data, test, has 39 sentences, but a/a.test.json is of 40"):
        compared(baseline, other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.json", "error: no such result: gone.json"),
        ("b/a.test.txt", "error: b/a.test.txt is no JSON ("),
        (
            "stored.json",
            "error: stored.json is no result of `one-layer-lt score`: name the JSON that it wrote beside the",
        ),
        ("alone.json", "error: alone.txt is missing: `one-layer-lt score` writes it beside alone.json"),
        ("moved.json", "error: moved is not a prepared data folder"),
    ],
)
def test_errors_are_one_line(
    name: str,
    message: str,
    scored: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    baseline, other = scored("a", GOOD), scored("b", BAD)
    result = json.loads(other.read_text())
    for file, content in (
        ("stored", {"valid": result, "seconds": 9}),  # as in docs/results
        ("alone", result),
        ("moved", {**result, "data": "moved"}),
    ):
        Path(f"{file}.json").write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "compare", str(baseline), name])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err.replace(f"{Path.cwd()}/", "")
    assert stopped.value.code == 2
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("other", ["", "zebra"])
def test_two_scores_of_zero_are_the_same(scored: Callable[..., Path], other: str) -> None:
    paths = scored("a", [""] * len(REFERENCES)), scored("b", [other] * len(REFERENCES))
    one, two = compared(*paths)
    assert (one.system.score, two.system.score, one.mean, two.p) == (0, 0, 0, {"bs": 1, "ar": 1})
    assert "nan" not in "\n".join(compare.table([one, two])).lower()
    assert compare.verdict(two, "a") == "b/a.test.json has the same BLEU as a."


def test_a_whole_number_is_a_score(scored: Callable[..., Path]) -> None:
    path = scored("a", [""] * len(REFERENCES))
    path.write_text(path.read_text().replace('"score": 0.0', '"score": 0'))
    assert compare.read_system(path).score == 0
