"""Translate raw text with a ticket's Transformer, by fairseq's own beam search."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from fairseq.data import LanguagePairDataset
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor, nn

from one_layer_lt.text.ticket import Text
from one_layer_lt.ticket import Ticket
from one_layer_lt.translation import Decoding, Progress, Translator, no_progress

from .architecture import dictionaries

logger = logging.getLogger(__name__)


class SubwordTranslator(Translator):
    """Raw text through a ticket's subwords; an engine adds ``search``. A line too long for the model goes in parts."""

    def __init__(self, ticket: Ticket) -> None:
        self.text = Text(ticket)
        self.longest = ticket.architecture["max_source_positions"] - 1  # one is for the end of the sentence

    @abstractmethod
    def search(self, sentences: Sequence[Sequence[str]], decoding: Decoding, progress: Progress) -> list[str]:
        """The best translation of each sentence of subwords, as subwords separated by spaces."""

    def translate(
        self,
        lines: Sequence[str],
        decoding: Decoding,
        progress: Progress = no_progress,
        numbers: Sequence[int] | None = None,
    ) -> list[str]:
        parts = [_parts(subwords, self.longest) for subwords in self.text.split(lines)]
        for number, part in zip(numbers or range(1, len(parts) + 1), parts):
            if len(part) > 1:
                length = sum(map(len, part))
                logger.warning(
                    "line %d: %d subwords are too many for the model, which reads %d: translated in %d parts",
                    *(number, length, self.longest, len(part)),
                )
        flat = [part for line in parts for part in line]
        found = iter(self.text.join(self.search(flat, decoding, progress)))
        return [" ".join(next(found) for _ in line) for line in parts]


class TorchTranslator(SubwordTranslator):
    """fairseq's beam search on the dense model that a ticket gives."""

    def __init__(self, ticket: Ticket, model: nn.Module) -> None:
        super().__init__(ticket)
        self.source, self.target = dictionaries(ticket)
        self.left_pad: bool = ticket.architecture["left_pad_source"]
        self.model = model
        prepare: Any = model.make_generation_fast_
        prepare(beamable_mm_beam_size=None, need_attn=False)  # as fairseq-generate

    @torch.inference_mode()
    def search(self, sentences: Sequence[Sequence[str]], decoding: Decoding, progress: Progress) -> list[str]:
        generator = SequenceGenerator(
            [self.model],
            self.target,
            beam_size=decoding.beam,
            max_len_a=decoding.max_len_a,
            max_len_b=decoding.max_len_b,
            len_penalty=decoding.length_penalty,
        )
        tokens = [self.source.encode_line(" ".join(sentence), add_if_not_exist=False).long() for sentence in sentences]
        data = LanguagePairDataset(
            tokens, [len(line) for line in tokens], self.source, left_pad_source=self.left_pad, shuffle=False
        )
        found = [""] * len(tokens)
        for batch in _batches(tokens, decoding.max_tokens):
            sample = data.collater([data[index] for index in batch])
            for index, hypotheses in zip(sample["id"].tolist(), generator.generate([self.model], sample)):
                found[index] = self.target.string(hypotheses[0]["tokens"], extra_symbols_to_ignore={generator.eos})
            progress(len(batch))
        return found


def _batches(tokens: Sequence[Tensor], max_tokens: int) -> Iterator[list[int]]:
    """Indices of sentences of like length, at most ``max_tokens`` a batch with padding."""
    batch: list[int] = []
    for index in sorted(range(len(tokens)), key=lambda index: len(tokens[index])):
        if batch and (len(batch) + 1) * len(tokens[index]) > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _parts(subwords: list[str], longest: int) -> list[list[str]]:
    """The subwords in parts of at most ``longest``, cut between words where one starts in the second half of a part."""
    starts_word = _sentencepiece_starts if any(s.startswith("\u2581") for s in subwords) else _bpe_starts
    parts = []
    while len(subwords) > longest:
        cut = next((at for at in range(longest, longest // 2, -1) if starts_word(subwords, at)), longest)
        parts.append(subwords[:cut])
        subwords = subwords[cut:]
    return [*parts, subwords] if subwords else parts


def _sentencepiece_starts(subwords: list[str], at: int) -> bool:
    return subwords[at].startswith("\u2581")


def _bpe_starts(subwords: list[str], at: int) -> bool:
    return not subwords[at - 1].endswith("@@")
