"""Tickets: how soon they translate, how fast the engines are, what several cost in memory."""

from __future__ import annotations

import itertools
import os
import re
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_plugins.one_layer_masked import OneLayerMaskedModel
from one_layer_lt import Ticket, TicketSet, load_ticket, process
from one_layer_lt.text.architecture import settings_of
from one_layer_lt.text.ctranslate import CTranslator
from one_layer_lt.text.lines import read_lines
from one_layer_lt.ticket.sizes import sizes
from one_layer_lt.translation import Decoding, no_progress
from scripts.bench.timing import Row, in_process, interleaved
from scripts.results import ROOT

ARCH = "one_layer_masked_iwslt_de_en"
BEAM = 5
ROUNDS = 3

_FIRST_TRANSLATION = """
import sys, time
started = time.perf_counter()
from one_layer_lt import load_ticket
from one_layer_lt.translation import Decoding
import ctranslate2.specs
import one_layer_lt.text.engines
imported = time.perf_counter()
load_ticket(sys.argv[1]).translate(["w1 w2 w3"], Decoding(max_len_b=10))
done = time.perf_counter()
print(done - imported, done - started)
"""

_MEMORY = """
import sys
from one_layer_lt import TicketSet, load_ticket
import fairseq_plugins.ticket

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) * 1024

before = resident()
if sys.argv[1] == "shared":
    tickets = TicketSet({path: load_ticket(path) for path in sys.argv[2:]})
    models = [tickets.model(path) for path in sys.argv[2:]]
else:
    models = [load_ticket(path).model() for path in sys.argv[2:]]
print(resident() - before)
"""


def rows(ticket: Path | None, data: Path | None) -> Iterator[Row]:
    """The figures; ``ticket`` and ``data``: a trained translator and its data folder, for the engines' speed."""
    with tempfile.TemporaryDirectory() as scratch:
        large = [Path(scratch, f"{seed}.ticket") for seed in (1, 2)]
        for seed, path in enumerate(large):
            untrained(seed).save(path)
        yield from _sizes()
        yield _first_translation(large[0])
        yield _memory(large)
        yield _switching(large)
    if ticket is not None and data is not None:
        yield from _engines(ticket, data)


def untrained(score_seed: int, keep: float = 0.5) -> Ticket:
    """A translator of 32 million weights whose masks mean nothing, of a small dictionary of whole words."""
    dictionary = Dictionary()
    for number in range(1000):
        dictionary.add_symbol(f"w{number}")
    args = Namespace(share_all_embeddings=True, left_pad_source=True, keep=keep)
    ARCH_CONFIG_REGISTRY[ARCH](args)
    model = OneLayerMaskedModel.build_model(args, Namespace(source_dictionary=dictionary, target_dictionary=dictionary))
    generator = torch.Generator().manual_seed(score_seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(generator=generator)
    text = {"tokenizer": "moses-bpe", "lowercase": False, "aggressive": False}
    words = "".join(f"w{number} 1\n" for number in range(1000)).encode()
    assets = {"dict.source": words, "subwords": b"#version: 0.2\nq q</w>\n"}
    return Ticket.of(model, settings_of(args, "de", "en", text), assets)


def _sizes() -> Iterator[Row]:
    for keep in (0.5, 0.3, 0.1):
        measured = sizes(untrained(0, keep))
        detail = {"masks_bytes": measured.masks, "bound_bytes": round(measured.bound), "file_bytes": measured.file}
        ratio = round(measured.masks / measured.bound, 4)
        yield Row(f"size of masks at keep {keep} / the entropy bound", ratio, most=1.02, detail=detail)
        if keep == 0.5:
            times = round(measured.dense / measured.without_assets, 1)
            yield Row("size of the dense weights in float32 / the file's", times, least=30.0, detail=detail)


def _first_translation(path: Path) -> Row:
    found = [[float(value) for value in in_process(_FIRST_TRANSLATION, str(path)).split()] for _ in range(ROUNDS)]
    warm, whole = (statistics.median(values) for values in zip(*found))
    measured = sizes(load_ticket(path))
    detail = {"weights": measured.dense // 4, "with_imports_s": round(whole, 3), "file_bytes": measured.file}
    return Row("file to first translation, 32 M weights, seconds", round(warm, 3), most=3.0, detail=detail)


def _memory(paths: list[Path]) -> Row:
    found = {}
    for how in ("shared", "separate"):
        taken = [int(in_process(_MEMORY, how, *map(str, paths))) for _ in range(ROUNDS)]
        found[how] = statistics.median(taken)
    detail = {f"{how}_bytes": int(value) for how, value in found.items()}
    ratio = round(found["shared"] / found["separate"], 3)
    return Row("resident memory of two tickets, on one random weight / apart", ratio, detail=detail)


def _switching(paths: list[Path]) -> Row:
    tickets = TicketSet({path.stem: load_ticket(path) for path in paths})
    turns = itertools.cycle(tickets.tickets)
    functions = {"switch": lambda: tickets.model(next(turns)), "load": lambda: load_ticket(paths[0]).model()}
    times = interleaved(functions, ROUNDS, warmup=2)
    ratio = round(times["switch"] / times["load"], 3)
    return Row("switching to the other ticket / loading it", ratio, detail={"seconds": times})


def _engines(path: Path, data: Path) -> Iterator[Row]:
    """CTranslate2 against fairseq-generate on one thread, over the same sentences, in turns."""
    torch.set_num_threads(1)
    ticket = load_ticket(path)
    decoding = Decoding(beam=BEAM)
    with tempfile.TemporaryDirectory() as scratch:
        ticket.convert(Path(scratch, "folded"), "fairseq")
        engines = {kind: CTranslator(ticket, kind) for kind in ("float32", "int8")}
        sentences = engines["float32"].text.split(
            list(read_lines(data / "raw" / f"test.{ticket.architecture['source']}"))
        )
        times: dict[str, list[float]] = {"fairseq-generate": [], "float32": [], "int8": []}
        for _ in range(ROUNDS):
            times["fairseq-generate"].append(_generate(data, Path(scratch, "folded", "model.pt")))
            for kind, engine in engines.items():
                started = time.perf_counter()
                engine.search(sentences, decoding, no_progress)
                times[kind].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for kind, least in (("float32", 2.3), ("int8", 4.0)):
        detail = {"seconds": medians, "sentences": len(sentences), "beam": BEAM, "threads": 1}
        ratio = medians["fairseq-generate"] / medians[kind]
        yield Row(f"speed of CTranslate2 {kind} / fairseq-generate, one thread", round(ratio, 2), least, None, detail)


def _generate(data: Path, checkpoint: Path) -> float:
    """Seconds that stock fairseq-generate says it took to translate the test set."""
    command = ["fairseq-generate", str(data), "--path", str(checkpoint), "--cpu"]
    command += ["--beam", str(BEAM), "--max-tokens", "8000", "--no-progress-bar"]
    said = process.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(re.findall(r"Translated .* in ([\d.]+)s", said)[-1])
