"""The page in Chromium, opened from the disk."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from one_layer_lt import Ticket, TicketError, load_ticket
from one_layer_lt.translation import Decoding
from one_layer_lt.web import page
from scripts.browser import Shown, browser, opened
from tests.support.cards import MARKUP, marked_card
from tests.web.running import GOLDEN, needs_browser

WORDS = load_ticket(GOLDEN / "translation-sentencepiece.ticket")
TEXTS = "all => all.map(one => one.textContent)"
LINES = ["Alpha bravo charlie.", "Hotel golf delta echo foxtrot.", "", "Golf."]
BLOCK = re.compile(r'(<script type="application/octet-stream"[^>]*>)([^<]*)')


def changed(**parts: Any) -> Ticket:
    """The ticket with other assets, or other settings of its architecture."""
    return replace(WORDS, **{**parts, "architecture": {**WORDS.architecture, **parts.get("architecture", {})}})


def torch_engine(ticket: Ticket, lines: list[str]) -> list[str]:
    return ticket.translator("torch").translate(lines, Decoding())


def with_ticket(content: str, change: Any) -> str:
    """The page with its ticket's bytes changed."""
    (found,) = BLOCK.finditer(content)
    raw = bytearray(base64.b64decode(found[2]))
    change(raw)
    return content[: found.start(2)] + base64.b64encode(raw).decode() + content[found.end(2) :]


def written(content: str, folder: Path) -> Path:
    path = folder / "page.html"
    path.write_text(content, "utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def shown(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A page that has been opened once for the tests that leave it as it is."""
    with opened(chromium, written(page({"words": WORDS}), tmp_path_factory.mktemp("page"))) as shown:
        shown.ready()
        yield shown


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did to the page that is open, it complained of nothing, and asked for nothing but itself."""
    yield
    if "shown" in request.fixturenames:
        assert_quiet(request.getfixturevalue("shown"))


def assert_quiet(shown: Shown) -> None:
    assert shown.said == []
    assert [url.partition(":")[0] for url in shown.asked] == ["file", "blob"], shown.asked


@needs_browser
class TestTranslating:
    def test_as_the_torch_engine(self, shown: Shown) -> None:
        pytest.importorskip("fairseq")
        chance = random.Random(4)
        words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]
        lines = [" ".join(chance.choices(words, k=chance.randint(1, 6))).capitalize() + "." for _ in range(30)]
        assert shown.translate(lines) == torch_engine(WORDS, lines)

    def test_empty_lines_stay_empty_and_what_is_gone_goes(self, shown: Shown) -> None:
        found = shown.translate(LINES)
        assert found[2] == ""
        assert all(found[:2] + found[3:])
        assert shown.translate(LINES[:1]) == found[:1]
        assert shown.translate([""]) == [""]
        assert shown.page.text_content("#took") == ""

    def test_typing_on_drops_what_is_under_way(self, shown: Shown) -> None:
        expected = shown.translate([LINES[3]])
        shown.page.fill("#source", "\n".join(LINES[1] + " delta" * n for n in range(40)))
        shown.page.wait_for_timeout(150)
        assert shown.translate([LINES[3]]) == expected

    def test_settings(self, shown: Shown) -> None:
        lines = [LINES[1]]
        found = {}
        for beam, penalty in ((5, 1), (1, 1), (10, 3), (5, 1)):
            for name, value in (("beam", beam), ("penalty", penalty)):
                shown.page.fill(f"#{name}", str(value))
                assert shown.page.text_content(f"#{name}-value") == str(value)
            found.setdefault((beam, penalty), []).append(shown.translate(lines))
        assert found[5, 1][0] == found[5, 1][1]
        assert len(found[10, 3][0][0]) >= len(found[1, 1][0][0])

    def test_what_is_said_of_the_ticket(self, shown: Shown) -> None:
        said = shown.page.text_content("#about")
        rule = WORDS.masks[0].config.rule
        assert all(
            part in said for part in (rule, WORDS.weights[0].init, "2 + 2 layers of width 16", " sentencepieces")
        )
        kept = sum(mask.kept_in_all for mask in WORDS.masks) / sum(mask.weight.size for mask in WORDS.masks)
        assert f"{100 * kept:.1f}% are kept" in said


@needs_browser
class TestUsing:
    def test_a_word_that_is_pointed_at_shows_what_it_looks_at(self, shown: Shown) -> None:
        shown.translate(LINES)
        shown.page.hover("#target p:nth-of-type(2) span:first-of-type")
        assert re.match(r"\S+ looks at (\S+ \d+%|the end)", shown.page.text_content("#looks"))
        marks = shown.page.eval_on_selector_all(
            "#shade mark", "all => all.map(mark => [mark.textContent, +mark.style.getPropertyValue('--weight')])"
        )
        assert [word for word, _ in marks] == LINES[1].split()
        assert 0 < sum(weight for _, weight in marks) <= 1.0001
        assert shown.page.text_content("#shade") == "\n".join(LINES) + "\n"
        shown.page.hover("h1")
        assert shown.page.query_selector("#shade mark") is None
        shown.page.evaluate("document.getElementById('source').value = 'Golf.'")  # not translated yet
        shown.page.hover("#target p:nth-of-type(2) span:first-of-type")
        assert shown.page.query_selector("#shade mark") is None
        shown.page.hover("h1")

    def test_by_the_keyboard_alone(self, shown: Shown) -> None:
        shown.translate(LINES)
        shown.page.focus("#source")
        for _ in range(10):
            shown.page.keyboard.press("Tab")
            if shown.page.evaluate("document.activeElement.id") == "target":
                break
        else:
            pytest.fail("the translation cannot be reached by the keyboard")
        words = shown.page.eval_on_selector_all("#target span", "all => all.map(word => word.textContent)")
        at = [
            shown.page.keyboard.press(key) or shown.page.text_content("#target .at")
            for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home")
        ]
        assert at == [words[0], words[1], words[0], words[-1], words[0]]
        assert shown.page.text_content("#looks").startswith(f"{words[0]} looks at")

    def test_whoever_hears_it_is_told(self, shown: Shown) -> None:
        """Every field has a name, and what changes is announced."""
        unnamed = "all => all.filter(one => !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).length"
        assert shown.page.eval_on_selector_all("input, textarea, select, button, progress", unnamed) == 0
        assert shown.page.get_attribute("#target", "aria-live") == "polite"
        assert shown.page.get_attribute("#failed", "role") == "alert"
        assert shown.page.get_by_role("textbox", name="xx").count() == 1
        assert shown.page.get_by_role("slider", name="Beam").count() == 1
        assert shown.page.get_by_role("region", name="yy").count() == 1

    def test_text_runs_as_it_is_written(self, shown: Shown) -> None:
        shown.translate(["שלום golf", "golf"])
        ways = "all => all.map(one => getComputedStyle(one).direction)"
        assert shown.page.eval_on_selector_all("#source", ways) == ["rtl"]
        assert shown.page.eval_on_selector_all("#target p", "all => all.map(one => one.dir)") == ["auto", "auto"]

    @pytest.mark.parametrize("width", [320, 1280])
    def test_nothing_is_wider_than_the_window(self, shown: Shown, width: int) -> None:
        shown.page.set_viewport_size({"width": width, "height": 700})
        shown.translate(["Golf" * 300, "x" * 1000])
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


HOSTILE = [
    *("<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "</textarea><script>alert(1)</script>"),
    *("&lt;b&gt; &amp;", "<b>alpha</b> <a href=javascript:alert(1)>golf</a>", "\"'><svg/onload=alert(1)>"),
    *("${alert(1)} {{x}} %s \\u0041 \\", "__proto__ constructor toString", "<unk> </s> <s> <pad>", "▁▁ ▁golf"),
    *("👩\u200d👩\u200d👧 😀 \U0001f1e9\U0001f1ea", "\u202ehotel\u202c golf", "مرحبا alpha שלום", "日本語 한국어"),
    *("a\0b\x01\x1f\x7f", "\ufffd\ufffe\uffff", "e\u0301" * 50, "alpha\u2028bravo\u2029charlie", "\u200b\u200b"),
]


def hostile(count: int) -> list[str]:
    chance = random.Random(9)
    lines = [*HOSTILE, "Golf " * 400 + "end", "q" * 10_000, "<i>" * 3_000]
    while len(lines) < count:
        lines.append(" ".join(chance.choices([*HOSTILE, "alpha", "golf"], k=3)))
    return lines


@needs_browser
class TestDistrust:
    def test_hostile_text_is_shown_as_text(self, shown: Shown) -> None:
        lines = hostile(200)
        shown.page.fill("#beam", "1")
        found = shown.translate(lines)
        shown.page.fill("#beam", "5")
        assert len(found) == len(lines)
        assert shown.page.eval_on_selector_all("#target :not(p, span)", "all => all.length") == 0
        assert shown.page.input_value("#source") == "\n".join(lines)
        assert shown.page.text_content("#shade") == "\n".join(lines) + "\n"
        for line in (1, 5, 12, 20):
            if shown.page.query_selector(f"#target p:nth-of-type({line}) span"):
                shown.page.hover(f"#target p:nth-of-type({line}) span")
        assert shown.page.eval_on_selector_all("#shade :not(mark)", "all => all.length") == 0

    def test_a_ticket_whose_words_are_markup(self, chromium: Any, tmp_path: Path) -> None:
        bad = "<img/src=x/onerror=alert(1)>"
        listed = WORDS.assets["dict.source"].decode().splitlines()
        assets = {**WORDS.assets, "dict.target": "".join(f"\u2581{bad}{n} 1\n" for n in range(len(listed))).encode()}
        ticket = changed(assets=assets, architecture={"source": "a-b", "target": "__proto__"})
        name = '"><script>alert(1)</script>'
        with opened(chromium, written(page({name: ticket}), tmp_path)) as shown:
            shown.ready()
            (line,) = shown.translate(["Golf."])
            assert line.startswith(bad)
            shown.page.hover("#target span")
            assert shown.page.query_selector("img") is None
            assert_quiet(shown)

    @pytest.mark.parametrize("metric", ["BLEU", "__proto__", "x" * 300])
    def test_a_card_is_shown_as_text(self, metric: str, chromium: Any, tmp_path: Path) -> None:
        card = marked_card()
        card["scores"][0]["metric"] = metric
        with opened(chromium, written(page({"words": changed(card=card)}), tmp_path)) as shown:
            shown.ready()
            shown.page.click("summary")
            terms, facts = (shown.page.eval_on_selector_all(f"#about {tag}", TEXTS) for tag in ("dt", "dd"))
            assert terms[:5] == ["Name", "Data", "Licence", metric, "Rule"]
            assert facts[:4] == [MARKUP, ", ".join([MARKUP] * 3), MARKUP, f"36.25, {MARKUP}, {MARKUP}"]
            assert shown.page.query_selector("#about :not(dt, dd)") is None
            for width in (320, 1280):
                shown.page.set_viewport_size({"width": width, "height": 700})
                assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
            assert_quiet(shown)

    @pytest.mark.parametrize("at", [0, 9, 200, 0.5, 0.9, -1])
    def test_a_flipped_byte_is_refused(self, at: float, chromium: Any, tmp_path: Path) -> None:
        def flip(raw: bytearray) -> None:
            raw[int(at * len(raw)) if isinstance(at, float) else at] ^= 1

        with opened(chromium, written(with_ticket(page({"words": WORDS}), flip), tmp_path)) as shown:
            shown.page.wait_for_selector("#failed:not([hidden])")
            assert shown.page.text_content("#failed").startswith("words.ticket cannot be used: ")
            assert shown.page.is_hidden("#target")
            assert_quiet(shown)

    def test_no_base64_is_refused(self, chromium: Any, tmp_path: Path) -> None:
        content = BLOCK.sub(r"\1$\2", page({"words": WORDS}))
        with opened(chromium, written(content, tmp_path)) as shown:
            shown.page.wait_for_selector("#failed:not([hidden])")
            assert shown.page.text_content("#failed").endswith("damaged: it is no base64")

    def test_a_changed_script_does_not_run(self, chromium: Any, tmp_path: Path) -> None:
        content = page({"words": WORDS}).replace("let timer=0", "let timer=1")
        with opened(chromium, written(content, tmp_path)) as shown:
            shown.page.wait_for_selector("#stuck", state="visible")
            assert any("Content Security Policy" in said for said in shown.said)
            assert len(shown.asked) == 1

    def test_the_policy_lets_no_request_out(self, shown: Shown) -> None:
        policy = shown.page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        tried = shown.page.evaluate("fetch('data:,x').then(() => 'fetched', () => 'refused')")
        assert tried == "refused"
        shown.said.clear()  # of what was just refused


@needs_browser
def test_several_tickets_and_a_menu(chromium: Any, tmp_path: Path) -> None:
    pytest.importorskip("fairseq")
    other = changed(architecture={"source": "de", "target": "en", "max_source_positions": 4})
    with opened(chromium, written(page({"one": WORDS, "two": other, "three": WORDS}), tmp_path)) as shown:
        shown.ready()
        options = "all => all.map(option => option.textContent)"
        assert shown.page.eval_on_selector_all("#which option", options) == [
            "xx → yy (one)",
            "German → English",
            "xx → yy (three)",
        ]
        first = shown.translate(LINES)
        assert first == torch_engine(WORDS, LINES)
        shown.page.select_option("#which", "1")
        assert shown.page.text_content("h1") == "German → English"
        assert shown.translate(LINES) == torch_engine(other, LINES) != first
        shown.page.select_option("#which", "2")
        assert shown.translate(LINES) == first
        assert_quiet(shown)


def test_the_page_is_small_and_has_the_ticket_in_it() -> None:
    content = page({"words": WORDS})
    (block,) = BLOCK.finditer(content)
    assert base64.b64decode(block[2]) == (GOLDEN / "translation-sentencepiece.ticket").read_bytes()
    assert len(content.encode()) - len(block[2]) <= 60_000
    assert content == page({"words": WORDS})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("translation-moses-bpe", "x: its text is split by Moses' tokenizer, .* one-layer-lt translate"),
        ("vision", "x: a page translates, and this ticket is of no translator"),
        ("tiles", "x: a page translates, and this ticket is of no translator"),
    ],
)
def test_what_no_page_can_run_is_refused(name: str, said: str) -> None:
    with pytest.raises(TicketError, match=said):
        page({"x": load_ticket(GOLDEN / f"{name}.ticket")})
