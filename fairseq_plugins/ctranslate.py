"""Translate raw text with a ticket by CTranslate2."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from one_layer_lt.ticket import Ticket
from one_layer_lt.translation import Decoding, Progress

from .fold import to_ctranslate2
from .translate import SubwordTranslator

_SENTENCES = 256  # handed over at a time, so that progress can be told


class CTranslator(SubwordTranslator):
    """CTranslate2 on the folded model, float32 unless ``quantization`` says otherwise; torch's number of threads."""

    def __init__(self, ticket: Ticket, quantization: str | None = None) -> None:
        super().__init__(ticket)
        self.most = ticket.architecture["max_target_positions"] - 1
        with tempfile.TemporaryDirectory() as folder:
            to_ctranslate2(ticket, Path(folder), quantization)
            import ctranslate2

            self.model = ctranslate2.Translator(folder, device="cpu", intra_threads=torch.get_num_threads())

    def search(self, sentences: Sequence[Sequence[str]], decoding: Decoding, progress: Progress) -> list[str]:
        order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
        found = [""] * len(sentences)
        for start in range(0, len(order), _SENTENCES):
            chunk = order[start : start + _SENTENCES]
            longest = len(sentences[chunk[-1]])
            results = self.model.translate_batch(
                [list(sentences[index]) for index in chunk],
                max_batch_size=decoding.max_tokens,
                batch_type="tokens",
                beam_size=decoding.beam,
                length_penalty=decoding.length_penalty,
                max_decoding_length=min(self.most, int(decoding.max_len_a * longest + decoding.max_len_b)),
                max_input_length=0,
            )
            for index, result in zip(chunk, results):
                found[index] = " ".join(result.hypotheses[0])
            progress(len(chunk))
        return found
