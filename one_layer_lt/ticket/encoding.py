"""A ticket's contents as the bytes of a safetensors file, and back. The format: docs/ticket-format.md."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..config import MaskConfig
from ..files import whole
from ..rules import RULES
from ..sharing import MASK_TOO
from ..weights import EXISTING, INITS, MOST_DRAWS, SharedWeight
from .bound import check_asked
from .card import checked
from .parts import Contents, Mask, TicketError, WeightSpec, refusing
from .planes import Bits, clean_padding, compress, count_ones, expand, packed_size

FORMAT = "one_layer_lt.ticket"
VERSION = 1
_KEY = "ticket"  # the one entry of the metadata
_NO_DIGEST = "0" * 64
_MOST_NESTING = 100
_LONGEST_NAME = 1000  # characters
_MOST_SCALE = 1e20  # products of scales, masks and weights then stay finite in float32
_DENSE_TYPES = {"F32", "F16", "BF16"}
_LATER = {"options", "rescale", "drop", "lock", "tiles"}  # fields of MaskConfig that older tickets do not have


def write(contents: Contents, path: Path) -> None:
    """Write the ticket, whole or not at all. Raises ``TicketError`` where it could not be read again."""
    with whole(path) as part:
        part.write_bytes(to_bytes(contents))
        with _of_file(path):
            _read(part)


def to_bytes(contents: Contents) -> bytes:
    """The file: the same contents give the same bytes (on the same zlib, where masks compress)."""
    weights = {spec: number for number, spec in enumerate(contents.weights)}
    configs: dict[MaskConfig, int] = {}
    for mask in contents.masks:
        configs.setdefault(mask.config, len(configs))
    tensors = {f"dense.{name}": tensor.contiguous() for name, tensor in contents.dense.items()}
    tensors |= {f"weight.{weights[spec]}": weight for spec, weight in contents.existing.items()}
    planes: list[dict[str, Any]] = []
    assets, redraws = {}, {}
    for packed in streams(contents.masks):
        coding, tensors[f"planes.{len(planes)}"] = _stored(packed)
        planes.append(coding)
    for spec, numbers in contents.redraws.items():
        index = str(weights[spec])
        redraws[index], tensors[f"redraws.{index}"] = _stored(_to_bytes(numbers))
    for name, asset in contents.assets.items():
        assets[name], tensors[f"asset.{name}"] = _stored(asset, huffman_only=False)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "digest": _NO_DIGEST,
        "architecture": contents.architecture,
        "configs": [_without_defaults(config, MaskConfig, _LATER) for config in configs],
        "weights": [{**_without_defaults(spec, WeightSpec, {"period"}), "shape": list(spec.shape)} for spec in weights],
        "masks": [
            {
                "name": mask.name,
                "weight": weights[mask.weight],
                "config": configs[mask.config],
                **({"also": list(mask.also)} if mask.also else {}),
                **({} if mask.scale is None else {"scale": mask.scale}),
            }
            for mask in contents.masks
        ],
        "planes": planes,
        **({"redraws": redraws} if redraws else {}),
        "assets": assets,
        **({"card": contents.card} if contents.card else {}),
    }
    raw = save(tensors, {_KEY: json.dumps(about, separators=(",", ":"), ensure_ascii=True, allow_nan=False)})
    return raw.replace(_NO_DIGEST.encode(), hashlib.sha256(raw).hexdigest().encode(), 1)


def read(path: Path) -> Contents:
    """Read a ticket and check all that can be checked without its random weights. Nothing in it is run.

    Raises ``TicketError`` for any flaw, and ``OSError`` where the file cannot be read at all.
    """
    with _of_file(path):
        return _read(path, " (get the ticket again, or a newer one_layer_lt)")


def _read(path: Path, mend: str = "") -> Contents:
    """mend: what to do about a whole file that says of itself what cannot be."""
    try:
        with _opened(path) as file:
            about = _about(path, file)
            try:
                with refusing():
                    return _contents(file, about, path.stat().st_size)
            except TicketError as error:
                raise TicketError(f"{error}{mend}") from None
    except SafetensorError as error:
        raise TicketError(f"no ticket, or only a part of one: not a whole safetensors file ({error})") from None


@contextmanager
def _of_file(path: Path) -> Iterator[None]:
    """Name the file in what is raised."""
    try:
        yield
    except TicketError as error:
        raise TicketError(f"{path}: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with open(path, "rb"):  # so that a missing file is the usual error
        pass
    with safe_open(path, framework="pt") as file:
        yield file


def _about(path: Path, file: Any) -> dict[str, Any]:
    """The metadata, once the digest has shown that the file is as it was written."""
    metadata = file.metadata()
    if not metadata or set(metadata) != {_KEY}:
        raise TicketError("a safetensors file, but no ticket: name one that export or save_ticket wrote")
    try:
        about = json.loads(metadata[_KEY])
        _check_json(about)
    except (ValueError, RecursionError) as error:
        raise TicketError(f"damaged: its metadata is no JSON ({error}): get it again") from None
    known = {"format", "version", "digest", "architecture", "configs", "weights", "masks", "planes", "assets"}
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise TicketError("a safetensors file, but no ticket: name one that export or save_ticket wrote")
    if about.get("version") != VERSION or type(about["version"]) is not int:
        raise TicketError(
            f"format version {about.get('version')!r:.20}, and this one_layer_lt reads version {VERSION}: get another"
        )
    if set(about) - {"redraws", "card"} != known:
        raise TicketError(
            f"its metadata must have just {', '.join(sorted(known))}: get it again, or a newer one_layer_lt"
        )
    digest = _text(about["digest"], "digest")
    if len(digest) != 64 or digest != _digest(path, digest.encode()):
        raise TicketError("damaged: its bytes do not have the digest that it names: get it again")
    return about


def _check_json(value: Any, depth: int = 0) -> None:
    """Raises ``ValueError`` for text that is not Unicode, numbers that are not finite, and too deep nesting."""
    if depth > _MOST_NESTING:
        raise ValueError(f"nested more than {_MOST_NESTING} deep")
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"it holds {value}")
    elif isinstance(value, (list, dict)):
        for part in value if isinstance(value, list) else [*value, *value.values()]:
            _check_json(part, depth + 1)


def _digest(path: Path, claimed: bytes) -> str | None:
    """SHA-256 of the file with its own digest's characters as zeros."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(claimed)
        if at < 0:
            return None
        with memoryview(data) as view:
            digest = hashlib.sha256(view[:at])
            digest.update(_NO_DIGEST.encode())
            digest.update(view[at + len(claimed) :])
    return digest.hexdigest()


def _contents(file: Any, about: Mapping[str, Any], size: int) -> Contents:
    configs = [_config(entry) for entry in _list(about["configs"], "configs")]
    weights = [_weight(entry) for entry in _list(about["weights"], "weights")]
    assets = _mapping(about["assets"], "assets")
    codings = _list(about["planes"], "planes")
    redraws = _mapping(about.get("redraws", {}), "redraws")
    expected = {f"asset.{name}" for name in assets} | {f"planes.{number}" for number in range(len(codings))}
    expected |= {f"redraws.{number}" for number in redraws}
    expected |= {f"weight.{number}" for number, spec in enumerate(weights) if spec.init == EXISTING}
    blank = [_blank(entry, weights, configs) for entry in _list(about["masks"], "masks")]
    names = set(file.keys())
    for name in sorted(expected - names):
        raise TicketError(f"lacks the tensor {name}")
    dense = sorted(names - expected)
    for name in dense:
        if not name.startswith("dense.") or file.get_slice(name).get_dtype() not in _DENSE_TYPES:
            raise TicketError(f"holds the tensor {name:.100}, which belongs to no ticket")
        _name(name, "a tensor's name")

    existing = {}
    for number, spec in enumerate(weights):
        if spec.init == EXISTING:
            existing[spec] = _existing(file, f"weight.{number}", spec)
    drawn_again = {}
    numbered = {str(number): spec for number, spec in enumerate(weights)}
    for index, coding in redraws.items():
        if index not in numbered or numbered[index].init == EXISTING:
            raise TicketError(f"lists draws of the random weight {index!r:.20}, which there is none of")
        drawn = numbered[index]
        drawn_again[drawn] = _redraws(_expanded(file, f"redraws.{index}", coding, drawn.size), drawn)
    check_asked(blank, drawn_again, size)
    return Contents(
        masks=_masks(file, blank, weights, codings),
        redraws=drawn_again,
        architecture=_mapping(about["architecture"], "architecture"),
        dense={name[len("dense.") :]: _finite(file, name) for name in dense},
        existing=existing,
        assets={name: _expanded(file, f"asset.{name}", coding) for name, coding in assets.items()},
        card=checked(about["card"]) if "card" in about else {},
    )


def _masks(file: Any, blank: Sequence[Mask], weights: Sequence[WeightSpec], codings: Sequence[Any]) -> tuple[Mask, ...]:
    names = [name for mask in blank for name in (mask.name, *mask.also)]
    if not blank or len(set(names)) < len(names):
        raise TicketError("must have masks, each of another module")
    if set(weights) != {mask.weight for mask in blank} or len(set(weights)) < len(weights):
        raise TicketError("lists a random weight twice, or one that no mask uses")
    made = sum(planes_of(group[0].config) for group in groups(blank))
    if len(codings) != made:
        raise TicketError(f"has {len(codings)} tensors of planes, but its masks make {made}")
    filled: dict[str, Mask] = {}
    number = 0
    for group in groups(blank):
        lengths: list[Any] = [None] * len(group)  # of the next plane; of the first one not known yet
        found: list[list[Bits]] = [[] for _ in group]
        for plane in range(planes_of(group[0].config)):
            name = f"planes.{number}"
            if plane == 0:
                lengths = [mask.size for mask in group]
            size = sum(map(packed_size, lengths))
            if _size(codings[number], name) != size:
                raise TicketError(f"{name} is of {codings[number]['size']} bytes, but its masks take {size:,}")
            packed: Bits = np.frombuffer(_expanded(file, name, codings[number]), np.uint8)
            for at, (mask, length) in enumerate(zip(group, lengths)):
                part, packed = packed[: packed_size(length)], packed[packed_size(length) :]
                if not clean_padding(part, length):
                    raise TicketError(f"the mask of {mask.name} has bits after its end")
                found[at].append(part)
                lengths[at] = count_ones(part)
            number += 1
        for mask, planes in zip(group, found):
            filled[mask.name] = _checked(replace(mask, planes=tuple(planes)))
    return tuple(filled[mask.name] for mask in blank)


def _blank(entry: Any, weights: Sequence[WeightSpec], configs: Sequence[MaskConfig]) -> Mask:
    """A mask as the metadata describes it, without its planes."""
    entry = _mapping(entry, "a mask", {"name", "weight", "config"}, {"also", "scale"})
    spec, config = _pick(weights, entry["weight"], "weight"), _pick(configs, entry["config"], "config")
    name, scale = _name(entry["name"], "a mask's name"), entry.get("scale")
    also = tuple(_name(other, "a mask's name") for other in _list(entry.get("also", []), "a mask's other names"))
    if also and config.share != MASK_TOO:
        raise TicketError(f"the mask of {name} is of other modules too, though share is {config.share}")
    if (scale is not None) != RULES[config.rule].has_scale():
        raise TicketError(
            f"the mask of {name} has the scale {scale!r:.20}, which its rule {config.rule} does not go with"
        )
    if scale is not None and not (type(scale) is float and 0 <= scale <= _MOST_SCALE):
        raise TicketError(f"the mask of {name} cannot have the scale {scale!r:.20}")
    return Mask(name, spec, config, (), also, scale)


def _checked(mask: Mask) -> Mask:
    promised, kept = mask.rule.kept(mask.size), mask.kept
    if promised is not None and kept != promised:
        raise TicketError(f"the mask of {mask.name} keeps {kept:,} of {mask.size:,} weights, not {promised:,}")
    return mask


def planes_of(config: MaskConfig) -> int:
    """How many planes the masks of a configuration have."""
    return config.new_rule().planes


def streams(masks: Sequence[Mask]) -> Iterator[bytes]:
    """What is stored as one tensor each: of all masks of a group the first planes, then the second, and so on."""
    for group in groups(masks):
        for plane in range(planes_of(group[0].config)):
            yield b"".join(mask.planes[plane].tobytes() for mask in group)


def groups(masks: Sequence[Mask]) -> Iterator[list[Mask]]:
    """Masks of one rule, with its keep ratio and options: alike in statistics, they are stored as one."""
    found: dict[tuple[object, ...], list[Mask]] = {}
    for mask in masks:
        found.setdefault((mask.config.rule, mask.config.keep, mask.config.options), []).append(mask)
    return iter(found.values())


def _stored(data: bytes, huffman_only: bool = True) -> tuple[dict[str, Any], Tensor]:
    coding, stored = compress(data, huffman_only=huffman_only)
    return {"coding": coding, "size": len(data)}, torch.from_numpy(np.frombuffer(stored, np.uint8).copy())


def _size(coding: Any, name: str) -> int:
    size = _mapping(coding, f"the coding of {name}", {"coding", "size"})["size"]
    if type(size) is not int or size < 0:
        raise TicketError(f"{name} has the size {size!r:.60}, which is none")
    return size


def _without_defaults(value: Any, kind: Any, later: Collection[str]) -> dict[str, Any]:
    """The fields of a dataclass, but for those that came ``later`` and hold their defaults."""
    plain = {
        field.name for field in fields(kind) if field.name in later and getattr(value, field.name) == field.default
    }
    return {name: part for name, part in asdict(value).items() if name not in plain}


def _to_bytes(numbers: Tensor) -> bytes:
    """Numbers of draws: the low byte of each, then, unless all are zero, the high bytes."""
    words = numbers.flatten().numpy().astype(np.uint16)
    high = (words >> 8).astype(np.uint8)
    return (words & 0xFF).astype(np.uint8).tobytes() + (high.tobytes() if high.any() else b"")


def _redraws(raw: bytes, spec: WeightSpec) -> Tensor:
    parts = np.frombuffer(raw, np.uint8).reshape(-1, spec.size).astype(np.int16)
    numbers = torch.from_numpy(parts[0] | (parts[1] << 8) if len(parts) > 1 else parts[0]).view(spec.shape)
    if bool((numbers < 0).any()):
        raise TicketError(f"{spec.name} has draws of more than {MOST_DRAWS}")
    return numbers


def _expanded(file: Any, name: str, coding: Any, expected: int | None = None) -> bytes:
    """The bytes; ``expected``: how many they must be, or twice as many."""
    size = _size(coding, name)
    if expected is not None and size not in (expected, 2 * expected):
        raise TicketError(f"{name} is of {size:,} bytes, and should be of {expected:,} or twice as many")
    part = file.get_slice(name)
    if part.get_dtype() != "U8" or len(part.get_shape()) != 1:
        raise TicketError(f"{name} must be a row of bytes")
    try:
        return expand(file.get_tensor(name).numpy().tobytes(), _text(coding["coding"], "a coding"), size)
    except ValueError as error:
        raise TicketError(f"{name} {error}") from None


def _existing(file: Any, name: str, spec: WeightSpec) -> Tensor:
    part = file.get_slice(name)
    if part.get_dtype() != "F32" or tuple(part.get_shape()) != spec.shape:
        raise TicketError(f"{name} must be float32 of shape {list(spec.shape)}")
    weight = _finite(file, name)
    if SharedWeight.of(weight, name=spec.name).digest() != spec.digest:
        raise TicketError(f"{name} does not have the digest of {spec.name}")
    return weight


def _finite(file: Any, name: str) -> Tensor:
    tensor: Tensor = file.get_tensor(name)
    if not bool(tensor.isfinite().all()):
        raise TicketError(f"{name} holds numbers that are not finite")
    return tensor


def _config(entry: Any) -> MaskConfig:
    known = {field.name for field in fields(MaskConfig)}
    entry = _mapping(entry, "a config")
    if not set(entry) <= known:
        raise TicketError(f"a config has {', '.join(sorted(set(entry) - known)):.60}, which this version does not know")
    if isinstance(entry.get("tiles"), list):
        entry = {**entry, "tiles": tuple(entry["tiles"])}
    return MaskConfig(**entry)


def _weight(entry: Any) -> WeightSpec:
    names = {field.name for field in fields(WeightSpec)} - {"period"}
    entry = _mapping(entry, "a random weight", names, {"period"})
    shape, scale, seed = _list(entry["shape"], "a shape"), entry["scale"], entry["seed"]
    if not 2 <= len(shape) <= 8 or any(type(size) is not int or not 0 < size < 2**31 for size in shape):
        raise TicketError(f"{shape!r:.60} is not a weight's shape")
    if type(seed) is not int or type(scale) is not float or not 0 < scale <= _MOST_SCALE:
        raise TicketError(f"a random weight cannot have the seed {seed!r:.60} and the scale {scale!r:.60}")
    if entry["init"] not in [*INITS, EXISTING]:
        raise TicketError(f"unknown init {entry['init']!r:.60}; known are {', '.join(INITS)}")
    name, digest = _name(entry["name"], "a random weight's name"), _text(entry["digest"], "a digest")
    period = entry.get("period", 0)
    if type(period) is not int or not 0 <= period < 2**31:
        raise TicketError(f"the random weight {name} cannot have the period {period!r:.20}")
    return WeightSpec(name, tuple(shape), entry["init"], seed, scale, digest, period)


def _pick(choices: Sequence[Any], index: Any, what: str) -> Any:
    if type(index) is not int or not 0 <= index < len(choices):
        raise TicketError(f"a mask names {what} {index!r:.60}, and there are {len(choices)}")
    return choices[index]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TicketError(f"{what} must be a string, not {value!r:.60}")
    return value


def _name(value: Any, what: str) -> str:
    """Names are shown on terminals."""
    if not _text(value, what).isprintable() or len(value) > _LONGEST_NAME:
        raise TicketError(f"{what} must be at most {_LONGEST_NAME:,} characters that can be printed, not {value!r:.60}")
    return str(value)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TicketError(f"{what} must be a list, not {value!r:.60}")
    return value


def _mapping(value: Any, what: str, keys: set[str] | None = None, optional: Collection[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict) or (keys is not None and set(value) - set(optional) != keys):
        detail = f" of {', '.join(sorted(keys))}" if keys else ""
        raise TicketError(f"{what} must be an object{detail}, not {value!r:.60}")
    return value
