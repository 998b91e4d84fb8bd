"""Masked against dense: training steps, validation, translation, memory; and one layer against published code."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any, Callable

import fairseq.benchmark  # noqa: F401  registers the task dummy_mt
import numpy as np
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.sequence_generator import SequenceGenerator
from fairseq.trainer import Trainer
from torch import nn

import fairseq_plugins  # noqa: F401  registers the model
from one_layer_lt import MaskConfig, mask_, parametrization_of, scores_of
from one_layer_lt.precision import has_fast_bf16, instructions
from scripts.bench.published import SortedLinear
from scripts.bench.timing import Row, in_process, interleaved

ARCH, VOCABULARY, LENGTH, TOKENS = "one_layer_masked", 10_000, 32, 4096
ROUNDS = 8
TRANSLATIONS = 15
WIDTHS = (256, 512, 1024)
LAYER, ROWS = 1024, 2048
_KINDS: dict[str, list[str]] = {"masked": [], "dense": ["--dense"]}
HAS_AMX = "amx_bf16" in instructions()

_START = """
import sys
import time
from argparse import Namespace
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq_plugins.one_layer_masked import OneLayerMaskedModel

dictionary = Dictionary()
for number in range(1000):
    dictionary.add_symbol(str(number))
args = Namespace(share_all_embeddings=True, left_pad_source=True, dense=len(sys.argv) > 1)
ARCH_CONFIG_REGISTRY["one_layer_masked_iwslt_de_en"](args)
started = time.perf_counter()
model = OneLayerMaskedModel.build_model(args, Namespace(source_dictionary=dictionary, target_dictionary=dictionary))
print(time.perf_counter() - started, sum(parameter.numel() for parameter in model.parameters()))
"""

_MEMORY = """
import sys
from scripts.bench.steps import Training
training = Training(*sys.argv[1:])
for _ in range(3):
    training.step()
print(int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024)
"""


class Training:
    """A fairseq trainer of the base size (512/2048, 6+6 layers) on 4,096 tokens a step; ``flags`` are the model's."""

    def __init__(self, *flags: str) -> None:
        arguments = ["--task", "dummy_mt", "--dict-size", str(VOCABULARY), "--cpu", "--seed", "1"]
        arguments += ["--src-len", str(LENGTH), "--tgt-len", str(LENGTH), "--max-tokens", str(TOKENS)]
        arguments += ["--arch", ARCH, "--share-all-embeddings", "--dropout", "0.1", *flags]
        arguments += ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--lr", "5e-4", "--clip-norm", "0.5"]
        arguments += ["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1"]
        args = options.parse_args_and_arch(options.get_training_parser(), arguments)
        config = convert_namespace_to_omegaconf(args)
        self.task = tasks.setup_task(config.task)
        self.model = self.task.build_model(config.model)
        self.trainer = Trainer(config, self.task, self.model, self.task.build_criterion(config.criterion))
        self.sample = _sample()

    def step(self) -> None:
        with metrics.aggregate():
            self.trainer.train_step([self.sample])

    def validate(self) -> None:
        with metrics.aggregate():
            self.trainer.valid_step(self.sample)

    def generator(self) -> Callable[[], None]:
        """Translates a few sentences to a fixed length, with a beam of 5."""
        prepare: Any = self.model.eval().make_generation_fast_
        prepare(beamable_mm_beam_size=None, need_attn=False)
        search = SequenceGenerator(
            [self.model], self.task.target_dictionary, beam_size=5, min_len=LENGTH, max_len_b=LENGTH
        )
        batch = {"net_input": {name: tensor[:16] for name, tensor in self.sample["net_input"].items()}}

        def translate() -> None:
            with torch.no_grad():
                search.generate([self.model], batch)

        return translate


def _sample() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    sentences = TOKENS // LENGTH
    source, target = torch.randint(4, VOCABULARY, (2, sentences, LENGTH), generator=generator)
    source[:, -1] = target[:, -1] = 2
    inputs = {"src_tokens": source, "src_lengths": torch.full((sentences,), LENGTH)}
    inputs["prev_output_tokens"] = target.roll(1, dims=1)
    return {
        "id": torch.arange(sentences),
        "nsentences": sentences,
        "ntokens": target.numel(),
        "target": target,
        "net_input": inputs,
    }


def rows() -> Iterator[Row]:
    """The figures."""
    yield _selection()
    yield _layer()
    yield _widths()
    yield from _whole_model()
    yield _memory()
    yield _start()


def _selection() -> Row:
    layer = _masked(nn.Linear(4 * LAYER, LAYER, bias=False))[0]
    masked, scores = parametrization_of(layer), scores_of(layer)
    source, target = np.ones((2, 4 * scores.numel()), np.float32)

    def apply() -> None:
        with torch.no_grad():
            masked(scores)

    times = interleaved({"apply": apply, "copy": lambda: np.copyto(target, source)}, 31)
    detail = {"milliseconds": {name: round(1e3 * taken, 2) for name, taken in times.items()}}
    name = "select and apply, 4.2 M scores / copying 16 bytes a score"
    return Row(name, round(times["apply"] / times["copy"], 2), most=2.7, detail=detail)


def _layer() -> Row:
    pair = {"sorted": SortedLinear(LAYER, 4 * LAYER), "ours": _masked(nn.Linear(LAYER, 4 * LAYER, bias=False))}
    times = _layer_steps(pair, LAYER)
    detail = {"milliseconds": {name: round(1e3 * taken, 1) for name, taken in times.items()}}
    name = "training step, sort-per-forward / ours, one 1024x4096 layer, 2,048 tokens"
    return Row(name, round(times["sorted"] / times["ours"], 2), least=2.0, detail=detail)


def _widths() -> Row:
    """Step time against dense of a feed-forward block, by width: what masks cost, and what sorting does."""
    found: dict[str, dict[str, float]] = {"ours": {}, "sorted": {}}
    for width in WIDTHS:
        blocks = {
            "dense": _block(width, lambda i, o: nn.Linear(i, o, bias=False)),
            "ours": _masked(_block(width, lambda i, o: nn.Linear(i, o, bias=False))),
            "sorted": _block(width, SortedLinear),
        }
        times = _layer_steps(blocks, width)
        for name in found:
            found[name][str(width)] = round(times[name] / times["dense"], 3)
    worst = max(found["ours"].values())
    return Row("training step of a feed-forward block, masked / dense, worst of the widths", worst, detail=found)


def _block(width: int, layer: Callable[[int, int], nn.Module]) -> nn.Module:
    return nn.Sequential(layer(width, 4 * width), nn.ReLU(), layer(4 * width, width))


def _masked(layer: nn.Module) -> nn.Sequential:
    sequence = nn.Sequential(layer)
    mask_(sequence, MaskConfig(share="none"))
    return sequence


def _layer_steps(layers: dict[str, nn.Module], width: int) -> dict[str, float]:
    x = torch.randn(ROWS, width, requires_grad=True)
    optimisers = {
        name: torch.optim.Adam([p for p in layer.parameters() if p.requires_grad]) for name, layer in layers.items()
    }

    def step(name: str) -> None:
        layers[name](x).square().mean().backward()
        optimisers[name].step()
        optimisers[name].zero_grad()

    return interleaved({name: partial(step, name) for name in layers}, 7)


def _whole_model() -> Iterator[Row]:
    trainings = {"masked": Training(), "dense": Training("--dense")}
    if has_fast_bf16():
        trainings |= {"masked bf16": Training("--cpu-bf16"), "dense bf16": Training("--cpu-bf16", "--dense")}
    times = interleaved({name: training.step for name, training in trainings.items()}, ROUNDS, warmup=3)
    detail = {"seconds": {name: round(taken, 3) for name, taken in times.items()}}
    step = "training step, base size, 4,096 tokens"
    yield Row(f"{step}, float32, masked / dense", _ratio(times, "masked", "dense"), most=1.06, detail=detail)
    if "masked bf16" in times:
        yield Row(f"{step}, bf16, masked / dense", _ratio(times, "masked bf16", "dense bf16"), most=1.12, detail=detail)
        yield Row(
            f"{step}, masked bf16 / dense float32",
            _ratio(times, "masked bf16", "dense"),
            most=0.6 if HAS_AMX else None,
            detail={**detail, "amx": HAS_AMX},
        )
    pair = {name: trainings[name] for name in ("masked", "dense")}
    times = interleaved({name: training.validate for name, training in pair.items()}, ROUNDS)
    detail = {"seconds": {name: round(taken, 3) for name, taken in times.items()}}
    yield Row("validation step, masked / dense", _ratio(times, "masked", "dense"), most=1.02, detail=detail)
    times = interleaved({name: training.generator() for name, training in pair.items()}, TRANSLATIONS)
    detail = {"seconds": {name: round(taken, 3) for name, taken in times.items()}}
    yield Row("translation, masked / dense", _ratio(times, "masked", "dense"), most=1.02, detail=detail)


def _ratio(times: dict[str, float], over: str, under: str) -> float:
    return round(times[over] / times[under], 3)


def _memory() -> Row:
    peak = {name: int(in_process(_MEMORY, *flags)) for name, flags in _KINDS.items()}
    name = "peak resident memory of training, base size, masked / dense"
    return Row(name, round(peak["masked"] / peak["dense"], 3), most=1.05, detail={"bytes": peak})


def _start() -> Row:
    """From the seed to a model that is ready to train, in a fresh process, without imports."""
    found = {name: [in_process(_START, *flags).split() for _ in range(3)] for name, flags in _KINDS.items()}
    seconds = {name: statistics.median(float(taken) for taken, _ in runs) for name, runs in found.items()}
    detail = {"seconds": seconds, "parameters": int(found["masked"][0][1])}
    return Row(
        "from the seed to a ready model of 32 M weights, seconds", round(seconds["masked"], 3), most=2.0, detail=detail
    )
