"""Helpers that hold assertions say what failed, as tests do."""

import pytest

pytest.register_assert_rewrite("tests.support")
