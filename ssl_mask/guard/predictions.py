"""Before predictions are scored: are they those that were made, by these weights, and were the images seen?

`predictions.provenance.json` claims which runs and studies predicted which images, and how clean they are. A claim
makes a mark worse, never better: the images are compared anew with all that the runs have seen, and some of them are
predicted again. Where runs or images are not there any more, nobody can say, and the mark is at best `not-checked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.names import plain
from ssl_mask.data.predictions import PredictionTable, predicted_class, read_predictions
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, MismatchError
from ssl_mask.guard.exported import source_model
from ssl_mask.guard.findings import content_digest
from ssl_mask.guard.provenance import AnySource, Provenance, checked_sources, provenance_of, unchecked
from ssl_mask.guard.status import Mark, worst_mark
from ssl_mask.runs.predicted import ExportedFile, PredictedRecord, PredictedSource, read_predicted
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source, find_source

AGAIN = "Predict again: sslmask predict --run …"
SAMPLE = 32
"""So many images are predicted again."""
FARTHEST, USUAL = 0.3, 0.08
"""The probabilities of an image may differ by so much (half the sum of the differences), those of half of the images by
so much: GPUs compute with fewer digits. Of 32 faces with unsure heads, bfloat16 and float32 are 0.17 and 0.04 apart,
two networks 0.72 and 0.60."""

PredictAgain = Callable[[Sequence[Source], Sequence[float], Manifest, bool, int | None], NDArray[np.float32]]
"""(n, classes) probabilities of some images by the weighted mean of some runs and studies, with mirrored views or
without, and a limit of pixels or the runs' own."""


def refuse_changed(predictions: Path) -> PredictedRecord | None:
    """What is claimed of predictions; None where nothing is.

    Raises:
        DataError: the claim is damaged.
        MismatchError: the CSV is not the one it is about.
    """
    claim = read_predicted(predictions)
    if claim is not None and file_digest(predictions) != claim.predictions.sha256:
        raise MismatchError(f"{predictions} has changed since it was predicted.", hint=AGAIN)
    return claim


def provenance_of_predictions(
    predictions: Path, claim: PredictedRecord | None, answers: Mapping[str, int], again: PredictAgain
) -> tuple[Provenance, set[str]]:
    """How far a score of these predictions can be trusted, and the names of the images that training has seen.

    Args:
        claim: as `refuse_changed` returns it.
        answers: name -> joint class of each prediction, -1 for an empty one.
        again: predicts.

    Raises:
        DataError: probabilities.parquet is damaged.
        MismatchError: probabilities, a checkpoint or the images are not those that are claimed.
    """
    if claim is None:
        return unchecked(f"there is no predictions.provenance.json beside {predictions.name}"), set()
    then = Provenance(
        claim.leakage.verdict, claim.leakage.pool_digest, dict(claim.leakage.overlap), claim.leakage.why,
        dict(claim.leakage.review),
    )  # fmt: skip
    table = predictions.with_name("probabilities.parquet")
    if not table.is_file():
        return _no_better(then, f"there is no {table.name} beside {predictions.name}"), set()
    images = read_predictions(table, more=("unreadable",))
    _refuse_other_answers(predictions, images, answers)
    ids = dict(zip(images.path.tolist(), images.id.tolist(), strict=True))
    pool = _pool(images, claim)
    if claim.exported is not None:
        found = _provenance_of_exported(claim, claim.exported, predictions, pool, images)
        worse = _no_better(then, found) if isinstance(found, str) else _worse(found, then)
        return worse, _names(worse, ids)
    sources = [_source(each, predictions) for each in claim.sources]
    gone = [each.source for each, source in zip(claim.sources, sources, strict=True) if source is None]
    if gone:
        return _no_better(then, f"{gone[0]}, which predicted, is not there any more"), _names(then, ids)
    if reason := _lost(pool):
        return _no_better(then, reason), _names(then, ids)
    there = [source for source in sources if source is not None]
    known = [one for source in there for one in checked_sources(source)]
    now = _compared_again(known, pool, images, claim)
    if now.status in {"clean", "photos-clean"}:
        _refuse_other_probabilities(claim, there, pool, images.probs, again)
    found = _worse(now, then)
    return found, _names(found, ids)


def _provenance_of_exported(
    claim: PredictedRecord, exported: ExportedFile, predictions: Path, pool: Manifest, images: PredictionTable
) -> Provenance | str:
    """Of predictions by an exported network, or why nobody can say: it, not its runs, is what predicted.

    It is not asked again: that would need onnxruntime. Its digest says that it is the same file.

    Raises:
        MismatchError: another file is in its place, or other images.
    """
    beside = [folder / Path(exported.file).name for folder in predictions.absolute().parents[2:3]]
    file = next((path for path in (Path(exported.file), *beside) if path.is_file()), None)
    if file is None:
        return f"{exported.file}, which predicted, is not there any more"
    if file_digest(file) != exported.sha256:
        raise MismatchError(f"{file} has changed since it predicted.", hint=AGAIN)
    return _lost(pool) or _compared_again([source_model(file)], pool, images, claim)


def _lost(pool: Manifest) -> str:
    """How many of the images that were predicted are gone; "" where all are there."""
    missing = sum(bool(r.digest) and not f.is_file() for r, f in zip(pool.rows, pool.files, strict=True))
    return f"{missing} of {len(pool)} images are not in {pool.root} any more" if missing else ""


def _compared_again(
    known: Sequence[AnySource], pool: Manifest, images: PredictionTable, claim: PredictedRecord
) -> Provenance:
    """The images as they are now, against all that was seen. Raises MismatchError where they are others."""
    unknown = pool.with_digests([""] * len(pool))
    now = provenance_of(known, unknown, Console(quiet=True), max_pixels=claim.pool.max_pixels)
    if now.digest and now.digest != content_digest(images.sha256.tolist()):
        raise MismatchError(
            f"The images in {pool.root} are not those that were predicted.", hint="Restore them, or predict again."
        )
    return now


def _worse(now: Provenance, then: Provenance) -> Provenance:
    """What is found now, or the claim of then where that is worse."""
    worse = worst_mark([Mark(now.status, ""), Mark(then.status, "")]).status
    return now if worse == now.status else Provenance(worse, now.digest, now.overlap, then.why, now.review)


def _names(found: Provenance, ids: Mapping[str, str]) -> set[str]:
    return {ids[path] for path in found.overlap if path in ids}


def _no_better(then: Provenance, reason: str) -> Provenance:
    """What was found then, and at best `not-checked`."""
    mark = worst_mark([Mark("not-checked", reason), Mark(then.status, "; ".join(then.why))])
    return Provenance(mark.status, then.digest, then.overlap, (mark.reason,), then.review)


def _source(claimed: PredictedSource, predictions: Path) -> Source | None:
    """What predicted, where it was then or around its predictions; None when a part of it is not there any more.

    Raises:
        MismatchError: it has other runs or other weights now.
    """
    places = [Path(claimed.source), *predictions.absolute().parents[2:3]]
    source = next((s for s in map(_source_at, places) if s is not None), None)
    if source is None:
        return None
    again = "Predict again with the weights that are there now."
    if source.kind != claimed.kind or len(source.members) != len(claimed.runs):
        raise MismatchError(f"{source.path} has other runs than when it predicted.", hint=again)
    for run, then in zip(source.members, claimed.runs, strict=True):
        if file_digest(run.best) != then.checkpoint_sha256:
            raise MismatchError(f"{run.best} has changed since it predicted.", hint=again)
    if source.kind == "gallery" and file_digest(source.gallery.best) != claimed.gallery_sha256:
        raise MismatchError(
            f"{source.path} has other images than when it predicted.", hint="Predict again with those that it has now."
        )
    return source


def _source_at(path: Path) -> Source | None:
    """The run or the finished study in a folder, with all its weights."""
    try:
        source = find_source(path.absolute(), path.parent)
    except DataError:
        return None
    return source if all(run.best.is_file() for run in source.members) else None


def _pool(images: PredictionTable, claim: PredictedRecord) -> Manifest:
    """The images that were predicted, by where they are said to be; a readable one has its digest of then."""
    rows = tuple(
        Row(path, "", "test", path, None, digest=digest)
        for path, digest in zip(images.path.tolist(), images.sha256.tolist(), strict=True)
    )
    nothing = Submission("", (), "names")
    return Manifest(Path(claim.pool.root), "images", LabelSchema(()), rows, claim.pool.grouped, nothing)


def _refuse_other_answers(predictions: Path, images: PredictionTable, answers: Mapping[str, int]) -> None:
    """Raises MismatchError when an answer is not the most probable class."""
    names = [plain(name) for name in images.id.tolist()]
    probable = dict(zip(names, predicted_class(images.probs).tolist(), strict=True))
    for name, answer in answers.items():
        if probable.get(name) != answer:
            raise MismatchError(f"{predictions}: the answer of {name} is not that of its probabilities.", hint=AGAIN)


def _refuse_other_probabilities(
    claim: PredictedRecord, sources: Sequence[Source], pool: Manifest, probs: NDArray[np.float32], again: PredictAgain
) -> None:
    """Predict some images again. Raises MismatchError when the runs say something else of them."""
    readable = np.array([i for i, row in enumerate(pool.rows) if row.digest], np.int64)
    chosen = np.random.default_rng(int(claim.predictions.sha256[:16], 16)).permutation(readable)[:SAMPLE]
    rows = pool.with_rows(pool.rows[i]._replace(digest="") for i in chosen.tolist())
    weights, mirrored = [source.weight for source in claim.sources], "mirrored" in claim.tta
    if len(chosen) and not agree(probs[chosen], again(sources, weights, rows, mirrored, claim.pool.max_pixels)):
        raise MismatchError(
            f"{', '.join(str(source.path) for source in sources)} did not make these predictions: some images were "
            "predicted again, and the probabilities are others.",
            hint=AGAIN,
        )


def agree(then: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    """Whether two (n, classes) tables of probabilities, n > 0, can be of the same weights and images."""
    if then.shape != now.shape:
        return False
    apart = np.abs(then - now).sum(axis=1) / 2
    return bool(apart.max() <= FARTHEST and np.median(apart) <= USUAL)  # a NaN is no prediction: never
