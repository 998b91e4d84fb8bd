"""Translate raw text with a ticket's Transformer, by fairseq's own beam search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from fairseq.data import LanguagePairDataset
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor, nn

from one_layer_lt.text.translator import SubwordTranslator
from one_layer_lt.ticket import Ticket
from one_layer_lt.translation import Decoding, Progress

from .architecture import dictionaries


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
