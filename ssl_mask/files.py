"""Write files so that a reader never sees half of one, even if the writer is killed."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_mask.errors import StorageError


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn a failed write into one clear error that names the path.

    Raises:
        StorageError: a full disk, no permission, not a folder.
    """
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "no permission",
            errno.EROFS: "the file system is read-only",
        }.get(error.errno or 0, error.strerror or str(error))
        hint = (
            "Free some space"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}
            else "Choose another folder (--runs, --out)"
        )
        raise StorageError(
            f"Cannot write {path}: {reason}.", hint=f"{hint}; what was written before is kept."
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path to write to. It is renamed to `path` at the end of the block, or removed after an error.

    Raises:
        StorageError: `path` cannot be written."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically. Raises StorageError."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically. Raises StorageError."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
