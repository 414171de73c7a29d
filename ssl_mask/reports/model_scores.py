"""The scores that a model card may tell of a run, a study or an exported network, each with what it is worth.

Its own score is of images that its networks were not trained on (validation, or out of fold). Scores of `sslmask
evaluate` are told where they are of these very weights: predictions of others may lie in the same folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.metrics import Interval, bootstrap
from ssl_mask.guard.lineage import mark_of
from ssl_mask.guard.provenance import runs_of
from ssl_mask.guard.status import Mark, worst_mark
from ssl_mask.reports.html.subject import Subject
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.evaluated import FILE, read_evaluated
from ssl_mask.runs.exported import ExportedModel, ExportRecord
from ssl_mask.runs.predicted import PredictedRecord, read_predicted
from ssl_mask.runs.records import DataRecord, DeclarationRecord
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source

OUT_OF_FOLD = "out-of-fold"


@dataclass(frozen=True)
class Scored:
    """Scores on one set of images."""

    split: str
    """`validation`, `out-of-fold`, or the name of a pool such as `test`."""
    images: int | None
    groups: int | None
    """None: not known."""
    grouped: bool
    """Whether the images name their groups (persons); without them the intervals are too narrow."""
    macro_f1: Interval
    accuracy: Interval | None
    caveat: str
    """What limits its worth, in a sentence; "" nothing but the leakage status."""
    mark: Mark
    """How far it can be trusted."""


@dataclass(frozen=True)
class ModelFacts:
    """All that a model card tells."""

    name: str
    schema: LabelSchema
    mark: Mark
    declared: DeclarationRecord | None
    scores: tuple[Scored, ...]
    """The first is the model's own."""
    networks: tuple[str, ...]
    """Of each network, what it is: `tf_efficientnet_lite0, 224 px`."""
    files: tuple[str, ...]
    """The weights, relative to the folder of the card."""
    data: DataRecord | None
    """None: of an exported network whose run is not at hand."""
    builds_on: tuple[str, ...]
    code: str
    knows_seen: bool
    """Whether the digests of what its weights have seen are kept beside them."""
    bits8: str = ""
    """Of a network with 8 bits: what that costs, in a sentence."""


def own_score(subject: Subject) -> Scored | None:
    """The score of a run or a study on images that its networks were not trained on; None where there are none."""
    mark = mark_of_source(subject.source)
    if subject.table is None:
        return _of_its_study(subject, mark)
    table = subject.table
    scores = bootstrap(table.true, table.predicted, table.group, len(table.classes))
    groups = len(set(table.group.tolist())) if subject.grouped else None
    caveat = _caveat(subject)
    split = OUT_OF_FOLD if subject.images.startswith(OUT_OF_FOLD) else "validation"
    return Scored(
        split, len(table), groups, subject.grouped, scores["macro_f1"], scores["accuracy"], caveat, mark
    )  # fmt: skip


def mark_of_source(source: Source) -> Mark:
    """The worst mark of the checkpoints that predict. Raises ModelError when one is missing or damaged."""
    return worst_mark(mark_of(run.metadata) for run in runs_of(source))


def evaluations(source: Source) -> tuple[Scored, ...]:
    """Scores of what a run or a study predicted, by pool, where these weights predicted it.

    Raises:
        DataError: a file of them is damaged.
    """
    weights = {file_digest(run.best) for run in source.members}

    def is_its_own(claim: PredictedRecord) -> bool:
        return claim.exported is None and weights == {
            run.checkpoint_sha256 for source in claim.sources for run in source.runs
        }

    return tuple(_evaluated(sorted(source.path.glob(f"predictions/*/{FILE}")), "", is_its_own))


def exported_scores(model: ExportedModel, record: ExportRecord, own: Scored | None) -> tuple[Scored, ...]:
    """Scores of an exported network: that of the run which it was made from, and what it predicted itself.

    Args:
        own: the score of the run, where the run is at hand; else the one measured at export is told.
    """
    found = () if own is None else (own,)
    parity = record.parity
    if own is None and parity.held_out:
        value = Interval(parity.macro_f1_exported, parity.macro_f1_exported, parity.macro_f1_exported)
        caveat = (
            "Optimistic: the weights were selected on these images. It has no interval: the run is not beside the "
            "exported network."
        )
        found = (Scored("validation", parity.images, None, True, value, None, caveat, mark_of(record)),)
    digest = file_digest(model.path)

    def is_its_own(claim: PredictedRecord) -> bool:
        return claim.exported is not None and claim.exported.sha256 == digest

    prefix = f"{model.path.stem}-"
    files = sorted(model.path.parent.glob(f"predictions/{prefix}*/{FILE}"))
    return (*found, *_evaluated(files, prefix, is_its_own))


def _evaluated(files: Sequence[Path], prefix: str, is_its_own: Callable[[PredictedRecord], bool]) -> Iterator[Scored]:
    for file in files:
        scored, claim = read_evaluated(file.parent), read_predicted(file.with_name("predictions.csv"))
        if scored is None or claim is None or not is_its_own(claim):
            continue
        if claim.leakage.pool_digest != scored.leakage.pool_digest:  # predicted anew since, and not scored
            continue
        mark = Mark(scored.leakage.verdict, "; ".join(scored.leakage.why))
        caveat = "Those images were not used to select the weights."
        if scored.new_images is not None:
            new = scored.new_images
            seen = scored.images - new.images
            caveat = (
                f"{seen} of these images were seen in training; on the {new.images} others macro-F1 is "
                f"{told(new.macro_f1)}."
            )
        yield Scored(
            file.parent.name.removeprefix(prefix), scored.images, None, scored.grouped, _interval(scored.macro_f1),
            _interval(scored.accuracy), caveat, mark,
        )  # fmt: skip


def _caveat(subject: Subject) -> str:
    """What selected the weights, and on what."""
    kind, runs = subject.source.kind, len(subject.runs)
    if kind == "run":
        status = subject.runs[0].status()
        study = status.study
        if study is None:
            what = "the round and its weights were" if status.rounds is not None else "the weights were"
            return f"Optimistic: {what} selected on this score."
        return (
            "One fold of a study, whose weights were selected for all folds together; the out-of-fold macro-F1 of "
            f"that study counts: {told(study.macro_f1)}."
        )
    if kind == "rounds":
        return "Slightly optimistic: the round, and one step for all folds together, were selected on this score."
    if kind == "seeds":
        return f"Optimistic: the weights of each of the {runs} runs were selected on these images. It is their mean's."
    if subject.images.startswith(OUT_OF_FOLD):
        return (
            "Slightly optimistic: one step was selected for all folds together. Each image was predicted by a network "
            "that has not seen its group; the networks together have seen all of them."
        )
    return "Optimistic: the weights were selected on these images."


def _of_its_study(subject: Subject, mark: Mark) -> Scored | None:
    """A network that was trained on all labels has the score of the folds that it was trained like."""
    study = subject.runs[0].status().study if subject.source.kind == "run" else None
    if study is None:
        return None
    caveat = (
        "Not of these weights: they were trained on all labels, so no labeled image is left to score them. It is the "
        "score of networks that were trained in the same way without the images that they are scored on."
    )
    return Scored(OUT_OF_FOLD, None, None, subject.grouped, _interval(study.macro_f1), None, caveat, mark)


def _interval(record: IntervalRecord) -> Interval:
    return Interval(record.value, record.low, record.high)


def told(score: IntervalRecord | Interval) -> str:
    """A score with its interval, where it has one."""
    return f"{score.value:.4f}" + (f" (95 % interval {score.low:.3f} to {score.high:.3f})" * (score.low < score.high))
