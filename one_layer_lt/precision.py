"""bfloat16 on a processor: a gain where it is in hardware, ruin where it is not."""

from __future__ import annotations

import logging
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last on Arm

logger = logging.getLogger(__name__)


def instructions() -> frozenset[str]:
    """The names of this processor's instruction sets, among other words; none where the system does not say."""
    return frozenset(CPUINFO.read_text().split() if CPUINFO.exists() else ())


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware; False where the system does not say."""
    return not _BF16.isdisjoint(instructions())


def bf16_or_warn(option: str) -> bool:
    """Whether to do as ``option`` asks and run in bfloat16 on this processor: emulated, it takes many times as long."""
    if has_fast_bf16():
        return True
    logger.warning("%s: this processor shows no bfloat16 instructions; running in float32", option)
    return False
