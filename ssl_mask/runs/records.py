"""What a run writes about itself, as typed records.

RunStatus           run.json
CheckpointMetadata  the header of checkpoints/best.safetensors
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ssl_mask.config import LARGEST_IMAGE, ModelConfig
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.runs.base import Count, NotNegative, Positive, Record, Share
from ssl_mask.runs.comparison import ComparisonRecord, IntervalRecord

LeakageStatus = Literal[
    "clean", "photos-clean", "not-checked", "transductive-val", "transductive-test", "leaked-declared"
]
"""From best to worst; see `ssl_mask.guard.status`."""
SeenRole = Literal["train", "val", "unlabeled"]


# ---- run.json ----


class BestScore(Record):
    """Validation scores of the best weights so far."""

    step: Count
    weights: Literal["live", "ema"]
    macro_f1: Share
    accuracy: Share
    heads: dict[str, Share]
    """Accuracy per head."""
    nll: NotNegative
    ece: NotNegative
    ece_raw: NotNegative
    temperatures: dict[str, Positive]
    """Per head."""


class LastStep(Record):
    """Where weights come from that no validation has selected."""

    step: Count
    weights: Literal["live", "ema"]


class UnlabeledRecord(Record):
    """The unlabeled pool of a run."""

    sources: tuple[str, ...]
    images: Count
    content_hash: str
    left_out: Count


class PseudoRecord(Record):
    """The pseudo-labels of a run."""

    table: str
    images: Count
    sha256: str


class DataRecord(Record):
    """The data that a run was trained and validated on."""

    content_hash: str
    layout: str
    root: str
    grouped: bool
    train_images: Count
    val_images: Count
    train_groups: Count
    val_groups: Count
    left_out: Count = 0
    """Labeled images that are not used: unreadable, or dropped by the guard."""
    unlabeled: UnlabeledRecord | None
    pseudo: PseudoRecord | None


class DeclarationRecord(Record):
    """Why a run may train on images of its evaluation pools, and who allows it."""

    reason: str
    allowed_by: str


class SeenRecord(Record):
    """Binds a file of seen images to the checkpoint that it stands beside."""

    images: Count
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

    selected: Count
    precision: Share | None
    """None where nothing was selected."""
    recall: Share


class AuditRecord(Record):
    """A round's pseudo-labels against the true answers (audit.json)."""

    images: Count
    labels: AuditShares
    images_whole: AuditShares
    factors: dict[str, AuditShares]


class HeadSummary(Record):
    """What was selected by one head in a round."""

    selected: Count
    val_precision: Share | None


class RoundSummary(Record):
    """One round of pseudo-labels: its scores, what it trained on, and how right that was."""

    round: Count
    run: str
    macro_f1: IntervalRecord
    accuracy: IntervalRecord
    cpu_seconds: NotNegative
    taught_by: str | None = None
    """Round 0: what it learned from."""
    teachers: Count | None = None
    """Round 0: so many models are in its place, which have no run in this study."""
    pool: Count | None = None
    selected: Count | None = None
    whole: Count | None = None
    flipped: Count | None = None
    agreement: Share | None = None
    rule: str | None = None
    heads: dict[str, HeadSummary] | None = None
    audit: AuditRecord | None = None


class StudyScore(Record):
    """The score of the study of folds that a run is a part of."""

    study: str
    """Its path."""
    macro_f1: IntervalRecord
    """Out of fold, with its interval by group."""


class RunStatus(LeakageRecord):
    """run.json: how far a run is and how good."""

    verb: Literal["train", "uda", "pseudo"]
    name: str
    status: Literal["running", "interrupted", "failed", "finished"]
    failure: str = ""
    """Why it failed; a failed run is not continued."""
    started: str
    updated: NotNegative
    """Seconds since 1970."""
    step: Count
    steps: Count | None = None
    best: BestScore | None
    """None before the first evaluation, and without validation."""
    data: DataRecord | None = None
    seconds: NotNegative = 0.0
    cpu_seconds: NotNegative | None = None
    """Of a run without validation, at its end; others log it with every evaluation."""
    comparison: ComparisonRecord | None = None
    """With the supervised baseline, where one was trained."""
    study: StudyScore | None = None
    """Of a finished study of folds that it is a part of."""
    earlier_origins: tuple[str, ...] = ()
    """Its origins (`seal.origin_of`) of before its seen-sets were written anew: a state saved then is bound to one."""
    rounds: tuple[RoundSummary, ...] | None = None
    """None: not a study of rounds."""
    best_round: Count | None = None
    stopped: str = ""
    """Of rounds: a sentence, why there are fewer than were asked for."""


# ---- the header of best.safetensors ----


MOST_CLASSES = 1_000_000
"""Joint classes of a schema."""


class _FactorRecord(Record):
    name: str = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=1)


def as_schema(content: Any) -> LabelSchema:
    if isinstance(content, LabelSchema):
        return content
    try:
        factors = [_FactorRecord.model_validate(part) for part in content]
    except (TypeError, ValueError) as error:
        raise ValueError("not a label schema") from error
    if not factors:
        raise ValueError("a label schema without factors")
    for names in ([f.name for f in factors], *(f.classes for f in factors)):
        if len(set(names)) < len(names):
            raise ValueError("a label schema that names a factor or a class twice")
    if prod(len(f.classes) for f in factors) > MOST_CLASSES:
        raise ValueError(f"a label schema of more than {MOST_CLASSES:,} classes")
    return LabelSchema.from_json(content)


class _SubmissionRecord(Record):
    id_column: str
    answer_columns: tuple[str, ...]
    answers: Literal["joint index", "names"]


def as_submission(content: Any) -> Submission:
    if isinstance(content, Submission):
        return content
    try:
        return Submission(**dict(_SubmissionRecord.model_validate(content)))
    except ValueError as error:
        raise ValueError("not a submission format") from error


class CheckpointMetadata(LeakageRecord):
    """All that is needed to predict with a checkpoint, and to know how far its predictions can be trusted."""

    model: Annotated[ModelConfig, PlainSerializer(lambda model: model.model_dump(mode="json"))]
    image_size: Annotated[int, Field(ge=1, le=LARGEST_IMAGE)]
    label_schema: Annotated[LabelSchema, BeforeValidator(as_schema), PlainSerializer(LabelSchema.to_json)] = Field(
        alias="schema"
    )
    target: Literal["factors", "joint"]
    resize: Literal["crop", "squash", "pad"]
    depth: Annotated[int, Field(ge=8, le=16)] = 16
    submission: Annotated[Submission, BeforeValidator(as_submission), PlainSerializer(Submission._asdict)]
    temperatures: dict[str, Positive]
    """Per head."""
    best: BestScore | None
    """None: trained without validation."""
    last: LastStep | None = None
    """Where there is no best."""
    prior: tuple[Count, ...]
    """Training images of each joint class."""
    data: DataRecord
    run: str
    code: str

    @property
    def origin(self) -> BestScore | LastStep:
        """The step and the kind of the weights."""
        found = self.best or self.last
        assert found is not None  # for the type checker: `_parts_fit` has looked
        return found

    @model_validator(mode="after")
    def _parts_fit(self) -> CheckpointMetadata:
        schema = self.label_schema
        if (self.best is None) == (self.last is None):
            raise ValueError("it must be either of the best evaluation or of the last step")
        if self.temperatures.keys() != schema.heads(self.target).keys():
            raise ValueError("the temperatures are not those of the heads")
        if len(self.prior) != len(schema.joint_classes) or not sum(self.prior):
            raise ValueError("the prior does not fit the classes")
        columns = 1 if self.submission.answers == "joint index" else len(schema.factors)
        if len(self.submission.answer_columns) != columns:
            raise ValueError("the answer columns of the submission do not fit the factors")
        return self
