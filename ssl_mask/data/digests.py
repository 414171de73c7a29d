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
from typing import NamedTuple

from ssl_mask.data.images import open_regular
from ssl_mask.errors import ImageError, InputError
from ssl_mask.reading import regular

# ctime stands beside mtime because tools such as rsync and unzip set mtime back, and nobody can set ctime.
State = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode

_MEMO_NAME = "digests-v1.txt"
_RACY_NS = 2_000_000_000  # a file changed within a clock tick of being read may change again unseen (git's "racy")
_FILES_PER_APPEND = 4096  # what a kill can lose
_LARGEST = 2**30  # bytes; no image that is trained on comes near, and what is read is held in memory


class FileRead(NamedTuple):
    """A file read once: whatever is made of it is made of these bytes."""

    content: bytes
    digest: str
    """SHA-256 of `content` as 64 hex digits."""
    state: State | None
    """None: the file changed while it was read, or so shortly before that it may change again unseen."""


def read_file(path: Path) -> FileRead:
    """The bytes of an image file and their digest.

    Raises:
        ImageError: it is missing, unreadable, not a regular file, or larger than 1 GiB.
        InputError: too little memory for it.
    """
    started = time.time_ns()
    with open_regular(path) as file:
        try:
            before = _state(os.fstat(file.fileno()))
            if before[0] > _LARGEST:
                raise ImageError(f"{path}: {before[0] / 2**30:.1f} GiB, more than any image has")
            content = file.read()
            after = _state(os.fstat(file.fileno()))
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
        except MemoryError as error:
            problem = f"{path}: too little memory to read its {before[0] / 2**20:.0f} MiB."
            raise InputError(problem, hint="Shrink the image, or run with more memory.") from error
    is_safe = before == after and max(after[1], after[2]) < started - _RACY_NS
    return FileRead(content, hashlib.sha256(content).hexdigest(), after if is_safe else None)


def digest_file(path: Path) -> str:
    """SHA-256 of the file's bytes as 64 hex digits. Raises ImageError as `read_file` does."""
    return read_file(path).digest


def digest_files(paths: Sequence[Path], folder: Path | None, *, threads: int = 4) -> list[str]:
    """SHA-256 of each file's bytes as 64 hex digits, in order; the memo is in `folder`, None reads every file.

    Raises ImageError naming the first file that cannot be read.
    """

    def digest(path: Path) -> tuple[str, State | None]:
        known = memo.recall(path)
        return (known, None) if known else read_file(path)[1:]

    digests: list[str] = []
    with DigestMemo(folder) as memo, ThreadPoolExecutor(threads) as pool:
        try:
            for path, (found, state) in zip(paths, pool.map(digest, paths), strict=True):
                memo.note(path, found, state)
                digests.append(found)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return digests


class DigestMemo:
    """The digests of files that have not changed since they were read. Leaving the `with` block keeps what was noted.

    Args:
        folder: where the memo is; None remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _MEMO_NAME if folder else None
        self._known = _load(self._path) if self._path else {}
        self._lines: list[str] = []

    def recall(self, path: Path) -> str:
        """The file's digest, or "" where it has to be read. Never raises."""
        with contextlib.suppress(OSError, ValueError):
            name = _name(path)
            if name in self._known and self._known[name][0] == _state(path.stat()):
                return self._known[name][1]
        return ""

    def note(self, path: Path, digest: str, state: State | None) -> None:
        """Remember what `read_file` found; without a state there is nothing to remember."""
        if state is not None and self._path is not None:
            self._lines.append(_line(_name(path), state, digest))
            if len(self._lines) == _FILES_PER_APPEND:
                self.save()

    def save(self) -> None:
        """Append what was noted since the last time."""
        if self._path is not None:
            _append(self._path, self._lines)
        self._lines = []

    def __enter__(self) -> DigestMemo:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()


def _name(path: Path) -> str:
    name = str(path)
    if name.startswith("/") and "/.." not in name:  # as nearly all are; a million times it is several seconds
        return name
    return os.path.abspath(name)  # noqa: PTH100 - resolve() would follow links and costs ten times as much


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _line(name: str, state: State, digest: str) -> str:
    body = json.dumps([name, *state, digest])
    return f"{zlib.crc32(body.encode()):08x} {body}"


def _load(path: Path) -> dict[str, tuple[State, str]]:
    bodies = []
    with contextlib.suppress(OSError), regular(path).open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            checksum, _, body = line.rstrip("\n").partition(" ")
            if checksum == f"{zlib.crc32(body.encode()):08x}" and body:
                bodies.append(body)
    # All at once: a call for each line takes five times as long.
    return {name: ((a, b, c, d), digest) for name, a, b, c, d, digest in json.loads(f"[{','.join(bodies)}]")}


def _append(path: Path, lines: list[str]) -> None:
    """One write at the end of the file. The leading line break cuts off whatever a kill left unfinished there."""
    if not lines:
        return
    with contextlib.suppress(OSError):  # the memo only saves time: a full or read-only disk is no reason to stop
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(("\n" + "\n".join(lines) + "\n").encode("ascii"))
