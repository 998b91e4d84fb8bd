"""Tickets of fairseq's Transformer: from a checkpoint, back to a model, and to others that run it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.transformer import TransformerModel
from fairseq_cli import generate
from torch import Tensor, nn

from fairseq_plugins.fold import to_fairseq
from fairseq_plugins.ticket import from_checkpoint
from fairseq_plugins.translate import TorchTranslator, _parts
from one_layer_lt import Ticket, TicketError, TicketSet, fold_, load_ticket, masked_modules, masked_weight
from one_layer_lt.text.subwords import Subword
from one_layer_lt.text.ticket import Text
from one_layer_lt.translation import Decoding

from . import running
from .running import PLUGIN, TICKET_RECIPE, batch, load_model, prepared, train

BEAM = Decoding(beam=2, max_len_b=30)


@pytest.fixture(scope="module")
def generated(data: Path, checkpoint: Path) -> list[str]:
    """The test split as fairseq-generate translates it with the masked checkpoint."""
    found = generate_with(data, checkpoint)
    assert len(set(found)) > 4, "a model that says one thing only would pass too easily"
    return found


def generate_with(data: Path, checkpoint: Path, *flags: str) -> list[str]:
    """fairseq-generate in this process."""
    said = io.StringIO()
    arguments = [str(data), "--path", str(checkpoint), "--user-dir", str(PLUGIN), *GENERATION, *flags]
    args = options.parse_args_and_arch(options.get_generation_parser(), arguments)
    with redirect_stdout(said):
        generate.main(convert_namespace_to_omegaconf(args))
    return hypotheses(said.getvalue())


GENERATION = ["--cpu", "--beam", "2", "--max-len-b", "30", "--required-batch-size-multiple", "1"]
GENERATION += ["--no-progress-bar", "--post-process", "sentencepiece", "--max-tokens", "8000", "--num-workers", "0"]


def hypotheses(said: str) -> list[str]:
    """The translations within what fairseq-generate says, in the order of the corpus."""
    found = re.findall(r"^H-(\d+)\t\S+\t?(.*)$", said, re.MULTILINE)
    return [text for _, text in sorted(found, key=lambda entry: int(entry[0]))]


def raw_test(data: Path) -> list[str]:
    return (data / "raw" / "test.xx").read_text().splitlines()


def with_settings(ticket: Ticket, drop: str = "", **settings: Any) -> Ticket:
    """The ticket with other settings of its architecture."""
    architecture = {**ticket.architecture, **settings}
    architecture.pop(drop, None)
    return Ticket(**{**vars_of(ticket), "architecture": architecture})


def vars_of(ticket: Ticket) -> dict[str, Any]:
    return {name: getattr(ticket, name) for name in ("masks", "architecture", "dense", "existing", "assets")}


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False))


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    """Every parameter is, bit for bit, and so is what they compute."""
    assert_same_parameters(found, expected)
    with torch.no_grad():
        assert torch.equal(found(**batch())[0], expected(**batch())[0])


def assert_same_parameters(found: nn.Module, expected: nn.Module) -> None:
    theirs, ours = parameters(expected), parameters(found)
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
        assert torch.equal(ours[name].signbit(), tensor.signbit()), name


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

    @pytest.mark.parametrize(
        ("content", "kind"), [(b"#version: 0.2\na l\n", "moses-bpe"), (b"\n\x0e", "sentencepiece")]
    )
    def test_a_subword_model_by_name(
        self, checkpoint: Path, data: Path, tmp_path: Path, content: bytes, kind: str
    ) -> None:
        """It goes before the folder's own, and its kind is told by its first bytes."""
        (tmp_path / "file").write_bytes(content)
        ticket = from_checkpoint(checkpoint, data, tmp_path / "file")
        assert ticket.architecture["text"] == {"tokenizer": kind, "lowercase": False, "aggressive": False}
        assert ticket.assets["subwords"] == content


def vectors(path: Path) -> list[str]:
    """The options of pre-trained embeddings, and the file they name."""
    words = ["alpha", "ALPHA", "bravo"]
    lines = [
        f"{len(words)} 16",
        *(" ".join([word, *(f"{(len(word) + i) / 7:.4f}" for i in range(16))]) for word in words),
    ]
    path.write_text("\n".join(lines) + "\n")
    return ["--encoder-embed-path", str(path), "--decoder-embed-path", str(path)]


BOTH = ("encoder", "decoder")
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


class TestTranslating:
    def test_as_fairseq_generate(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        assert ticket.translator().translate(raw_test(data), BEAM) == generated
        assert ticket.translate(raw_test(data)[:2], BEAM) == generated[:2]

    @pytest.mark.parametrize(
        "decoding",
        [
            Decoding(beam=4, length_penalty=-2.5, max_len_b=30),
            Decoding(beam=3, length_penalty=4.0, max_len_b=30),
            Decoding(beam=1, max_len_a=0.25, max_len_b=3),
        ],
        ids=["short", "long", "cut"],
    )
    def test_other_searches(
        self, data: Path, checkpoint: Path, ticket: Ticket, generated: list[str], decoding: Decoding
    ) -> None:
        flags = {"beam": decoding.beam, "lenpen": decoding.length_penalty}
        flags |= {"max-len-a": decoding.max_len_a, "max-len-b": decoding.max_len_b}
        expected = generate_with(data, checkpoint, *(f"--{name}={value}" for name, value in flags.items()))
        assert expected != generated
        assert ticket.translator().translate(raw_test(data), decoding) == expected
        found = ticket.translator("ctranslate2").translate(raw_test(data), decoding)
        assert sum(one == other for one, other in zip(found, expected)) >= 10

    def test_batches_do_not_matter(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        told: list[int] = []
        narrow = Decoding(beam=2, max_len_b=30, max_tokens=40)
        assert ticket.translator().translate(raw_test(data), narrow, told.append) == generated
        assert sum(told) == 12
        assert len(told) > 3

    def test_by_ctranslate2(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        pytest.importorskip("ctranslate2")
        translator = ticket.translator("ctranslate2")
        told: list[int] = []
        found = translator.translate(["", *raw_test(data), " \t"], BEAM, told.append)
        assert found[0] == found[-1] == ""
        assert sum(one == other for one, other in zip(found[1:-1], generated)) >= 10
        assert sum(told) == 12

    def test_empty_lines_stay_empty(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        lines = raw_test(data)
        translator = ticket.translator()
        found = translator.translate(["", lines[0], "  ", "\u200b\ufeff", lines[1], "\t"], BEAM)
        assert found == ["", generated[0], "", "", generated[1], ""]
        assert translator.translate([], BEAM) == []
        assert translator.translate([""], BEAM) == [""]

    def test_untidy_lines(self, data: Path, ticket: Ticket, generated: list[str]) -> None:
        """White space of any kind and invisible marks are of no account; what no subword covers is unknown."""
        line = raw_test(data)[0]
        translator = ticket.translator()
        assert translator.translate(["\ufeff  " + line.replace(" ", " \u00a0\u2028") + "\r\n"], BEAM) == generated[:1]
        assert len(translator.translate(["日本 " + line, "\U0001f600"], BEAM)) == 2

    def test_a_line_too_long_goes_in_parts(self, data: Path, ticket: Ticket, caplog: pytest.LogCaptureFixture) -> None:
        short = with_settings(ticket, max_source_positions=9)
        translator = TorchTranslator(short, short.model())
        line = "Alpha bravo charlie delta echo foxtrot golf hotel."
        (subwords,) = translator.text.split([line])
        parts = _parts(subwords, 8)
        assert len(parts) > 1
        assert all(0 < len(part) <= 8 for part in parts)
        assert [piece for part in parts for piece in part] == subwords
        with caplog.at_level(logging.WARNING):
            whole = translator.translate(["", line, "Golf."], BEAM)
        warned = (
            f"line 2: {len(subwords)} subwords are too many for the model, which reads 8: translated in {len(parts)}"
        )
        assert [record.getMessage() for record in caplog.records] == [f"{warned} parts"]
        pieces = ["".join(part).replace("\u2581", " ").strip() for part in parts]
        alone = translator.translate(pieces, BEAM)
        assert whole == ["", " ".join(alone), translator.translate(["Golf."], BEAM)[0]]

    def test_warnings_call_lines_as_they_are_told(self, ticket: Ticket, caplog: pytest.LogCaptureFixture) -> None:
        short = with_settings(ticket, max_source_positions=4)
        lines = ["Alpha bravo charlie delta.", ""]
        TorchTranslator(short, short.model()).translate(lines, Decoding(beam=1, max_len_b=5), numbers=[70, 80])
        assert [record.getMessage().split(":")[0] for record in caplog.records] == ["line 70"]

    def test_an_engine_that_there_is_not(self, ticket: Ticket) -> None:
        with pytest.raises(ValueError, match="unknown engine 'onnx'; choose one of: torch, ctranslate2"):
            ticket.translator("onnx")


@pytest.mark.parametrize(
    ("subwords", "longest", "parts"),
    [
        ("▁a b ▁c d", 4, ["▁a b ▁c d"]),
        ("▁a b ▁c d", 3, ["▁a b", "▁c d"]),
        ("▁a b ▁c d", 2, ["▁a b", "▁c d"]),
        ("▁a b ▁c d", 1, ["▁a", "b", "▁c", "d"]),
        ("▁a ▁b c d e", 4, ["▁a ▁b c d", "e"]),  # no word starts in the second half
        ("▁a x ▁b c d", 4, ["▁a x ▁b c", "d"]),
        ("▁a x y ▁b c", 4, ["▁a x y", "▁b c"]),
        ("▁a b c d e", 2, ["▁a b", "c d", "e"]),
        ("a@@ b c@@ d", 3, ["a@@ b", "c@@ d"]),
        ("a b c d e", 2, ["a b", "c d", "e"]),
        ("a@@ b@@ c@@ d", 2, ["a@@ b@@", "c@@ d"]),
        ("", 2, []),
    ],
)
def test_parts_of_a_long_line(subwords: str, longest: int, parts: list[str]) -> None:
    assert [" ".join(part) for part in _parts(subwords.split(), longest)] == parts


class TestText:
    """Raw lines are split as the training data were."""

    @pytest.mark.parametrize(
        ("subword", "languages", "joined"),
        [
            (Subword("sentencepiece", 60), ("xx", "yy"), True),
            (Subword("sentencepiece", 28, lowercase=True), ("xx", "yy"), True),
            (Subword("moses-bpe", 30, lowercase=True), ("de", "en"), False),
            (Subword("moses-bpe", 30), ("de", "en"), True),
        ],
        ids=["sentencepiece", "sentencepiece in lower case", "moses in lower case", "moses"],
    )
    def test_as_the_data(
        self,
        tmp_path: Path,
        subword: Subword,
        languages: tuple[str, str],
        joined: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        encoded: dict[str, list[str]] = {}

        def keep(folder: Path, source: str, target: str, out: Path, joined_dictionary: bool) -> None:
            for side, language in (("source", source), ("target", target)):
                encoded[side] = (folder / f"test.{language}").read_text().splitlines()

        monkeypatch.setattr(running, "binarised", keep)
        data = prepared(tmp_path, subword, languages, joined)
        manifest = json.loads((data / "data.json").read_text())
        text = Text(
            Ticket(
                masks=(),
                architecture={"source": languages[0], "target": languages[1], "text": manifest},
                assets={"subwords": (data / manifest["model"]).read_bytes()},
            )
        )
        source, target = ((data / "raw" / f"test.{language}").read_text().splitlines() for language in languages)
        assert [" ".join(line) for line in text.split(source)] == encoded["source"]
        joined_again = text.join(encoded["target"])
        assert joined_again == [line.lower() if subword.lowercase else line for line in target]

    @pytest.mark.parametrize(
        ("kind", "content"),
        [
            *(("sentencepiece", content) for content in (b"noise" * 9, b"#version: 0.2\na b\n")),
            *(("moses-bpe", content) for content in (b"\xff\xfe", b"#version: x\n", b"#version: 0.2\na b c d\n")),
        ],
    )
    def test_a_damaged_subword_model(self, ticket: Ticket, kind: str, content: bytes) -> None:
        assets = {**ticket.assets, "subwords": content}
        damaged = Ticket(**{**vars_of(with_settings(ticket, text={"tokenizer": kind})), "assets": assets})
        with pytest.raises(TicketError, match="its subword model is damaged"):
            Text(damaged).split(["Alpha"])


STOCK = """
import sys, torch
state = torch.load(sys.argv[-1], weights_only=True)
assert state["args"] is None and state["cfg"]["model"]["_name"] == "transformer"
sys.argv = ["fairseq-generate", sys.argv[1], "--path", sys.argv.pop(), *sys.argv[2:]]
from fairseq.checkpoint_utils import load_model_ensemble_and_task
models, _, _ = load_model_ensemble_and_task([sys.argv[3]], arg_overrides={"data": sys.argv[1]})
assert type(models[0]).__name__ == "TransformerModel"
from fairseq_cli.generate import cli_main
cli_main()
assert not {name for name in sys.modules if name.split(".")[0] in ("fairseq_plugins", "one_layer_lt")}
"""


class TestFolding:
    def test_stock_fairseq_translates_alike(
        self, data: Path, ticket: Ticket, generated: list[str], tmp_path: Path
    ) -> None:
        """In a process without the plugin; torch loads the file with weights_only."""
        folder = tmp_path / "folded"
        ticket.fold(folder, "fairseq")
        assert {file.name for file in folder.iterdir()} == {"model.pt", "dict.xx.txt", "dict.yy.txt", "spm.model"}
        for name in ("dict.xx.txt", "dict.yy.txt", "spm.model"):
            assert (folder / name).read_bytes() == (data / name).read_bytes()
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-c", STOCK, str(data), *GENERATION, str(folder / "model.pt")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert hypotheses(done.stdout) == generated

    def test_to_ctranslate2(self, ticket: Ticket, tmp_path: Path) -> None:
        pytest.importorskip("ctranslate2")
        ticket.fold(tmp_path / "folded", "ctranslate2", "int8")
        held = {file.name for file in (tmp_path / "folded").iterdir()}
        assert {"model.bin", "config.json", "spm.model"} < held
        assert [file.name for file in tmp_path.iterdir()] == ["folded"]

    def test_what_ctranslate2_cannot_hold(self, ticket: Ticket, tmp_path: Path) -> None:
        pytest.importorskip("ctranslate2")
        for settings in ({"activation_fn": "tanh"}, {"no_token_positional_embeddings": True}):
            with pytest.raises(TicketError, match="CTranslate2 cannot hold it: ") as raised:
                with_settings(ticket, **settings).fold(tmp_path / "folded", "ctranslate2")
            assert "\n" not in str(raised.value)
        with pytest.raises(ValueError, match="unknown quantization 'int3'"):
            ticket.fold(tmp_path / "folded", "ctranslate2", "int3")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("to", ["fairseq", "ctranslate2"])
    def test_into_a_folder_that_holds_something(self, ticket: Ticket, tmp_path: Path, to: str) -> None:
        (tmp_path / "folded").mkdir()
        (tmp_path / "folded" / "mine").write_text("kept")
        (tmp_path / "file").write_text("kept")
        for name in ("folded", "file"):
            with pytest.raises(FileExistsError, match="already there"):
                ticket.fold(tmp_path / name, to)
        assert [file.name for file in (tmp_path / "folded").iterdir()] == ["mine"]
        assert (tmp_path / "file").read_text() == "kept"

    def test_a_failure_leaves_nothing(self, ticket: Ticket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            ticket.fold(tmp_path / "folded", "fairseq")
        assert not list(tmp_path.iterdir())

    def test_to_what_there_is_not(self, ticket: Ticket, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="cannot fold to 'onnx'; choose one of: fairseq, ctranslate2"):
            ticket.fold(tmp_path / "folded", "onnx")

    def test_learned_positions_are_as_many_as_ctranslate2_may_write(self, data: Path, tmp_path: Path) -> None:
        """fairseq stops at the last position; so must CTranslate2."""
        pytest.importorskip("ctranslate2")
        flags = ["--decoder-learned-pos", "--encoder-learned-pos", "--max-target-positions", "30", *TICKET_RECIPE]
        ticket = from_checkpoint(train(data, tmp_path / "run", *flags, updates=1), data)
        decoding = Decoding(beam=1, max_len_b=200)
        lines = raw_test(data)[:3]
        assert len(ticket.translator("ctranslate2").translate(lines, decoding)) == 3
        assert len(ticket.translator().translate(lines, decoding)) == 3


NUMBERS = ["encoder_embed_dim", "decoder_layers", "encoder_attention_heads", "max_source_positions"]
SETTINGS: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"has {name} .*must be within")
        for name in NUMBERS
        for value in (0, -1, 10**9, 2.0, "2", None, True)
    ),
    *(
        ({name: 1}, f"has {name} 1, which must be within 2")
        for name in ("max_source_positions", "max_target_positions")
    ),
    *(
        ({"encoder_learned_pos": value}, "has encoder_learned_pos .*must be true or false")
        for value in (0, 1, "no", None)
    ),
    *(({"activation_fn": value}, "has the unknown activation") for value in ("exec", None, ["relu"], {})),
    *(
        ({"source": value}, "its source language is .*, which is none")
        for value in ("", "../x", "a/b", "--", None, 7, "a b")
    ),
    *(
        ({"text": value}, "does not say how its text is split")
        for value in (7, [], {}, {"tokenizer": "x"}, "moses-bpe")
    ),
    *(({"text": {"tokenizer": value}}, "does not say how its text is split") for value in ([], {}, None, 7)),
    ({"extra": 1}, "its architecture must have just"),
    ({"drop": "text"}, "its architecture must have just"),
    ({"drop": "encoder_layers"}, "its architecture must have just"),
    ({"encoder_layers": 1000}, "has more layers than tensors"),
    ({"encoder_attention_heads": 3}, "its architecture cannot be built"),
    ({"encoder_embed_dim": 2, "encoder_attention_heads": 1}, "its architecture cannot be built"),
    ({"share_all_embeddings": True, "decoder_embed_dim": 32}, "its architecture cannot be built"),
]


class TestSettings:
    """Of an architecture that a stranger wrote."""

    @pytest.mark.parametrize(("settings", "message"), SETTINGS)
    def test_out_of_bounds(self, ticket: Ticket, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
        changed = with_settings(ticket, **settings)
        with pytest.raises(TicketError, match=message):
            changed.model()
        with pytest.raises(TicketError, match=message):
            changed.translator("ctranslate2")
        for to in ("fairseq", "ctranslate2"):
            with pytest.raises(TicketError, match=message):
                changed.fold(tmp_path / "folded", to)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"decoder_layers": 1}, r"holds decoder\.layers\.1\..*, which the model does not have"),
            ({"decoder_layers": 3}, r"lacks decoder\.layers\.2\..*, which the model has"),
            (
                {"encoder_ffn_embed_dim": 31},
                r"encoder\.layers\.0\.fc1\.weight has shape \[32, 16\], the model's \[31, 16\]",
            ),
            ({"encoder_embed_dim": 32}, r"has shape \[\d+, 16\], the model's \[\d+, 32\]"),
            ({"encoder_learned_pos": True}, r"lacks encoder\.embed_positions\.weight, which the model has"),
        ],
    )
    def test_another_model_than_the_weights(self, ticket: Ticket, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(TicketError, match=message):
            with_settings(ticket, **settings).model()

    def test_a_wide_model_takes_no_memory_before_its_weights_fit(self, ticket: Ticket) -> None:
        wide = {f"{side}_{name}": 1 << 16 for side in BOTH for name in ("embed_dim", "ffn_embed_dim")}
        wide |= {"decoder_input_dim": 1 << 16, "decoder_output_dim": 1 << 16}
        wide |= {"max_source_positions": 1 << 20, "max_target_positions": 1 << 20}
        model = with_settings(ticket, **wide).skeleton()
        held = [tensor for tensor in [*model.parameters(), *model.buffers()] if not tensor.is_meta]
        assert sum(tensor.numel() for tensor in held) < 1 << 24

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "lacks its dictionary"),
            (b"alpha\n", "its dictionary is damaged"),
            (b"alpha one\n", "its dictionary is damaged"),
            (b"alpha 1\nalpha 2\n", "its dictionary is damaged"),
            (b"\xff 1\n", "its dictionary is damaged"),
            (b"\n", "its dictionary is damaged"),
            (b"alpha 1\n", "has shape"),
            (b"", "has shape"),
        ],
    )
    def test_a_dictionary_that_is_none(self, ticket: Ticket, content: bytes | None, message: str) -> None:
        assets = {name: asset for name, asset in ticket.assets.items() if name != "dict.source"}
        if content is not None:
            assets["dict.source"] = content
        with pytest.raises(TicketError, match=message) as raised:
            Ticket(**{**vars_of(ticket), "assets": assets}).model()
        assert "\n" not in str(raised.value)

    def test_one_embedding_for_two_dictionaries(self, ticket: Ticket) -> None:
        assets = {**ticket.assets, "dict.target": b"alpha 1\n"}
        shared = with_settings(ticket, share_all_embeddings=True)
        with pytest.raises(TicketError, match="shares all embeddings, but has two dictionaries"):
            Ticket(**{**vars_of(shared), "assets": assets}).model()


class TestTicketSet:
    @pytest.fixture(scope="class")
    def tickets(self, data: Path, ticket: Ticket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ticket]:
        """Two trainings on one random weight."""
        flags = [*TICKET_RECIPE, "--keep", "0.3", "--max-tokens", "400"]
        other = train(data, tmp_path_factory.mktemp("other"), *flags, updates=40)
        return {"half": ticket, "third": from_checkpoint(other, data)}

    def test_switching(self, data: Path, tickets: dict[str, Ticket], generated: list[str]) -> None:
        lines = raw_test(data)[:6]
        alone = {name: each.translator().translate(lines, BEAM) for name, each in tickets.items()}
        assert alone["half"] == generated[:6]
        assert alone["third"] != alone["half"]
        tried = TicketSet(tickets)
        for name in ("third", "half", "half", "third", "half"):
            assert tried.use(name).translate(lines, BEAM) == alone[name]
        assert tried.model("half") is tried.model("third")

    def test_weights_come_back_and_are_drawn_once(self, tickets: dict[str, Ticket]) -> None:
        tried = TicketSet(tickets)
        expected = {
            name: {key: value.clone() for key, value in parameters(each.model()).items()}
            for name, each in tickets.items()
        }
        for name in ("half", "third", "half"):
            found = parameters(tried.model(name))
            assert all(torch.equal(found[key], value) for key, value in expected[name].items())
        assert len(tried.pool) == 18
        for one, other in zip(*(each.weights for each in tickets.values())):
            assert tried.pool.get(one).data_ptr() == tried.pool.get(other).data_ptr()


def test_same_file_from_the_same_checkpoint(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    files: Sequence[Path] = [tmp_path / name for name in ("a", "b")]
    for path in files:
        from_checkpoint(checkpoint, data).save(path)
    assert files[0].read_bytes() == files[1].read_bytes()
