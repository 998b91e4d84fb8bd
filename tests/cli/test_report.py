"""`one-layer-lt report`: the page by its numbers, and as a browser would read it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import MaskConfig, load_ticket, mask_, save_ticket, scores_of
from one_layer_lt.cli import main
from one_layer_lt.cli.report import report
from one_layer_lt.errors import UserError
from one_layer_lt.report import gather, masks
from one_layer_lt.report.curves import history
from one_layer_lt.report.page import differing, marks
from tests.cli.test_compare import BAD, GOOD, _root, scored
from tests.support.cards import MARKUP, marked_card

pytest.importorskip("matplotlib")
__all__ = ["_root", "scored"]

VOID = {"meta", "input", "img"}
TAGS = "html head meta title style body h1 h2 h3 p div small label input span i b bdi svg g path use defs text clipPath"
TAGS += " rect table tr th td details summary figure figcaption img dl dt dd mark pre"


class Page(HTMLParser):
    """What a browser sees: the text, the tags, and what the attributes hold. Every tag is closed, in its order."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert self.open == []
        assert self.tags <= {tag.lower() for tag in TAGS.split()}

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        self.attributes += attributes
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def result(**changed: Any) -> dict[str, Any]:
    """As in docs/results."""
    bleu = {"score": 41.254, "ci95": [40.5, 42.0], "signature": "nrefs:1|tok:13a", "brevity_penalty": 0.9761}
    test = {"bleu": bleu, "chrf": {"score": 60.75, "ci95": [59.5, 61.5], "signature": "nc:6"}, "exact_match": 0.043}
    curve = {"train": [[50, 90.0], [100, 8.5]], "valid": [[100, 7.25]]}
    command = "fairseq-train data --arch toy --lr 0.001 --save-dir runs/a"
    return {"command": command, "curve": curve, "test": test, "size": {"bytes": 12_345, "weights": 9}, **changed}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def two_masks(tmp_path: Path) -> Path:
    """A ticket of two masks that keep 4 of 8 weights each, 3 of them in both."""
    model = nn.Module()
    model.layers = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(4, 2, bias=False)}) for _ in range(2))
    mask_(model, MaskConfig(seed=1, keep=0.5))
    with torch.no_grad():
        for layer, high in zip(model.layers, ([0, 1, 2, 3], [1, 2, 3, 4])):
            scores_of(layer["fc"]).copy_(torch.tensor([float(i in high) + 0.1 for i in range(8)]).view(2, 4))
    save_ticket(tmp_path / "two.ticket", model)
    return tmp_path / "two.ticket"


def test_numbers_of_a_result_and_a_ticket(two_masks: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", result(command="fairseq-train data --arch toy --lr 0.002 --dense", size={}))
    made = report([write(tmp_path / "masked.json", result()), other, two_masks])
    page = Page(made)
    assert "1 masked 41.25 40.50 to 42.00 0.976 60.75 59.50 to 61.50 4.3%" in page.text
    assert "1 masked result, 12,345 bytes" in page.text
    assert "masked: 41.25, 12,345 bytes" in page.text  # of its point in the chart
    assert "0 1 layers.*.fc 0.500 0.500" in page.text
    assert "layers.*.fc[2x4] 2 0.600 0.600 0.600 0.333" in page.text  # 3 of 5; by chance 2 of 6
    assert "lr 0.001 0.002" in page.text
    assert "dense yes" in page.text
    assert "BLEU nrefs:1|tok:13a" in page.text
    assert "save-dir" not in re.sub("<pre>.*?</pre>", "", made.decode())  # of every run another
    assert "the mask of layers.0.fc" in [value for _, value in page.attributes]


def test_nothing_is_fetched_and_nothing_runs(two_masks: Path, tmp_path: Path) -> None:
    made = report([write(tmp_path / "a.json", result()), two_masks])
    page = Page(made)
    assert b"http:" not in made
    assert b"https:" not in made
    assert "script" not in page.tags
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    for name, value in page.attributes:
        assert name != "href" or value.startswith("#")
        assert name != "src" or value.startswith("data:image/png;base64,")
    targets = {value for name, value in page.attributes if name == "id"}
    assert {value[1:] for name, value in page.attributes if name == "href"} <= targets
    assert set(re.findall(r"url\(#([^)]+)\)", made.decode())) <= targets
    assert b"#0000" not in made  # every colour is a variable of the page
    assert made == report([tmp_path / "a.json", two_masks])


@pytest.mark.parametrize(
    "hostile", ['"><img src=x onerror=alert(1)>', "$\\frac{<&]]>-->", "{{ 7*7 }}'\u202e\x00\ud800"]
)
def test_what_is_shown_is_text(hostile: str, tmp_path: Path) -> None:
    name = re.sub(r"[/\x00\ud800]", "", hostile)
    bleu = {**result()["test"]["bleu"], "signature": hostile}
    command = f"fairseq-train --arch 'x {hostile.replace(chr(39), '')}' --{name.split()[0]} 1"
    value = result(command=command, test={"bleu": bleu, "exact_match": hostile})
    made = report([write(tmp_path / f"{name}.json", value), write(tmp_path / "b.json", result())])
    page = Page(made)
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    assert " ".join(name.split()) in page.text
    assert "49" not in page.text.replace("49.", "")
    shown = hostile.encode("utf-8", "replace").decode().replace("\x00", "")
    assert shown.split()[0][:12] in page.text


def test_names_within_a_ticket_are_text(tmp_path: Path) -> None:
    model = nn.ModuleDict({f"{'<script>' + number}\"'>": nn.Linear(2, 2, bias=False) for number in ("9" * 900, "1")})
    save_ticket(tmp_path / "a.ticket", mask_(model, MaskConfig(seed=1, keep=0.5, share="vector")))
    page = Page(report([tmp_path / "a.ticket"]))
    assert """<script>1"'> 0.500""" in page.text
    assert """the mask of <script>1"'>""" in [value for _, value in page.attributes]


def test_a_card_is_text(two_masks: Path) -> None:
    assert "say of themselves" not in Page(report([two_masks])).text
    replace(load_ticket(two_masks), card=marked_card()).save(two_masks)
    made = report([two_masks])
    page = Page(made)
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    assert f"licence {MARKUP}" in page.text
    assert f"{MARKUP} 36.25, {MARKUP}, {MARKUP}" in page.text


def test_hostile_translations_are_marked_text(
    scored: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = ["<b onclick=x>The 0th & man</b>", *GOOD[1:]]
    page = Page(report([scored("a", lines), scored("b", GOOD)]))
    assert "onclick=x" in page.text
    assert "mark" in page.tags
    assert not {name for name, _ in page.attributes if name.startswith("on")}


def test_paired_tests_against_the_first(scored: Callable[..., Path]) -> None:
    good, bad, again = scored("good", GOOD), scored("bad", BAD), scored("again", GOOD)
    page = Page(report([good, bad, again]))
    bleu = [json.loads(path.read_text())["bleu"] for path in (good, bad)]
    assert "against 1" in page.text
    score, difference = bleu[1]["score"], bleu[1]["score"] - bleu[0]["score"]
    assert re.search(rf"2 {bad} {score:.2f} \S+ to \S+ \S+ {difference:+.2f} 0\.0\d+ 0\.0\d+ below", page.text)
    assert re.search(rf"3 {again} .{{30}}.*? \+0\.00 1\.0000 1\.0000 the same", page.text)
    assert "{:.2f} to {:.2f}".format(*bleu[0]["ci95"]) in page.text
    assert "|ar:10000|" in page.text


def test_what_cannot_be_compared_is_named(scored: Callable[..., Path]) -> None:
    good, bad = scored("good", GOOD), scored("bad", BAD)
    bad.write_text(bad.read_text().replace("case:mixed", "case:lc"))
    page = Page(report([good, bad]))
    assert f"{bad}: its translations and tests, for {bad} and {good} have different signatures" in page.text
    assert "against 1" not in page.text


LOG = ['{"epoch": 1, "ppl": "64", "num_updates": "50"}', '{"epoch": 1, "valid_ppl": "9.5", "valid_num_updates": "50"}']


def run_folder(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for lenpen, bleu in ((1, 30.0), (2, 31.0)):
        score = {"split": "valid", "lenpen": lenpen, "beam": 5, "bleu": {"score": bleu}}
        write(folder / f"valid.{lenpen}.json", score)
        write(folder / f"test.{lenpen}.json", {**score, "split": "test", "bleu": {"score": 50 - bleu}})
    (folder / "train.log").write_text("\n".join(LOG))
    write(folder / "begun.json", {"command": "fairseq-train --lr 1"})
    return folder


def test_a_run_has_the_test_score_of_its_best_validation(tmp_path: Path) -> None:
    (entry,) = gather.gather([run_folder(tmp_path / "run")])
    assert [entry.splits[split]["bleu"]["score"] for split in ("test", "valid")] == [19.0, 31.0]
    assert entry.files["test"].name == "test.2.json"
    assert entry.curve == {"train": [[50, 64]], "valid": [[50, 9.5]]} == history(LOG)
    assert (entry.settings, entry.bytes, entry.ticket) == ({"lr": "1"}, None, None)


def test_a_run_with_its_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    shutil.copy(checkpoint, folder / gather.CHECKPOINT)
    (entry,) = gather.gather([folder])
    assert entry.notes == []
    assert entry.ticket is not None
    assert entry.scores.keys() == {mask.name for mask in entry.ticket.masks}
    page = Page(report([folder]))
    for kind in masks.kept(entry.ticket):
        assert kind in page.text


def test_parts_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "train.log").write_text('{"epoch": 1, "ppl": "no", "num_updates": "50"}')
    (folder / gather.CHECKPOINT).write_text("none")
    page = Page(report([folder]))
    assert f"run: its curves, for {folder / 'train.log'} cannot be read" in page.text
    assert f"run: its masks and scores, for {folder / gather.CHECKPOINT} is damaged" in page.text
    assert "19.00" in page.text


def test_images_and_diverged_runs(tmp_path: Path) -> None:
    curve = {"train": [[1, 0.5]], "test": [[1, 0.9], [2, 0.95]]}
    image = write(tmp_path / "image.json", {"curve": curve, "test": {"accuracy": 0.9812}})
    page = Page(report([image, write(tmp_path / "lost.json", {"diverged": "FloatingPointError"})]))
    assert "accuracy 1 image 98.12%" in page.text
    assert "test accuracy" in page.text
    assert "perplexity" not in page.text
    assert "lost: all scores, for its training diverged (FloatingPointError)" in page.text


def test_masks_of_signs_overlap_where_they_are_positive(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2, bias=False)), nn.Sequential(nn.Linear(2, 2, bias=False)))
    mask_(model, MaskConfig(seed=1, keep=None, rule="sign"))
    with torch.no_grad():
        for part, signs in zip(model, ([1, 1, -1, -1], [1, 1, 1, -1])):
            scores_of(part[0]).copy_(torch.tensor(signs, dtype=torch.float).view(2, 2))
    ticket = save_ticket(tmp_path / "a.ticket", model)
    (overlap,) = masks.overlaps(ticket)
    assert overlap.jaccard.tolist() == [[1, 2 / 3], [2 / 3, 1]]
    assert overlap.chance[0, 1] == 1.5 / 3.5
    assert masks.kept(load_ticket(tmp_path / "a.ticket")) == {"*.*": {"0.0": 1.0, "1.0": 1.0}}


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("A man runs.", "A man runs.", ["A man runs."]),
        ("A dog runs fast!", "A man runs!", ["A", " ", "<dog>", " ", "runs", " ", "<fast>", "!"]),
        ("我爱猫", "我爱狗", ["我爱", "<猫>"]),
        ("", "A man.", []),
    ],
)
def test_what_differs_from_the_reference_is_marked(text: str, reference: str, expected: Sequence[str]) -> None:
    found = [(part, differs) for part, differs in marks(text, reference) if part]
    assert [f"<{part}>" if differs else part for part, differs in found] == expected
    assert "".join(part for part, _ in found) == text


def test_settings_that_differ(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{lr}.json", result(command=f"x --lr {lr} --betas '(1, 2)' -v")) for lr in ("1", "-1")]
    assert differing(gather.gather(paths)) == [("lr", ["1", "-1"])]


def test_names_tell_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    paths = [write(folder / "one.json", result()) for folder in (tmp_path, tmp_path / "a")]
    assert [entry.name for entry in gather.gather([*paths, paths[0]])] == [str(path) for path in paths]
    assert [entry.name for entry in gather.gather([*paths[:1], *paths[:1]])] == ["one"]


_KEYS = st.sampled_from(
    ["test", "valid", "bleu", "score", "ci95", "curve", "train", "size", "bytes", "split", "command"]
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["test", "--a 'b"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(_KEYS, part, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(value=_ANY)
def test_no_json_is_too_odd_to_read(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.getbasetemp() / "odd.json", value)
    try:
        (entry,) = gather.gather([path])
    except UserError:
        return
    for split in gather.SPLITS:
        found = entry.metric(split, "bleu")
        assert found is None or all(type(number) is float for number in (found.score, *found.interval))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.ticket", None, "no such run, ticket or result: gone.ticket"),
        ("a.ticket", "no", "a.ticket: "),
        ("a.json", "{", "a.json is no JSON"),
        ("deep.json", "[" * 200_000, "deep.json is no JSON"),
        ("a.json", '{"rows": []}', "a.json has neither scores nor a curve"),
        (".", None, ". is no run"),
    ],
)
def test_errors_are_one_line(
    name: str,
    content: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_text(content)
    Path("old.html").write_text("old")
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "report", name, "-o", "old.html"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in said
    assert said.count("\n") == 1
    assert Path("old.html").read_text() == "old"


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "a.json", result()), tmp_path / "report.html"
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "report", str(path), "-o", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert out.read_bytes() == report([path])
    assert capsys.readouterr().out == f"{out}: {out.stat().st_size:,} bytes\n"
