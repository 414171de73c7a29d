"""Seals: a digest in a file of what the file says, so that a part that was changed or swapped alone is noticed.

A seal holds no secret: whoever means to forge a file can seal it anew. It stops a mark that is edited, and weights or
pseudo-labels that are put under the description of others. What can be computed again is never taken from a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_mask.reading import regular

if TYPE_CHECKING:  # sealing a record needs no torch
    from torch import Tensor

    from ssl_mask.runs.records import RunStatus

KEY = "seal"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content, and under `seal` the digest of all of it."""
    return {**content, KEY: _digest(content)}


def unsealed(content: Any) -> Any:
    """The content without its seal."""
    return {k: v for k, v in content.items() if k != KEY} if isinstance(content, dict) else content


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether nothing was changed since it was sealed; False without a seal."""
    return content.get(KEY) == _digest(unsealed(content))


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and bytes of tensors, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def origin_of(status: RunStatus) -> str:
    """Digest of all that a run learns from: a saved state of another run, put in its place, has another one."""
    data = status.data
    parts = [data and data.content_hash, data and data.unlabeled and data.unlabeled.content_hash,
             data and data.pseudo and data.pseudo.sha256]  # fmt: skip
    seen = {role: record.sha256 for role, record in (status.seen or {}).items()}
    return _digest({"data": parts, "seen": seen, "ancestors": list(status.ancestors)})


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError when it cannot be read."""
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
