"""Downloads that show progress, resume, and appear under their name only when whole."""

from __future__ import annotations

import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256
from one_layer_lt.lock import locked
from one_layer_lt.progress import progress

log = logging.getLogger(__name__)

TIMEOUT = 60  # seconds without a byte
BLOCK = 1 << 18


@dataclass(frozen=True)
class Remote:
    """A file at its public home; `sha256` only where the home's file is known to be stable."""

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def fetch(remote: Remote, folder: Path) -> Path:
    """Download into the folder unless it is there already; what an interrupted run got is taken up where it ended."""
    with locked(folder, f"another run is downloading to {folder}: wait for it"):
        return _fetched(remote, folder)


def _fetched(remote: Remote, folder: Path) -> Path:
    path = folder / remote.name
    if not path.exists():
        part = path.with_name(path.name + ".part")
        log.info("fetching %s", remote.url)
        try:
            _download(remote.url, part)
        except urllib.error.HTTPError as error:
            raise UserError(f"{remote.url}: the server answers {error.code} {error.reason}: {_MEND}") from error
        except urllib.error.URLError as error:
            raise UserError(f"{remote.url}: {error.reason}: {_MEND}") from error
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            raise UserError(f"{remote.url}: the connection broke ({error}): run the command again to resume") from error
        if remote.sha256 and sha256(part) != remote.sha256:
            part.unlink()
            raise UserError(f"{remote.url}: the checksum of what arrived is wrong: run the same command again")
        os.replace(part, path)
    elif remote.sha256 and sha256(path) != remote.sha256:
        raise UserError(f"{path} is not the file at {remote.url} (wrong checksum): delete it and run the command again")
    return path


_MEND = "try again later, or give a local copy with --from"


def _download(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "one_layer_lt", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") != f"bytes */{have}":  # the file at home is another one now
            part.unlink()
            _download(url, part)
        return  # the part is the whole file
    with response:
        if have and not _resumes(response, have):
            have = 0  # the server sends the file from its start
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file, progress(part.stem, total, "B", have) as bar:
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    size = part.stat().st_size
    if total is not None and size != total:
        raise ConnectionError(f"{size:,} of {total:,} bytes arrived")


def _resumes(response: http.client.HTTPResponse, have: int) -> bool:
    begins = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status == 206 and begins is not None and int(begins[1]) == have
