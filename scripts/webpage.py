"""Try a ticket's web page in Chromium: what it translates, how it splits text, how fast it is, and how it looks.

    python scripts/webpage.py m30k.ticket --text test.de --split train.de --pictures docs/images

Translations are compared with the torch engine's, and splits with sentencepiece's. A translation that differs is scored
by the torch engine: it is explained where both have the same score but for what float32 rounds.
"""

from __future__ import annotations

import base64
import io
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from fairseq_plugins.translate import TorchTranslator
from one_layer_lt import Ticket, load_ticket, terminal
from one_layer_lt.cli.parser import Parser, count
from one_layer_lt.text.lines import read_lines, tidy
from one_layer_lt.translation import Decoding
from one_layer_lt.web import page, runtime
from scripts.browser import browser, opened, processor_seconds

WORDS = 10  # of the sentences that are timed
ROUNDS = 5
TIE = 1e-5  # of scores, which are means of logarithms
SAYS = ["Zwei Hunde spielen auf einer grünen Wiese.", "Ein Mann in einem blauen Hemd steht auf einer Leiter."]
PICTURES: dict[str, dict[str, Any]] = {
    "page-light": {"viewport": {"width": 1180, "height": 640}},
    "page-dark": {"viewport": {"width": 1180, "height": 640}, "color_scheme": "dark"},
    "page-phone": {
        "viewport": {"width": 390, "height": 780},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}
_SPLIT = """({ model, lines }) => {
  %s
  const cut = splitter(Uint8Array.from(atob(model), (letter) => letter.charCodeAt(0)));
  return lines.map((line) => cut(tidy(line)).join(" "));
}"""

Row = tuple[str, str, str]


def main() -> None:
    parser = Parser(prog="webpage.py", description=__doc__)
    parser.add_argument("ticket", type=Path, help="a ticket that translates")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="lines to translate")
    parser.add_argument("--lines", type=count, default=300, metavar="N", help="how many of them (300)")
    parser.add_argument("--split", type=Path, metavar="FILE", help="lines to split, 10,000 of them")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where to put pictures of the page")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    ticket = load_ticket(args.ticket)
    table = Table("figure", "found", "bound")
    with tempfile.TemporaryDirectory() as scratch, browser() as chromium:
        path = Path(scratch, "page.html")
        path.write_text(page({args.ticket.stem: ticket}), "utf-8")
        lines = list(itertools.islice(read_lines(args.text), args.lines))
        rows = itertools.chain(_speed(chromium, path, ticket, args.text), _same(chromium, path, ticket, lines))
        for row in itertools.chain(rows, _splits(chromium, ticket, args.split) if args.split else ()):
            table.add_row(*row)
        if args.pictures:
            _draw(chromium, path, args.pictures)
    Console().print(table)


def _speed(chromium: Any, path: Path, ticket: Ticket, text: Path) -> Iterator[Row]:
    """Sizes and times. The processor's seconds are those of the whole browser."""
    ticket.save(beside := path.with_suffix(".ticket"))
    without = path.stat().st_size - 4 * -(-beside.stat().st_size // 3)
    yield "page without its ticket, bytes", f"{without:,}", "at most 60,000"
    wall, processor = [], []
    for _ in range(ROUNDS):
        began, before = time.perf_counter(), processor_seconds(chromium)
        with opened(chromium, path) as shown:
            shown.ready()
            wall.append(time.perf_counter() - began)
            processor.append(processor_seconds(chromium) - before)
    yield "from opening to ready, seconds", _median(wall, processor), "at most 2"
    sentences = [line for line in read_lines(text) if len(line.split()) == WORDS][: 1 + 4 * ROUNDS]
    wall, processor = [], []
    with opened(chromium, path) as shown:
        shown.translate(sentences[:1])  # compiles
        for sentence in sentences[1:]:
            before = processor_seconds(chromium)
            shown.translate([sentence])
            processor.append(processor_seconds(chromium) - before)
            wall.append(shown.seconds)
    yield f"a sentence of {WORDS} words at beam 5, seconds", _median(wall, processor), "at most 0.3"


def _median(wall: Sequence[float], processor: Sequence[float]) -> str:
    return f"{statistics.median(wall):.2f}, of the processor {statistics.median(processor):.2f}"


def _same(chromium: Any, path: Path, ticket: Ticket, lines: Sequence[str]) -> Iterator[Row]:
    translator = TorchTranslator(ticket, ticket.model())
    expected = translator.translate(lines, Decoding())
    with opened(chromium, path) as shown:
        found = shown.translate(lines)
        complaints = [*shown.said, *(url for url in shown.asked if not url.startswith(("file:", "blob:")))]
    different = [number for number, pair in enumerate(zip(found, expected)) if len(set(pair)) > 1]
    explained = 0
    for number in different:
        ours, theirs = (_score(translator, lines[number], text) for text in (found[number], expected[number]))
        explained += abs(ours - theirs) < TIE
        print(f"line {number + 1}: {found[number]} ({ours:.6f})\n  torch: {expected[number]} ({theirs:.6f})")
    same = f"{len(lines) - len(different)} of {len(lines)}"
    yield "translations as torch's", f"{same}; {explained} others have its score", f"at least {0.99 * len(lines):.0f}"
    yield "requests and complaints", str(len(complaints)), "0"


@torch.inference_mode()
def _score(translator: TorchTranslator, line: str, translation: str) -> float:
    """The mean logarithm of the probabilities that the torch engine gives a translation, split as text is."""
    (source,), (target,) = translator.text.split([line]), translator.text.split([translation])
    encoded = translator.source.encode_line(" ".join(source), add_if_not_exist=False).long()[None]
    wanted = translator.target.encode_line(" ".join(target), add_if_not_exist=False).long()[None]
    given = torch.cat((wanted[:, -1:], wanted[:, :-1]), 1)
    logits = translator.model(encoded, torch.tensor([encoded.shape[1]]), given)[0]
    return float(logits.log_softmax(-1).gather(2, wanted[..., None]).mean())


def _splits(chromium: Any, ticket: Ticket, path: Path) -> Iterator[Row]:
    import sentencepiece

    lines = list(itertools.islice(read_lines(path), 10_000))
    model = ticket.assets["subwords"]
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    expected = [" ".join(pieces) for pieces in processor.encode(list(map(tidy, lines)), out_type=str, num_threads=1)]
    given = {"model": base64.b64encode(model).decode(), "lines": lines}
    found = chromium.new_page().evaluate(_SPLIT % runtime(), given)
    same = sum(one == other for one, other in zip(found, expected))
    yield "lines split as sentencepiece splits them", f"{same:,} of {len(lines):,}", "all"


def _draw(chromium: Any, path: Path, folder: Path) -> None:
    """Pictures of the page, in which a word of the translation is pointed at."""
    for name, context in PICTURES.items():
        with opened(chromium, path, **context) as shown:
            shown.translate(["Ein Hund."])  # compiles
            shown.translate(SAYS)
            shown.page.evaluate("document.activeElement.blur()")
            point = shown.page.tap if "has_touch" in context else shown.page.hover
            point("#target p:first-child span:nth-of-type(2)")
            _write(folder / f"{name}.png", shown.page.screenshot(animations="disabled"))


def _write(path: Path, picture: bytes) -> None:
    """A picture of few colours takes a third of the bytes."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    terminal.run(main)
