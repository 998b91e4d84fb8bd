"""How BLEU finds the words of a language: sacrebleu's tokenizer, by the language's code."""

from __future__ import annotations

import re

# ISO 639-1 and 639-3 codes of languages, and ISO 15924 codes of scripts, which decide where a language has one.
# `char` is for words without spaces between them that no tokenizer finds: sacrebleu's `flores200` has to be downloaded.
_CODES = {
    "zh": "zh zho chi cmn yue wuu hak nan gan hsn cjy cdo cpx czh czo mnp lzh cn hans hant hani",
    "ja-mecab": "ja jpn jp jpan",
    "ko-mecab": "ko kor kore hang",
    "char": "th tha nod tts sou lo lao km khm my mya bur rki mnw shn bo bod tib adx khg dz dzo khb tdd ryu "
    "thai laoo khmr mymr tibt tale talu lana java bali hira kana hrkt",
    "13a": "latn cyrl",
}
_TOKENIZERS = {code: tokenizer for tokenizer, codes in _CODES.items() for code in codes.split()}


def tokenizer_of(language: str) -> str:
    """sacrebleu's name of the tokenizer for a language such as `th`, `zh_CN` or `zho_Hans`; `13a` for most."""
    name, *rest = re.split("[^a-z0-9]+", language.lower())
    scripts = (part for part in rest if len(part) == 4)
    return next((_TOKENIZERS[code] for code in (*scripts, name) if code in _TOKENIZERS), "13a")
