"""Helpers that hold assertions say what failed, as tests do. Commands are forked: no Python starts anew for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.support")


@pytest.fixture(scope="session", autouse=True)
def _forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from tests.support.forked import commands

    with commands(tmp_path_factory.mktemp("forked")):
        yield
