"""bfloat16 on a processor: a gain where it is in hardware, ruin where it is not."""

from __future__ import annotations

import logging
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last on Arm

logger = logging.getLogger(__name__)


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    return CPUINFO.exists() and not _INSTRUCTIONS.isdisjoint(CPUINFO.read_text().split())


def bf16_or_warn(asked: bool) -> bool:
    """Whether to run in bfloat16: if asked to and in hardware; emulated, a step takes many times as long."""
    if asked and not has_fast_bf16():
        logger.warning("--cpu-bf16: this processor shows no bfloat16 instructions; running in float32")
        return False
    return asked


def cpu_flags() -> list[str]:
    """fairseq-train's flags for the fastest training on this processor."""
    return ["--cpu", "--cpu-bf16"] if has_fast_bf16() else ["--cpu"]
