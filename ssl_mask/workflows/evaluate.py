"""`sslmask evaluate`: score a prediction file against answers, with intervals by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.names import plain
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import nothing_written
from ssl_mask.evaluation.answers import read_answers, read_groups, refuse_other_images
from ssl_mask.evaluation.metrics import (
    ClassScore,
    Interval,
    accuracy,
    bootstrap,
    class_scores,
    confusion,
    f1_per_class,
)
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.files import write_json
from ssl_mask.guard.predictions import provenance_of_predictions, refuse_changed
from ssl_mask.guard.provenance import Provenance
from ssl_mask.runs.predicted import PredictedRecord
from ssl_mask.runs.sources import Source, find_source

Labels = NDArray[np.int64]


class NewImages(NamedTuple):
    """Scores on the images that training has not seen."""

    images: int
    macro_f1: Interval
    accuracy: Interval


@dataclass(frozen=True)
class Evaluation:
    """Scores of a prediction file."""

    images: int
    macro_f1: Interval
    accuracy: Interval
    grouped: bool
    """False: no groups were known, the intervals are by image and too narrow."""
    factors: dict[str, dict[str, float]]
    """Accuracy and macro-F1 per factor."""
    classes: dict[str, ClassScore]
    """Per joint class."""
    empty: int
    """Predictions without an answer; they count as wrong."""
    leakage: Provenance
    """Whether these images were seen in training, and how far the scores can be trusted."""
    new_images: NewImages | None
    """Where some were seen: the scores on the others alone."""
    path: Path | None
    """Where the scores were written; None: nowhere."""

    def to_json(self) -> dict[str, Any]:
        """The content of `evaluation.json`."""

        def interval(score: Interval) -> dict[str, float]:
            return score._asdict()

        new = self.new_images
        return {
            **asdict(self),
            "macro_f1": interval(self.macro_f1),
            "accuracy": interval(self.accuracy),
            "classes": {
                name: {"f1": c.f1, "images": c.images, "interval": c.interval and interval(c.interval)}
                for name, c in self.classes.items()
            },
            "leakage": self.leakage.to_json(),
            "new_images": new
            and {"images": new.images, "macro_f1": interval(new.macro_f1), "accuracy": interval(new.accuracy)},
            "path": self.path and self.path.name,
        }


def evaluate(
    answers: str | Path,
    predictions: str | Path | None = None,
    schema: LabelSchema | None = None,
    *,
    run: str | Path = "latest",
    runs_folder: str | Path = "runs",
    groups: str | Path | None = None,
    seed: int = 0,
    write: bool = True,
) -> Evaluation:
    """Score predictions.

    Args:
        answers: CSV with an image column, and a class name in a column per factor or the joint class in a single
            column: its name, or its number where the data set submits numbers. A `group` column is used for the
            intervals.
        predictions: the CSV written by `predict`. None: what `run` predicted of its own test images.
        schema: the classes. None: those of `run`.
        run: name or path of a run or a study, or `latest`; not looked at where `predictions` and `schema` are given.
        groups: CSV with an image column and a `group` column, where the answers have none.
        seed: of the bootstrap.
        write: write `evaluation.json` beside the predictions.

    Raises:
        DataError: no such run, an image without answer or prediction, an unknown class; names the file and row.
        MismatchError: the predictions, a checkpoint or an image has changed since they were made.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> scores = ssl_mask.evaluate(Path("faces/eval_answers.csv"), run="first")
        >>> scores.macro_f1.low <= scores.macro_f1.value <= scores.macro_f1.high
        True
    """
    submission = None
    if schema is None or predictions is None:
        made_by = find_source(run, Path(runs_folder))
        predictions = predictions or made_by.predictions("test") / "predictions.csv"
        schema, submission = schema or made_by.schema, made_by.submission
    answers, predictions = Path(answers), Path(predictions)
    with nothing_written():
        claim = refuse_changed(predictions)
        truth = read_answers(answers, schema, submission)
        given = read_answers(predictions, schema, submission, allow_empty=True).joint
        group_of = truth.groups if groups is None else read_groups(Path(groups), submission)
        refuse_other_images(truth.joint, given, answers, predictions)
        again = partial(_predict_again, votings=votings_of(claim) if claim is not None else None)
        leakage, overlap = provenance_of_predictions(predictions, claim, given, again)
        seen = set(map(plain, overlap))

    names, count = list(truth.joint), len(schema.joint_classes)
    true = np.asarray(list(truth.joint.values()), dtype=np.int64)
    answered = np.asarray([given[n] for n in names], dtype=np.int64)
    # An empty answer is wrong for every class: it counts as a class of its own, which is no class.
    predicted = np.where(answered < 0, count, answered)
    units = np.asarray([group_of.get(n, n) for n in names], dtype=np.str_)
    new = np.asarray([n not in seen for n in names], dtype=np.bool_)

    intervals = bootstrap(true, predicted, units, count, seed=seed)
    result = Evaluation(
        images=len(names),
        macro_f1=intervals["macro_f1"],
        accuracy=intervals["accuracy"],
        grouped=bool(group_of),
        factors=_by_factor(true, answered, schema),
        classes=class_scores(true, predicted, units, schema.joint_classes, seed=seed),
        empty=int((answered < 0).sum()),
        leakage=leakage,
        new_images=_on_new(true[new], predicted[new], units[new], count, seed) if seen and new.any() else None,
        path=predictions.with_name("evaluation.json") if write else None,
    )
    if result.path is not None:
        write_json(result.path, result.to_json())
    return result


def _predict_again(
    sources: Sequence[Source], weights: Sequence[float], rows: Manifest, tta: bool, max_pixels: int | None,
    votings: Sequence[Mapping[str, Voting]] | None,
) -> NDArray[np.float32]:  # fmt: skip
    """(n, classes) what runs and studies say of images now. Only here are networks loaded."""
    from ssl_mask import devices
    from ssl_mask.inference.load import load_predictor
    from ssl_mask.inference.predictor import Compute

    compute = Compute(devices.make_accelerator("auto"), Console(quiet=True), workers=0)
    predictor = load_predictor(
        sources, compute, weights=weights, cache="off", max_pixels=max_pixels, neighbours=votings
    )  # fmt: skip
    return predictor.probs(rows, tta=tta).probs


def votings_of(claim: PredictedRecord) -> list[dict[str, Voting]]:
    """Of each source, the factors on which its training images voted."""
    asked = [source.neighbours or {} for source in claim.sources]
    return [{f: Voting(n.k, n.temperature, n.weight) for f, n in own.items() if n.kept} for own in asked]


def _on_new(true: Labels, predicted: Labels, groups: NDArray[np.str_], classes: int, seed: int) -> NewImages:
    scores = bootstrap(true, predicted, groups, classes, seed=seed)
    return NewImages(len(true), scores["macro_f1"], scores["accuracy"])


def _by_factor(true: Labels, predicted: Labels, schema: LabelSchema) -> dict[str, dict[str, float]]:
    true_parts, parts = schema.part(true), schema.part(np.maximum(predicted, 0))
    scores: dict[str, dict[str, float]] = {}
    for i, (name, size) in enumerate(schema.sizes.items()):
        column = np.where(predicted < 0, size, parts[:, i])
        f1 = f1_per_class(confusion(true_parts[:, i], column, size + 1))[:size]
        scores[name] = {"accuracy": accuracy(true_parts[:, i], column), "macro_f1": float(f1.mean())}
    return scores
