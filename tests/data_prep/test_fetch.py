"""Downloads, against a server of our own on this machine."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data_prep.lib.fetch import Remote, fetch
from one_layer_lt.errors import UserError

CONTENT = bytes(range(256)) * 40


@dataclass
class Home:
    """What the server does, and the Range header of each request it got."""

    url: str = ""
    ranges: bool = True
    short: int = 0  # bytes missing from the end of an answer
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def home() -> Iterator[Home]:
    state = Home()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range"))
            if self.path != "/file.gz":
                self.send_error(404)
                return
            start = 0
            if state.ranges and (asked := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))):
                start = int(asked[1])
                if start >= len(CONTENT):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : len(CONTENT) - state.short])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetches_once(home: Home, tmp_path: Path) -> None:
    remote = Remote(f"{home.url}/file.gz", hashlib.sha256(CONTENT).hexdigest())
    assert fetch(remote, tmp_path / "deep").read_bytes() == CONTENT
    fetch(remote, tmp_path / "deep")
    assert home.asked == [None]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.gz"]


@pytest.mark.parametrize("have", [1, 5000, len(CONTENT)])
def test_resumes_where_it_ended(home: Home, tmp_path: Path, have: int) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:have])
    assert fetch(Remote(f"{home.url}/file.gz"), tmp_path).read_bytes() == CONTENT
    assert home.asked == [f"bytes={have}-"]


def test_starts_over_where_the_server_knows_no_ranges(home: Home, tmp_path: Path) -> None:
    home.ranges = False
    (tmp_path / "file.gz.part").write_bytes(b"x" * 5000)
    assert fetch(Remote(f"{home.url}/file.gz"), tmp_path).read_bytes() == CONTENT


def test_starts_over_where_the_part_is_longer_than_the_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(b"x" * (len(CONTENT) + 1))
    assert fetch(Remote(f"{home.url}/file.gz"), tmp_path).read_bytes() == CONTENT


def test_a_broken_connection_keeps_the_part(home: Home, tmp_path: Path) -> None:
    home.short = 240
    with pytest.raises(UserError, match="run the command again to resume"):
        fetch(Remote(f"{home.url}/file.gz"), tmp_path)
    assert not (tmp_path / "file.gz").exists()
    assert (tmp_path / "file.gz.part").read_bytes() == CONTENT[:-240]
    home.short = 0
    assert fetch(Remote(f"{home.url}/file.gz"), tmp_path).read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"file\.gz: the checksum"):
        fetch(Remote(f"{home.url}/file.gz", "0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum_of_a_file_already_here_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"mine")
    with pytest.raises(UserError, match="delete it and run the command again"):
        fetch(Remote("http://127.0.0.1:9/file.gz", "0" * 64), tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == b"mine"


def test_missing_at_home(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/other\.gz: the server answers 404 .* --from"):
        fetch(Remote(f"{home.url}/other.gz"), tmp_path)


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/file\.gz: .*--from"):
        fetch(Remote("http://127.0.0.1:9/file.gz"), tmp_path)
