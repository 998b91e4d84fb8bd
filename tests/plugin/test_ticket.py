"""Tickets of fairseq's Transformer: from a checkpoint, and back to a model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.models.transformer import TransformerModel

from fairseq_plugins.fold import to_fairseq
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import Ticket, TicketError, fold_, load_ticket, masked_modules, masked_weight
from one_layer_lt.text.ticket import Text
from tests.support.translators import BOTH, assert_same, assert_same_parameters, vars_of, with_settings

from .running import TICKET_RECIPE, batch, load_model, train


class TestCheckpoints:
    def test_model_is_the_folded_checkpoint(self, checkpoint: Path, ticket: Ticket) -> None:
        folded = fold_(load_model(checkpoint))
        model = ticket.model()
        assert_same(model, folded)
        assert not model.training
        assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight
        assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])

    def test_masks_are_of_the_checkpoint(self, checkpoint: Path, ticket: Ticket) -> None:
        masked = {id(masked_weight(module)) for _, module in masked_modules(load_model(checkpoint))}
        assert len(ticket.masks) == len(masked) == 34
        assert len(ticket.weights) == 18
        assert not ticket.dense
        assert not ticket.existing

    def test_data_folder_of_the_checkpoint_is_the_default(
        self, checkpoint: Path, ticket: Ticket, tmp_path: Path
    ) -> None:
        from_checkpoint(checkpoint).save(tmp_path / "a.ticket")
        ticket.save(tmp_path / "b.ticket")
        assert (tmp_path / "a.ticket").read_bytes() == (tmp_path / "b.ticket").read_bytes()

    def test_assets(self, data: Path, ticket: Ticket) -> None:
        """The dictionary is joined, and is there once."""
        assert set(ticket.assets) == {"dict.source", "subwords"}
        assert (
            ticket.assets["dict.source"] == (data / "dict.xx.txt").read_bytes() == (data / "dict.yy.txt").read_bytes()
        )
        assert ticket.assets["subwords"] == (data / "spm.model").read_bytes()
        text = {"tokenizer": "sentencepiece", "lowercase": False, "aggressive": False}
        assert (ticket.architecture["source"], ticket.architecture["target"]) == ("xx", "yy")
        assert ticket.architecture["text"] == text

    def test_without_a_subword_model(self, corpus: Path, tmp_path: Path) -> None:
        ticket = from_checkpoint(train(corpus, tmp_path / "run", *TICKET_RECIPE, updates=1), corpus)
        assert ticket.architecture["text"] is None
        assert_same(ticket.model(), fold_(load_model(tmp_path / "run" / "checkpoint_last.pt")))
        with pytest.raises(TicketError, match="has no subword model"):
            ticket.translate(["alpha"])
        empty = with_settings(ticket, text={"tokenizer": "sentencepiece"})
        with pytest.raises(TicketError, match="has no subword model"):
            Text(Ticket(**{**vars_of(empty), "assets": {**ticket.assets, "subwords": b""}}))

    @pytest.mark.parametrize("kind", ["moses-bpe", "sentencepiece"])
    def test_a_subword_model_by_name(self, checkpoint: Path, data: Path, tmp_path: Path, kind: str) -> None:
        """For a folder that has none; its kind is told by its first bytes."""
        content = b"#version: 0.2\na l\n" if kind == "moses-bpe" else (data / "spm.model").read_bytes()
        (tmp_path / "file").write_bytes(content)
        shutil.copytree(data, tmp_path / "bare", ignore=shutil.ignore_patterns("data.json", "spm.model"))
        ticket = from_checkpoint(checkpoint, tmp_path / "bare", tmp_path / "file")
        assert ticket.architecture["text"] == {"tokenizer": kind, "lowercase": False, "aggressive": False}
        assert ticket.assets["subwords"] == content

    @pytest.mark.parametrize("content", [b"alpha 7\nbravo 5\n", b"a l\n", b"#version: 0.2\na b c\n", b"\xff" * 9])
    def test_a_file_that_is_no_subword_model(
        self, checkpoint: Path, data: Path, tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(TicketError, match="file is neither a sentencepiece model nor codes of subword-nmt"):
            from_checkpoint(checkpoint, data, tmp_path / "file")
        assert not capfd.readouterr().err

    def test_languages_with_a_dot(self, ticket: Ticket, tmp_path: Path) -> None:
        dotted = with_settings(ticket, source="zh.cn", target="pt.br")
        assert dotted.translate(["Alpha bravo."]) == ticket.translate(["Alpha bravo."])
        dotted.convert(tmp_path / "folded", "fairseq")
        assert (tmp_path / "folded" / "dict.zh.cn.txt").read_bytes() == ticket.assets["dict.source"]


def vectors(path: Path) -> list[str]:
    """The options of pre-trained embeddings, and the file they name."""
    words = ["alpha", "ALPHA", "bravo"]
    lines = [
        f"{len(words)} 16",
        *(" ".join([word, *(f"{(len(word) + i) / 7:.4f}" for i in range(16))]) for word in words),
    ]
    path.write_text("\n".join(lines) + "\n")
    return ["--encoder-embed-path", str(path), "--decoder-embed-path", str(path)]


OPTIONS = {
    "trained embeddings": ["--embeddings", "trained"],
    "trained embeddings, one dictionary": ["--embeddings", "trained", "--share-all-embeddings"],
    "pre-trained embeddings": ["--embeddings", "pretrained"],
    "pre-trained embeddings under a mask": ["--embeddings", "pretrained-masked", "--keep", "0.3"],
    "affine layer norms": ["--layer-norm", "affine", *(f"--{side}-normalize-before" for side in BOTH)],
    "embeddings of one weight": ["--share-all-embeddings", "--share", "none", "--mask-rule", "topk"],
    "learned positions": [*(f"--{side}-learned-pos" for side in BOTH), "--layernorm-embedding", "--keep", "0.7"],
    "no positions": ["--no-token-positional-embeddings", "--activation-fn", "gelu"],
    "other sizes": [
        *("--encoder-layers", "1", "--decoder-layers", "3", "--encoder-ffn-embed-dim", "20"),
        *("--encoder-attention-heads", "4", "--no-scale-embedding", "--no-decoder-final-norm"),
    ],
    "other weights": [
        *("--random-init", "signed_constant", "--attention-init", "same", "--query-key-scale", "2.8", "--scale-fan"),
        *("--mask-seed", "-7", "--score-init", "constant_noisy", "--max-source-positions", "300"),
    ],
    "one mask for all heads": [
        *("--share-heads", "--mask-rule", "biprop", "--mask-options", "scope=global", "--query-key-scale", "auto"),
    ],
    "one mask for all layers": ["--share", "layer_mask", "--share-all-embeddings", "--mask-rule", "signed"],
    "one vector, drawn again": ["--share", "vector", "--mask-rule", "iterand", "--mask-options", "period=1"],
    "stacks, frozen": [
        *("--share", "stack", "--mask-rule", "multicoat", "--frozen-dropped", "0.2", "--frozen-locked", "0.1"),
        *("--mask-rescale", "row"),
    ],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_survive(corpus: Path, tmp_path: Path, name: str) -> None:
    flags = OPTIONS[name] + (vectors(tmp_path / "vectors") if "pretrained" in " ".join(OPTIONS[name]) else [])
    checkpoint = train(corpus, tmp_path / "run", *TICKET_RECIPE, *flags, updates=2)
    from_checkpoint(checkpoint, corpus).save(tmp_path / "net.ticket")
    ticket, masked = load_ticket(tmp_path / "net.ticket"), load_model(checkpoint)
    model = ticket.model()
    assert bool(ticket.existing) is (name == "pre-trained embeddings under a mask")
    assert bool(ticket.dense) is (name in list(OPTIONS)[:3] + ["affine layer norms"])
    with torch.no_grad():
        assert torch.equal(model(**batch())[0], masked(**batch())[0])
    assert_same(model, fold_(masked))
    for side in (model.encoder, model.decoder):
        assert (model.encoder.embed_tokens.weight is side.embed_tokens.weight) is (
            side is model.encoder or "--share-all-embeddings" in flags
        )
    to_fairseq(ticket, tmp_path / "folded.pt")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fairseq.checkpoint_utils.load_checkpoint_to_cpu", loading_with(corpus))
        stock = load_model(tmp_path / "folded.pt")
    assert type(stock) is TransformerModel
    assert_same_parameters(stock, model)
    with torch.no_grad():
        torch.testing.assert_close(stock(**batch())[0], model(**batch())[0])


def loading_with(data: Path) -> Any:
    """fairseq's loader with ``data`` for the data folder, as its commands give it."""
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    return lambda path, arg_overrides=None, **rest: load_checkpoint_to_cpu(path, {"data": str(data)}, **rest)


class TestRefused:
    """A checkpoint of which no ticket can be made: one line that says why."""

    @staticmethod
    def complaint(checkpoint: Path, data: Path) -> str:
        with pytest.raises(TicketError) as raised:
            from_checkpoint(checkpoint, data)
        said = str(raised.value)
        assert "\n" not in said
        assert checkpoint.name in said
        return said

    def test_a_dense_one(self, corpus: Path, tmp_path: Path) -> None:
        checkpoint = train(corpus, tmp_path / "run", *TICKET_RECIPE, "--dense", updates=1)
        assert "nothing to save: the model has no masked weights" in self.complaint(checkpoint, corpus)

    def test_one_that_was_folded(self, ticket: Ticket, data: Path, tmp_path: Path) -> None:
        to_fairseq(ticket, tmp_path / "folded.pt")
        assert "nothing to save" in self.complaint(tmp_path / "folded.pt", data)

    def test_an_option_that_tickets_do_not_carry(self, corpus: Path, tmp_path: Path) -> None:
        checkpoint = train(corpus, tmp_path / "run", *TICKET_RECIPE, "--no-cross-attention", updates=1)
        assert "a ticket cannot carry --no-cross-attention" in self.complaint(checkpoint, corpus)

    def test_files_that_are_none(self, checkpoint: Path, data: Path, tmp_path: Path) -> None:
        contents = {
            "noise": b"\x00\x01\x02" * 99,
            "empty": b"",
            "cut": checkpoint.read_bytes()[:5000],
            "text": b"hello",
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
            assert "cannot be loaded" in self.complaint(tmp_path / name, data)
        for name, state in {"list": [1, 2], "dictionary": {"model": {}}, "tensor": torch.zeros(2)}.items():
            torch.save(state, tmp_path / name)
            assert "cannot be loaded" in self.complaint(tmp_path / name, data)

    def test_another_dictionary(self, checkpoint: Path, corpus: Path) -> None:
        assert "cannot be loaded" in self.complaint(checkpoint, corpus)

    def test_missing_files(self, checkpoint: Path, data: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no such checkpoint"):
            from_checkpoint(tmp_path / "missing.pt", data)
        with pytest.raises(FileNotFoundError, match="no such data folder"):
            from_checkpoint(checkpoint, tmp_path / "missing")
        with pytest.raises(FileNotFoundError, match=r"missing\.model"):
            from_checkpoint(checkpoint, data, tmp_path / "missing.model")
        assert "cannot be loaded" in self.complaint(checkpoint, tmp_path)

    def test_a_damaged_description_of_the_data(self, checkpoint: Path, data: Path, tmp_path: Path) -> None:
        copied = shutil.copytree(data, tmp_path / "data")
        (copied / "data.json").write_text("{}")
        with pytest.raises(TicketError, match=r"data\.json: format None is not 1"):
            from_checkpoint(checkpoint, copied)


def test_same_file_from_the_same_checkpoint(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    files: Sequence[Path] = [tmp_path / name for name in ("a", "b")]
    for path in files:
        from_checkpoint(checkpoint, data).save(path)
    assert files[0].read_bytes() == files[1].read_bytes()
