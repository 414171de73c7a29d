"""model.onnx: a network that predicts without torch, with all that is needed to know what it is and what it has seen.

<run>/export/
├── model.onnx              photos in, calibrated probabilities out; its last part is the record below
├── model.json              the record, for people
├── model-requirements.txt  the packages that predicting with it needs: those of sslmask without torch
└── model-seen-train.npz …  what the weights have seen, as beside a checkpoint: for the leakage guard

An ONNX file is a protobuf message, and two of these one after the other count as one with the parts of both. So the
record stands behind the graph as a message of its own: it can name the digest of the graph, and be read without a
library for ONNX.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ssl_mask.config import LARGEST_IMAGE, DataConfig
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.files import atomic_path
from ssl_mask.reading import parse_json, reading, regular
from ssl_mask.runs.base import Count, NotNegative, Positive, Record, Share, parse_record
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.predicted import PredictedSource
from ssl_mask.runs.records import LeakageRecord, as_schema, as_submission
from ssl_mask.runs.seal import is_whole, sealed, unsealed

AGAIN = "Export it again: sslmask export RUN"
LIMIT = 1e-4
"""How far a probability of the exported network may be from that of the run, on any photo."""
JOINT = "probabilities"
"""The output of the graph with the joint classes; `probabilities/<factor>` are those of a factor."""
PHOTOS = "photos"
"""The input of the graph: (n, height, width, 3) uint8 RGB."""
_KEY = b"\x0a\x07sslmask\x12"  # in a StringStringEntryProto: field 1 with 7 bytes of text, then field 2
_METADATA = b"\x72"  # of a ModelProto: field 14, metadata_props
_LONGEST = 16 << 20  # of a record, in bytes


class SquareRecord(Record):
    """How photos become the squares that a network takes."""

    size: Annotated[int, Field(ge=1, le=LARGEST_IMAGE)]
    resize: Literal["crop", "squash", "pad"]


class ParityRecord(Record):
    """The exported network against the run that it was made from, on the same photos."""

    images: Count
    content_hash: str
    """Content digest of the photos."""
    held_out: bool
    """Whether no network was trained on these photos: False for studies of folds, and where there is no validation."""
    largest: NotNegative
    """The largest difference of a probability."""
    limit: Positive
    other_class: Count
    """Photos with another most probable joint class."""
    macro_f1_run: Share
    macro_f1_exported: Share
    versions: dict[str, str]
    """Of torch, onnx and onnxruntime."""


class Int8Record(Record):
    """What it costs that weights and activations have 8 bits; the other scores are those of 32 bits."""

    calibrated_on: Count
    """Training photos."""
    content_hash: str
    macro_f1: Share
    price: IntervalRecord
    """Macro-F1 of 8 bits less that of 32 bits, 95 % interval by group."""
    largest: NotNegative
    """The largest difference of a probability from the run."""
    other_class: Count
    kept_32: tuple[str, ...] = ()
    """Kinds of layers that keep 32 bits."""


class ExportRecord(LeakageRecord):
    """All that model.onnx says of itself."""

    format: Literal[1]
    name: str
    """Of the run or the study."""
    source: PredictedSource
    label_schema: Annotated[LabelSchema, BeforeValidator(as_schema), PlainSerializer(LabelSchema.to_json)] = Field(
        alias="schema"
    )
    submission: Annotated[Submission, BeforeValidator(as_submission), PlainSerializer(Submission._asdict)]
    prior: tuple[Share, ...]
    """Of each joint class, the share of the training images."""
    data: Annotated[DataConfig, PlainSerializer(lambda data: data.model_dump(mode="json"))]
    """How the images of the run were read; its `root` is where the data set was."""
    squares: tuple[SquareRecord, ...] = Field(min_length=1)
    """Of all networks in it; where there is one only, squares that are made already may be given as photos."""
    tta: tuple[Literal["plain", "mirrored"], ...]
    parameters: Count
    macs: Count
    """Multiplications of a photo, each with its addition; without those of resizing."""
    parity: ParityRecord
    int8: Int8Record | None = None
    code: str
    made: str
    graph_bytes: Count
    graph_sha256: str

    @model_validator(mode="after")
    def _one_prior_a_class(self) -> ExportRecord:
        if len(self.prior) != len(self.label_schema.joint_classes):
            raise ValueError("the prior does not fit the classes")
        return self


@dataclass(frozen=True)
class ExportedModel:
    """Paths of an exported network and of what lies beside it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def best(self) -> Path:
        """The weights."""
        return self.path

    @property
    def told(self) -> Path:
        """The record, for people."""
        return self.path.with_suffix(".json")

    def seen(self, role: str) -> Path:
        return self.path.with_name(f"{self.path.stem}-seen-{role}.npz")

    def predictions(self, pool: str) -> Path:
        """The folder for predictions of a pool of images."""
        return self.path.parent / "predictions" / f"{self.path.stem}-{pool}"


def write_exported(path: Path, graph: bytes, record: dict[str, Any]) -> ExportRecord:
    """Write a graph with what is known of it; returns the record as it was written.

    Args:
        graph: a serialised ModelProto without metadata.
        record: an `ExportRecord` without `graph_bytes` and `graph_sha256`.

    Raises:
        StorageError: no room, or no permission.
    """
    bound = {**record, "graph_bytes": len(graph), "graph_sha256": hashlib.sha256(graph).hexdigest()}
    checked = ExportRecord.model_validate(bound)
    text = json.dumps(sealed(checked.to_json())).encode()
    entry = _KEY + _varint(len(text)) + text
    with atomic_path(path) as partial, partial.open("wb") as file:
        file.write(graph)
        file.write(_METADATA + _varint(len(entry)) + entry)
    return checked


def read_exported(path: Path) -> ExportRecord:
    """What an exported network says of itself, after its graph was found to be the one that it describes.

    Raises:
        ModelError: missing, damaged, or not written by `sslmask export`.
        MismatchError: the graph or the record was changed after it was written.
    """
    hint = "An exported network is one file that `sslmask export` has written."
    with reading(path, ModelError, hint=hint):
        content = regular(path).read_bytes()
        at = content.rfind(_KEY, max(0, len(content) - _LONGEST))
        told = None
        if at >= 0:
            size, start = _read_varint(content, at + len(_KEY))
            told = parse_json(content[start : start + size])
    if told is None:
        raise ModelError(f"{path} was not written by sslmask export.", hint=hint)
    record = parse_record(ExportRecord, unsealed(told), str(path), error=ModelError, hint=AGAIN)
    entry = len(_KEY) + len(_varint(size)) + size
    header = _METADATA + _varint(entry)
    graph = memoryview(content)[: record.graph_bytes]
    whole = content[record.graph_bytes :] == header + content[at : at + entry]
    if not is_whole(told) or not whole or hashlib.sha256(graph).hexdigest() != record.graph_sha256:
        raise MismatchError(f"{path} has changed since it was exported.", hint=AGAIN)
    return record


def _varint(number: int) -> bytes:
    """A number as protobuf writes it: 7 bits a byte, the lowest first; a set eighth bit says that more follow."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """A number and the place behind it. Raises ValueError for what is none."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            break
        byte, at = content[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("its record ends too early")
