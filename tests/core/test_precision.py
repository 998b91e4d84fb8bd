"""bfloat16 where the processor has it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from one_layer_lt import precision


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says of the processor: a file that is not there yet."""
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16"])
def test_with_instructions(processor: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    processor.write_text(f"flags : fpu {name} sse\n")
    assert precision.instructions() == {"flags", ":", "fpu", name, "sse"}
    assert precision.has_fast_bf16() is True
    assert precision.bf16_or_warn("--bf16") is True
    assert not caplog.records


@pytest.mark.parametrize("said", ["flags : fpu avx512f amx_tile bf16x\n", "", None])
def test_without(processor: Path, caplog: pytest.LogCaptureFixture, said: str | None) -> None:
    if said is not None:
        processor.write_text(said)
    assert precision.has_fast_bf16() is False
    with caplog.at_level(logging.WARNING):
        assert precision.bf16_or_warn("--half") is False
    assert [record.getMessage() for record in caplog.records] == [
        "--half: this processor shows no bfloat16 instructions; running in float32"
    ]


def test_the_system_is_asked() -> None:
    assert str(precision.CPUINFO) == "/proc/cpuinfo"
