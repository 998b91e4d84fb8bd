"""Text as the page splits it: sentencepiece's pieces, and Python's text around them."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any

import pytest

from one_layer_lt import load_ticket
from one_layer_lt.text.architecture import vocabularies
from one_layer_lt.text.lines import tidy
from one_layer_lt.text.subwords import joined
from tests.web.running import GOLDEN, base64_of, javascript, needs_node

sentencepiece = pytest.importorskip("sentencepiece")

STRANGE = (
    "aäöüßÄ ＡＢｃ①②㌔ﬁﬂ…\u3000\u200b\ufeff\t\0\x07é e\u0301ñ ☺😀👩\u200d👩\u200d👧 ـابجد אבג 中文字 "
    "한글 ㈱ ½ ™ \u00a0 ▁ <b>&amp; \u202e ２ Å ſ İ ı ǆ \ud7ff\ue000\U0001f1e9\x85\x1cṩ\u2028\r"
)
WORDS = ["der", "die", "das", "Hund", "Hunde", "rennt", "rennen", "springt", "über", "eine", "grüne", "Wiese", "Wiesen"]
WORDS += ["und", "spielt", "alter", "Mann", "Männer", "sitzen"]
SPLIT = """
const cut = splitter(bytes(given.model));
return given.lines.map((line) => cut(tidy(line)));
"""
MODELS: dict[str, dict[str, Any]] = {
    "as-ours": {"normalization_rule_name": "identity"},
    "nfkc": {},
    "case-folded": {"normalization_rule_name": "nmt_nfkc_cf", "user_defined_symbols": ["Hund", "<b>", "ﬁ", "②☺"]},
    "bpe": {"model_type": "bpe", "user_defined_symbols": ["Hund", "<b>", "ﬁ"]},
    "bpe-across-words": {
        "model_type": "bpe",
        "byte_fallback": True,
        "split_by_whitespace": False,
        "normalization_rule_name": "identity",
        "vocab_size": 320,
    },
    "suffixes": {"treat_whitespace_as_suffix": True, "byte_fallback": True, "vocab_size": 320},
    "loose": {"remove_extra_whitespaces": False, "add_dummy_prefix": False, "split_by_whitespace": False},
}


def lines(count: int) -> list[str]:
    chance = random.Random(5)
    words = [" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(count)]
    strange = ["".join(chance.choices(STRANGE, k=chance.randint(0, 40))) for _ in range(count)]
    mixed = [f"{word} {other}{word[::-1]}" for word, other in zip(words, strange)]
    return ["", " ", "▁", *words, *strange, *mixed, "Hund" * 2000]


def trained(**settings: Any) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines(300)[3:303]),
        model_writer=model,
        **{"vocab_size": 80, "minloglevel": 2, "num_threads": 1, "hard_vocab_limit": False, **settings},
    )
    return model.getvalue()


@needs_node
@pytest.mark.parametrize("name", MODELS)
def test_pieces_are_sentencepieces(name: str) -> None:
    model = trained(**MODELS[name])
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    texts = lines(300)
    found = javascript(SPLIT, {"model": base64_of(model), "lines": texts})
    expected = [processor.encode(tidy(line), out_type=str) for line in texts]
    assert len({piece for line in expected for piece in line}) > 60
    for line, ours, theirs in zip(texts, found, expected):
        assert ours == theirs, line


@needs_node
def test_unused_pieces_are_cut_again() -> None:
    """A piece may be of no use: BPE still merges through it, and then takes it apart; unigram never takes it."""
    model_proto = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    for kind in ("bpe", "unigram"):
        model = model_proto.ModelProto()
        model.ParseFromString(trained(model_type=kind))
        for piece in model.pieces[10:60:3]:
            piece.type = model_proto.ModelProto.SentencePiece.UNUSED
        content = model.SerializeToString()
        processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        texts = lines(50)
        found = javascript(SPLIT, {"model": base64_of(content), "lines": texts})
        assert found == [processor.encode(tidy(line), out_type=str) for line in texts]


@needs_node
def test_white_space_and_hidden_characters_are_pythons() -> None:
    texts = [f"a{chr(code)}b{chr(code)}" for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    texts += ["\ufeffa", "a\ufffe", "", " \t ", "\u200b"]
    assert javascript("return given.map(tidy);", texts) == list(map(tidy, texts))
    assert javascript(r'return [tidy("a\ud83d b"), tidy("\udc00"), tidy("\ud83d\ude00")];') == [
        "a\ufffd b",
        "\ufffd",
        "😀",
    ]


@needs_node
@pytest.mark.parametrize(
    ("subwords", "longest", "parts"),
    [
        ("▁a b ▁c d", 4, ["▁a b ▁c d"]),
        ("▁a b ▁c d", 3, ["▁a b", "▁c d"]),
        ("▁a b ▁c d", 1, ["▁a", "b", "▁c", "d"]),
        ("▁a ▁b c d e", 4, ["▁a ▁b c d", "e"]),  # no word starts in the second half
        ("▁a x ▁b c d", 4, ["▁a x ▁b c", "d"]),
        ("▁a x y ▁b c", 4, ["▁a x y", "▁b c"]),
        ("", 2, []),
    ],
)
def test_a_long_line_is_cut_between_words(subwords: str, longest: int, parts: list[str]) -> None:
    found = javascript("return inParts(...given);", [subwords.split(), longest])
    assert [" ".join(part) for part in found] == parts


@needs_node
def test_joined_as_python_joins() -> None:
    texts = [["▁a", "b", "▁", "▁c"], ["▁", "▁a"], ["x", "▁y▁z"], [], ["▁"], ["<unk>", "▁", "▁a"]]
    assert javascript("return given.map(joined);", texts) == [joined("sentencepiece", " ".join(text)) for text in texts]


@needs_node
def test_the_dictionary_is_fairseqs() -> None:
    """Words may end in numbers, come twice with a flag, or be unknown."""
    words = load_ticket(GOLDEN / "translation-sentencepiece.ticket")
    listed = "▁a 5\n1 1 3\n<b> 2\n▁ 0\n</s> 7 #fairseq:overwrite\nä 1\n".encode()
    known, _ = vocabularies(replace(words, assets={"dict.source": listed}))
    pieces = ["▁a", "1 1", "<b>", "▁", "ä", "</s>", "zz", "<s>"]
    code = """
    const assets = { subwords: bytes(given.model), source: bytes(given.listed) };
    const words = textSide({ tokenizer: "sentencepiece" }, assets);
    return [words.numbers(given.pieces), words.pieces(given.numbers), words.size];
    """
    numbers, model = list(range(len(known))), base64_of(words.assets["subwords"])
    found = javascript(code, {"model": model, "listed": base64_of(listed), "pieces": pieces, "numbers": numbers})
    last = {word: number for number, word in enumerate(known)}  # of words that come twice, the second counts
    assert found == [[*(last.get(piece, 3) for piece in pieces), 2], [known[1], *known[3:]], len(known)]
