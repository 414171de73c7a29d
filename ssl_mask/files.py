"""Write files so that a reader never sees half of one, even if the writer is killed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ssl_mask.errors import StorageError

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_REASONS = _FULL | {
    errno.EACCES: "no permission",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "it grows beyond the largest file that is allowed here (ulimit -f)",
    None: "the disk took only a part of it",  # numpy counts what was written, and forgets why it was less
}


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn a failed write into one clear error that names the path.

    What is written inside goes through Python's own files: libraries that open files themselves (torch, safetensors)
    raise errors of their own for a full disk, which do not say so. Given a file, torch raises one on top of Python's.

    Raises:
        StorageError: a full disk, no permission, not a folder.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        refused = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refused, OSError):
            raise
        reason = _REASONS.get(refused.errno) or refused.strerror or str(refused)
        hint = "Free some space" if refused.errno in {*_FULL, None} else "Choose another folder (--runs, --out)"
        raise StorageError(
            f"Cannot write {path}: {reason}.", hint=f"{hint}; what was written before is kept."
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path to write to. It is renamed to `path` at the end of the block, or removed after an error.

    What killed writers left in this folder is removed first.

    Raises:
        StorageError: `path` cannot be written."""
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(path.parent)
        with _claimed(path) as partial:
            try:
                yield partial
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)


UNFINISHED = f".*.{'[0-9a-f]' * 8}.tmp"
"""Pattern of the names that `hidden_beside` gives, and no others: what is removed must be ours."""


def hidden_beside(path: Path) -> Path:
    """A fresh name beside `path` for what is not finished yet."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def remove_unfinished(folder: Path) -> None:
    """Remove files that a writer was killed at. A living one holds a lock on its file."""
    for path in folder.glob(UNFINISHED):
        with suppress(OSError), path.open("rb") as file:  # a folder, or gone meanwhile
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """A hidden empty file that `remove_unfinished` leaves alone while the block runs, whichever process calls it."""
    while True:
        partial = hidden_beside(path)
        with partial.open("xb") as claim:
            _lock(claim)
            if not partial.exists():  # taken for the remains of a killed writer, between the last two lines
                continue
            yield partial
            return


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait until no other process is inside a block of the same lock."""
    with lock.open("wb") as file:
        _lock(file)
        yield


@contextmanager
def holding(lock: Path) -> Iterator[bool]:
    """Hold a lock for this process; yields whether no other one holds it. A killed process holds nothing.

    Raises:
        StorageError: the file of the lock cannot be made.
    """
    with storage(lock):
        file = lock.open("wb")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _lock(file: IO[bytes]) -> None:
    with suppress(OSError):  # a file system without locks: there nobody removes what others left, either
        fcntl.flock(file, fcntl.LOCK_EX)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically. Raises StorageError."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically. Raises StorageError."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
