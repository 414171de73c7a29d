"""SHA-256 of image files, with a memo so that an unchanged file is not read again.

The memo is one text file, one line an image, only ever appended to. Every line carries its own checksum: a line torn
by a kill, or mixed up by two writers, does not match and is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ssl_mask.data.images import open_regular
from ssl_mask.errors import ImageError

# ctime stands beside mtime because tools such as rsync and unzip set mtime back, and nobody can set ctime.
State = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode

_MEMO_NAME = "digests-v1.txt"
_RACY_NS = 2_000_000_000  # a file changed within a clock tick of being read may change again unseen (git's "racy")
_FILES_PER_APPEND = 4096  # what a kill can lose


def digest_file(path: Path) -> str:
    """SHA-256 of the file's bytes as 64 hex digits. Raises ImageError as `digest_files` does."""
    return _read(path)[0]


def digest_files(paths: Sequence[Path], memo: Path | None, *, threads: int = 4) -> list[str]:
    """SHA-256 of each file's bytes as 64 hex digits, in order; `memo` is a folder, or None to read every file.

    Raises ImageError naming the first file that is missing, unreadable or not a regular file.
    """
    known = _load(memo / _MEMO_NAME) if memo else {}
    digests: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), _FILES_PER_APPEND):
            part = paths[start : start + _FILES_PER_APPEND]
            try:
                results = list(pool.map(lambda path: _recall(path, known), part))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            digests += [digest for digest, _ in results]
            if memo:
                _append(memo / _MEMO_NAME, [line for _, line in results if line])
    return digests


def _recall(path: Path, known: dict[str, tuple[State, str]]) -> tuple[str, str]:
    """The digest, and the line to memoise: empty when it is known already or not safe to remember."""
    name = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links and costs ten times as much
    with contextlib.suppress(OSError, ValueError):
        if name in known and known[name][0] == _state(path.stat()):
            return known[name][1], ""
    started = time.time_ns()
    digest, state = _read(path)
    is_safe = state is not None and max(state[1], state[2]) < started - _RACY_NS
    return digest, _line(name, state, digest) if state is not None and is_safe else ""


def _read(path: Path) -> tuple[str, State | None]:
    """Digest and state of a file; the state is None when the file changed while it was read."""
    with open_regular(path) as file:
        try:
            before = _state(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = _state(os.fstat(file.fileno()))
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return digest, after if before == after else None


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _line(name: str, state: State, digest: str) -> str:
    body = json.dumps([name, *state, digest])
    return f"{zlib.crc32(body.encode()):08x} {body}"


def _load(path: Path) -> dict[str, tuple[State, str]]:
    known: dict[str, tuple[State, str]] = {}
    with contextlib.suppress(OSError), path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            checksum, _, body = line.rstrip("\n").partition(" ")
            if checksum == f"{zlib.crc32(body.encode()):08x}" and body:
                name, *state, digest = json.loads(body)
                known[name] = (state[0], state[1], state[2], state[3]), digest
    return known


def _append(path: Path, lines: list[str]) -> None:
    """One write at the end of the file. The leading line break cuts off whatever a kill left unfinished there."""
    if not lines:
        return
    with contextlib.suppress(OSError):  # the memo only saves time: a full or read-only disk is no reason to stop
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(("\n" + "\n".join(lines) + "\n").encode("ascii"))
