"""The page's own JavaScript run by node, without a browser; and which tests need what."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from one_layer_lt.web import runtime
from scripts.browser import CHROMIUM

PLAYWRIGHT = find_spec("playwright")
NODE = shutil.which("node") or (PLAYWRIGHT and str(Path(str(PLAYWRIGHT.origin)).parent / "driver" / "node"))  # its own
needs_node = pytest.mark.skipif(not NODE, reason="needs node, which Playwright has: pip install playwright")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or PLAYWRIGHT is None,
    reason="needs Chromium and Playwright: apt-get install chromium; pip install playwright",
)
GOLDEN = Path(__file__).parents[1] / "golden" / "tickets"

_HELP = """
const bytes = (base64) => new Uint8Array(Buffer.from(base64, "base64"));
const never = async () => {};
"""


def javascript(code: str, given: Any = None) -> Any:
    """What ``code`` (the body of an async function of ``given``) returns, after the runtime's modules; all of it JSON.

    Raises ``AssertionError`` with node's complaint where it throws.
    """
    assert NODE
    source = (
        f"const answer = async (given) => {{{code}}};\nconsole.log(JSON.stringify(await answer({json.dumps(given)})));"
    )
    done = subprocess.run(
        [NODE, "--input-type=module"], input=runtime() + _HELP + source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()
