"""Raw parallel text into one self-contained fairseq data folder.

    prepare(corpus="mine", source="de", target="en", raw={"train": (de, en), "valid": ..., "test": ...},
            out=Path("data-bin/mine.de-en"), subword=Subword("sentencepiece", 8000))

The folder holds fairseq's files, the subword model (`spm.model` or `codes`), `raw/` and, where the text is tokenised,
`tok/` with the references, and `data.json`. All work happens in `<out>.work` beside it, which is renamed when whole.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

from one_layer_lt.errors import UserError
from one_layer_lt.files import naming, sha256
from one_layer_lt.lock import locked
from one_layer_lt.text import moses, subwords
from one_layer_lt.text.lines import Pair, read_lines, read_pairs, select, tidy, write_pairs
from one_layer_lt.text.manifest import FILE, SPLITS, Manifest, Settings, checksums
from one_layer_lt.text.subwords import Subword

from .binarize import binarize

log = logging.getLogger(__name__)

PACKAGES = ("fairseq", "ve-fairseq", "sentencepiece", "subword-nmt", "mosestokenizer")


def prepare(
    *,
    corpus: str,
    source: str,
    target: str,
    raw: Mapping[str, Pair],
    out: Path,
    subword: Subword,
    joined_dictionary: bool = True,
) -> None:
    """Turn raw text (plain or gzip, one sentence a line) into the data folder `out`.

    Training pairs with an empty side are dropped. Does nothing if `out` holds this very data already.
    """
    settings = make_settings(corpus, source, target, subword, joined_dictionary)
    if set(raw) != set(SPLITS):
        raise UserError(f"raw must name {', '.join(SPLITS)}, not {', '.join(raw)}")
    check_out(out, settings)
    with workplace(out) as work:
        texts = {split: pair_of(work / "raw", split, settings) for split in SPLITS}
        for split in SPLITS:
            write_pairs(_tidied(raw[split], split), texts[split], f"reading {split}")
        check_text(settings, texts)
        if is_done(out, settings, sha256(*(path for split in SPLITS for path in texts[split]))):
            return
        tokens = {split: pair_of(work / "tok", split, settings) for split in SPLITS}
        for split in SPLITS:
            for language, before, after in zip(settings.languages, texts[split], tokens[split]):
                _tokenize(subword, language, before, after)
        build(settings, texts, tokens, work, out)


def make_settings(corpus: str, source: str, target: str, subword: Subword, joined_dictionary: bool = True) -> Settings:
    """The checked settings of a data folder."""
    for flag, language in (("--source", source), ("--target", target)):
        if not re.fullmatch(r"[A-Za-z0-9_]+", language):
            raise UserError(f"{flag} {language!r}: only letters, digits and _, as fairseq joins the two with '-'")
    if source == target:
        raise UserError(f"--source and --target are both {source!r}: they must differ")
    return Settings(
        corpus=corpus,
        source=source,
        target=target,
        tokenizer=subword.kind,
        size=subword.size,
        lowercase=subword.lowercase,
        aggressive=subword.aggressive,
        joined_dictionary=joined_dictionary,
        samples=subword.samples,
        alpha=subword.alpha,
    )


def pair_of(folder: Path, split: str, settings: Settings) -> Pair:
    """`folder/split.source` and `folder/split.target`."""
    return folder / f"{split}.{settings.source}", folder / f"{split}.{settings.target}"


def check_out(out: Path, settings: Settings) -> Manifest | None:
    """The manifest of `out`, or None where there is nothing yet; anything else in its place is an error."""
    if not out.exists():
        return None
    mend = "choose another --out, or delete it first"
    if not out.is_dir():
        raise UserError(f"--out {out} is a file: {mend}")
    if not any(out.iterdir()):
        return None
    if not (out / FILE).is_file():
        raise UserError(f"--out {out} exists and holds something else than prepared data (no {FILE}): {mend}")
    manifest = Manifest.read(out)
    for name, value in vars(settings).items():
        there = getattr(manifest.settings, name)
        if there != value:
            raise UserError(f"--out {out} holds data made with {name} {there!r}, not {value!r}: {mend}")
    return manifest


def is_done(out: Path, settings: Settings, text: str | None = None) -> bool:
    """Whether `out` holds this data; `text`, if given, is the digest of the raw text it must have been made from."""
    manifest = check_out(out, settings)
    if manifest is None:
        return False
    if text is not None and manifest.text != text:
        raise UserError(f"--out {out} holds data made from other text: choose another --out, or delete it first")
    manifest.verify(out)
    log.info("%s is up to date", out)
    return True


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """An empty folder `<out>.work`, ours alone, gone afterwards. What an interrupted run left there is cleared."""
    work = out.with_name(out.name + ".work")
    taken = f"another run is preparing {out}: wait for it, or choose another --out"
    with naming(out, work.name), locked(work, taken):
        for left in work.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def build(
    settings: Settings,
    raw: Mapping[str, Pair],
    tokens: Mapping[str, Pair],
    work: Path,
    out: Path,
    longest: int | None = None,
    ratio: float = 1.5,
) -> None:
    """Learn subwords from `tokens["train"]`, encode, binarise, and put the finished folder in place.

    `raw` needs only valid and test: the references, in the order of the tokens. With `longest`, training pairs of more
    units than that a side, or unlike in length by more than `ratio`, are dropped once encoded.
    """
    subword = Subword(settings.tokenizer, settings.size, settings.lowercase, settings.aggressive)
    data = work / "data"
    data.mkdir()
    model = data / settings.model
    check_text(settings, tokens)
    log.info("learning %d %s units", settings.size, settings.tokenizer)
    subwords.learn(subword, tokens["train"], model)
    encoded = {split: pair_of(work / "encoded", split, settings) for split in SPLITS}
    (work / "encoded").mkdir()
    for split in SPLITS:
        log.info("encoding %s", split)
        for before, after in zip(tokens[split], encoded[split]):
            subwords.encode(subword, model, before, after)
    if longest is not None:
        whole = pair_of(work / "encoded", "whole", settings)
        for path, renamed in zip(encoded["train"], whole):
            path.rename(renamed)
        kept = moses.clean(read_pairs(whole), 1, longest, ratio)
        write_pairs(select(read_pairs(whole), kept), encoded["train"], "cleaning")
    pairs = {split: sum(1 for _ in read_pairs(encoded[split])) for split in SPLITS}
    log.info("binarising %s", ", ".join(f"{count:,} {split}" for split, count in pairs.items()))
    binarize(work / "encoded", settings.source, settings.target, data, settings.joined_dictionary)
    if settings.samples > 1:
        from .binary import add_samples  # brings fairseq along, which takes seconds to import

        log.info("sampling %d more segmentations", settings.samples - 1)
        add_samples(data, settings)
        pairs["train"] *= settings.samples
    references = {"raw": raw} if settings.tokenizer == "sentencepiece" else {"raw": raw, "tok": tokens}
    for folder, texts in references.items():
        for split in SPLITS[1:]:
            for path, place in zip(texts[split], pair_of(data / folder, split, settings)):
                place.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, place)
    text = sha256(*(path for split in SPLITS for path in raw.get(split, tokens[split])))
    Manifest(settings, text, pairs, checksums(data), _versions()).write(data)
    os.replace(data, out)  # `out` is absent or an empty folder, and becomes whole at once
    log.info("prepared %s", out)


def check_text(settings: Settings, texts: Mapping[str, Pair]) -> None:
    """Raises ``UserError`` where a split has no pairs, or a side of it no text."""
    for split in SPLITS:
        for language, path in zip(settings.languages, texts[split]):
            if not any(line.strip() for line in read_lines(path)):
                lines = f"{split}.{language} has empty lines only"
                none = lines if path.stat().st_size else f"no {split} pairs are left"
                raise UserError(f"{settings.corpus}: {none}: is the text empty?")


def _tidied(files: Pair, split: str) -> Iterator[tuple[str, str]]:
    empty = 0
    for pair in read_pairs(files):
        left, right = map(tidy, pair)
        if split == "train" and not (left and right):
            empty += 1
        else:
            yield left, right
    if empty:
        log.warning("dropped %d training pairs with an empty side", empty)


def _tokenize(subword: Subword, language: str, before: Path, after: Path) -> None:
    after.parent.mkdir(exist_ok=True)
    if subword.kind == "moses-bpe":
        log.info("tokenising %s", before.name)
        moses.tokenize(before, after, language, subword.lowercase, subword.aggressive)
    elif subword.lowercase:
        with after.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(line.lower() + "\n" for line in read_lines(before))
    else:
        os.link(before, after)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):  # of the two names of fairseq only one is installed
            found[package] = metadata.version(package)
    return found
