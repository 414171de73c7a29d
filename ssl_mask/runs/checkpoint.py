"""The best weights of a run with all that is needed to predict. safetensors: loading runs no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.files import atomic_path
from ssl_mask.reading import parse_json, reading
from ssl_mask.runs.base import parse_record
from ssl_mask.runs.records import CheckpointMetadata
from ssl_mask.runs.seal import is_whole, sealed, tensors_digest, unsealed

if TYPE_CHECKING:  # reading the metadata alone needs no torch
    from torch import Tensor, nn

AGAIN = "Copy it again from where it was made, or train again."
TENSORS = "tensors_sha256"
"""Key in the header beside the metadata: which weights it describes."""


@dataclass(frozen=True)
class Checkpoint:
    """Best weights, and what they are: model, image size, label schema, temperatures, scores, leakage."""

    weights: dict[str, Tensor]
    metadata: CheckpointMetadata


def save_checkpoint(path: Path, model: nn.Module, metadata: CheckpointMetadata) -> None:
    """Write a model's weights; `metadata` goes into the file's header, sealed and bound to the weights."""
    write_checkpoint(path, Checkpoint(model.state_dict(), metadata))


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write weights, such as those of another checkpoint under a changed description."""
    from safetensors.torch import save

    metadata = checkpoint.metadata
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.weights.items()}
    header = json.dumps(sealed({**metadata.to_json(), TENSORS: tensors_digest(tensors)}))
    # One key: safetensors writes several in an order of its own, and the same weights shall be the same bytes.
    content = save(tensors, metadata={"sslmask": header})
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def read_metadata(path: Path) -> CheckpointMetadata:
    """What a checkpoint says of itself, from the header alone: no weights are read and torch is not imported.

    Raises:
        ModelError: missing, damaged, or not one of ours.
        MismatchError: the header was changed after it was written.
    """
    return _read_header(path)[0]


def _read_header(path: Path) -> tuple[CheckpointMetadata, str]:
    """The metadata, and the digest of the weights that it describes."""
    if not path.is_file():
        raise ModelError(f"No checkpoint {path}.", hint="The run has not been evaluated yet: resume it.")
    with reading(path, ModelError, hint=AGAIN):
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
        content = parse_json(header["sslmask"]) if "sslmask" in header else None
    if content is None:
        raise ModelError(f"{path} was not written by sslmask.", hint="Foreign weights go to model.weights=FILE.")
    told = unsealed(content)
    digest = told.pop(TENSORS, "") if isinstance(told, dict) else ""
    metadata = parse_record(CheckpointMetadata, told, str(path), error=ModelError, hint=AGAIN)
    if not is_whole(content):
        raise MismatchError(f"The header of {path} has changed since it was written.", hint=AGAIN)
    return metadata, digest


def is_checkpoint(path: Path) -> bool:
    """Whether a weight file is one of ours, by its header; False where it cannot be read."""
    try:
        with safe_open(path, framework="np") as file:
            return "sslmask" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelError: missing, damaged, or not one of ours.
        MismatchError: the header or the weights were changed after they were written.
    """
    from safetensors.torch import load_file

    metadata, digest = _read_header(path)
    with reading(path, ModelError, hint=AGAIN):
        weights = dict(load_file(path))
    for name, weight in weights.items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise ModelError(f"{path} is damaged: {name} holds numbers that are not finite.", hint=AGAIN)
    if tensors_digest(weights) != digest:
        raise MismatchError(f"The weights in {path} are not those that its header describes.", hint=AGAIN)
    return Checkpoint(weights, metadata)
