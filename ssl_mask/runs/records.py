"""What a run writes about itself, as typed records.

RunStatus           run.json
CheckpointMetadata  the header of checkpoints/best.safetensors
SelectionRecord     selection.json of a round of pseudo-labels
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from ssl_mask.config import ModelConfig
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.runs.base import Record
from ssl_mask.runs.comparison import ComparisonRecord, IntervalRecord

LeakageStatus = Literal[
    "clean", "photos-clean", "not-checked", "transductive-val", "transductive-test", "leaked-declared"
]
"""From best to worst; see `ssl_mask.guard.status`."""
SeenRole = Literal["train", "val", "unlabeled"]


# ---- run.json ----


class BestScore(Record):
    """Validation scores of the best weights so far."""

    step: int
    weights: Literal["live", "ema"]
    macro_f1: float
    accuracy: float
    heads: dict[str, float]
    """Accuracy per head."""
    nll: float
    ece: float
    ece_raw: float
    temperatures: dict[str, float]
    """Per head."""


class UnlabeledRecord(Record):
    """The unlabeled pool of a run."""

    sources: tuple[str, ...]
    images: int
    content_hash: str
    left_out: int


class PseudoRecord(Record):
    """The pseudo-labels of a run."""

    table: str
    images: int
    sha256: str


class DataRecord(Record):
    """The data that a run was trained and validated on."""

    content_hash: str
    layout: str
    root: str
    grouped: bool
    train_images: int
    val_images: int
    train_groups: int
    val_groups: int
    unlabeled: UnlabeledRecord | None
    pseudo: PseudoRecord | None


class DeclarationRecord(Record):
    """Why a run may train on images of its evaluation pools, and who allows it."""

    reason: str
    allowed_by: str


class SeenRecord(Record):
    """Binds a file of seen images to the checkpoint that it stands beside."""

    images: int
    sha256: str


class LeakageRecord(Record):
    """What the guard found; the same in the run's status and in its checkpoint."""

    leakage: LeakageStatus
    """The worst of the marks."""
    leakage_reason: str = ""
    """Why it is no better, in words."""
    marks: dict[str, LeakageStatus] = Field(default_factory=dict)
    """Content digest of each evaluation pool -> status."""
    declaration: DeclarationRecord | None = None
    seen: dict[SeenRole, SeenRecord] | None = None
    """None: not kept, so nobody knows what the weights have seen."""
    ancestors: tuple[str, ...] = ()
    """Paths of the runs that this one builds on, or `unknown`."""


def leakage_of(record: LeakageRecord) -> LeakageRecord:
    """The guard's part of a status or of a checkpoint's metadata."""
    return LeakageRecord(**{name: getattr(record, name) for name in LeakageRecord.model_fields})


class AuditShares(Record):
    """How right a part of the pseudo-labels is."""

    selected: int
    precision: float | None
    """None where nothing was selected."""
    recall: float


class AuditRecord(Record):
    """A round's pseudo-labels against the true answers (audit.json)."""

    images: int
    labels: AuditShares
    images_whole: AuditShares
    factors: dict[str, AuditShares]


class HeadSummary(Record):
    """What was selected by one head in a round."""

    selected: int
    val_precision: float | None


class RoundSummary(Record):
    """One round of pseudo-labels: its scores, what it trained on, and how right that was."""

    round: int
    run: str
    macro_f1: IntervalRecord
    accuracy: IntervalRecord
    cpu_seconds: float
    taught_by: str | None = None
    """Round 0: what it learned from."""
    pool: int | None = None
    selected: int | None = None
    whole: int | None = None
    flipped: int | None = None
    agreement: float | None = None
    rule: str | None = None
    heads: dict[str, HeadSummary] | None = None
    audit: AuditRecord | None = None


class RunStatus(LeakageRecord):
    """run.json: how far a run is and how good."""

    verb: Literal["train", "uda", "pseudo"]
    name: str
    status: Literal["running", "interrupted", "finished"]
    started: str
    updated: float
    """Seconds since 1970."""
    step: int
    steps: int | None = None
    best: BestScore | None
    """None before the first evaluation."""
    data: DataRecord | None = None
    seconds: float = 0.0
    comparison: ComparisonRecord | None = None
    """With the supervised baseline, where one was trained."""
    rounds: tuple[RoundSummary, ...] | None = None
    """None: not a study of rounds."""
    best_round: int | None = None


# ---- the header of best.safetensors ----


def _as_schema(content: Any) -> LabelSchema:
    try:
        return content if isinstance(content, LabelSchema) else LabelSchema.from_json(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a label schema") from error


def _as_submission(content: Any) -> Submission:
    try:
        if isinstance(content, Submission):
            return content
        return Submission(content["id_column"], tuple(content["answer_columns"]), content["answers"])
    except (KeyError, TypeError) as error:
        raise ValueError("not a submission format") from error


class CheckpointMetadata(LeakageRecord):
    """All that is needed to predict with a checkpoint, and to know how far its predictions can be trusted."""

    model: Annotated[ModelConfig, PlainSerializer(lambda model: model.model_dump(mode="json"))]
    image_size: int
    label_schema: Annotated[LabelSchema, BeforeValidator(_as_schema), PlainSerializer(LabelSchema.to_json)] = Field(
        alias="schema"
    )
    target: Literal["factors", "joint"]
    resize: Literal["crop", "squash", "pad"]
    submission: Annotated[Submission, BeforeValidator(_as_submission), PlainSerializer(Submission._asdict)]
    temperatures: dict[str, float]
    """Per head."""
    best: BestScore
    prior: tuple[int, ...]
    """Training images of each joint class."""
    data: DataRecord
    run: str
    code: str


# ---- selection.json ----


class ClassSelection(Record):
    """What was selected of one predicted class."""

    predicted: int
    selected: int
    threshold: float | None
    """None: no confidence is enough."""
    source: str
    """Where the threshold comes from."""
    support: int
    """Validation images that are predicted of the class at or above its threshold."""


class HeadSelectionRecord(Record):
    """What was selected by one head, per class."""

    selected: int
    val_share: float
    """Share of validation that the thresholds would select."""
    val_precision: float | None
    """How much of that is right; None of nothing."""
    classes: dict[str, ClassSelection]


class ReliabilityRecord(Record):
    """Per bin of confidence; None in an empty one."""

    images: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


class SelectionRecord(Record):
    """Thresholds and counts of one round's selection, and what the thresholds are worth on validation."""

    round: int
    teacher: str
    """Path of the run that predicted the pool."""
    rule: Literal["precision", "threshold", "top_k", "percentile"]
    masks: Literal["joint", "factors"]
    pool: int
    """Images that could be selected."""
    selected: int
    whole: int
    """Images of which every factor is selected."""
    highest_confidence: float | None
    heads: dict[str, HeadSelectionRecord]
    flipped: int
    agreement: float | None
    validation: int
    """Images."""
    validation_groups: int
    calibration_error: float
    reliability: ReliabilityRecord
    pool_hash: str
