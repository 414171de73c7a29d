"""How strange an image is to a model: three scores, and which of them tells unknown classes best.

| score | the higher, the stranger | |
| --- | --- | --- |
| maximum probability | 1 − max_c p(c) | Hendrycks & Gimpel 2017 |
| energy | −log Σ_c exp z_c, of calibrated logits | Liu et al. 2020 |
| k-th neighbour | 1 − cosine to the k-th nearest training group | Sun et al. 2022 |

Each class in turn is treated as unknown: its logits and its training images are left out, and the AUROC says how well
its images are told from the others. The network was trained with the class, so this is no more than a comparison of
scores; on a class that it has never seen all three may do worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.conformal import Judged, held_out_p_values, share
from ssl_mask.evaluation.metrics import Interval

Scores = Mapping[str, NDArray[np.floating[Any]]]
"""Name of a score -> (n,)."""
PROBABILITY, ENERGY = "maximum probability", "energy"
COUNTS = (1, 5, 20)
"""Training groups: the k-th nearest counts."""
MOST_CLASSES = 50
"""So many classes are treated as unknown; of more, the most frequent."""


WHOLE = ""
"""All factors together, in the place of the name of one."""


def targets(schema: LabelSchema) -> tuple[str, ...]:
    """What may be unknown: the classes of all factors together and, of several factors, those of each."""
    return (WHOLE, *schema.sizes) if len(schema.sizes) > 1 else (WHOLE,)


def neighbour(k: int) -> str:
    """The name of a score."""
    return f"neighbour {k}"


@dataclass(frozen=True)
class Strangeness:
    """What one model says of labeled images of groups that it was not trained on."""

    whole: Scores
    """With all classes."""
    without: Mapping[int, Scores]
    """Class -> scores as if it were unknown, of all images."""
    true: NDArray[np.int64]
    group: NDArray[np.str_]


@dataclass(frozen=True)
class ScoreChoice:
    """The score that tells unknown classes best, and what a threshold on it does to known ones."""

    score: str
    auroc: Mapping[str, float]
    """Of each score, averaged over classes that are treated as unknown."""
    false_alarms: Interval
    """Share of images of known classes that are marked, with thresholds from other folds."""
    judged: Judged
    """By the score that was chosen."""


def cells_of(
    logits: Mapping[str, NDArray[np.floating[Any]]], schema: LabelSchema, target: str
) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
    """The logits that say something of a target, and the class that each belongs to, as `logit_scores` takes them.

    A head of its own speaks for a factor alone. All factors together have the sums of the logits of their heads; then
    the energy of all is the sum of the energies.

    Args:
        logits: (n, classes) of a head for each factor, or of one head for the joint classes.
    """
    if target in logits and logits.keys() == schema.sizes.keys():
        return logits[target], np.arange(schema.sizes[target])
    if logits.keys() == schema.sizes.keys():
        joint, *rest = (logits[name] for name in schema.sizes)
        for head in rest:
            joint = (joint[:, :, None] + head[:, None, :]).reshape(len(joint), -1)
    else:
        (joint,) = logits.values()
    cells = np.arange(joint.shape[1])
    return joint, schema.part(cells)[:, list(schema.sizes).index(target)] if target else cells


def logit_scores(
    logits: NDArray[np.floating[Any]], class_of: NDArray[np.int64], without: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """Maximum probability and energy.

    Args:
        logits: (n, cells) calibrated.
        class_of: (cells,) the class that a cell belongs to; the probability of a class is the sum of its cells.
        without: a class whose cells are left out, so that the others share its probability.
    """
    kept = class_of != without if without is not None else np.ones(len(class_of), np.bool_)
    z, own = logits[:, kept].astype(np.float64), class_of[kept]
    top = z.max(axis=1, keepdims=True)
    raised = np.exp(z - top)
    classes = np.stack([raised[:, own == c].sum(axis=1) for c in np.unique(own)], axis=1)
    total = raised.sum(axis=1)
    return {PROBABILITY: 1 - classes.max(axis=1) / total, ENERGY: -(top[:, 0] + np.log(total))}


def auroc(unknown: NDArray[np.floating[Any]], known: NDArray[np.floating[Any]]) -> float:
    """The chance that an unknown image has a higher score than a known one; equal scores count half. Both n > 0."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([unknown, known]))[: len(unknown)]
    return float((ranks.mean() - (len(unknown) + 1) / 2) / len(known))


def held_out_classes(true: NDArray[np.int64]) -> list[int]:
    """Classes that can be treated as unknown: they have images, and others have too; at most `MOST_CLASSES`."""
    classes, images = np.unique(true, return_counts=True)
    frequent = classes[np.argsort(-images, kind="stable")][:MOST_CLASSES]
    return sorted(frequent.tolist()) if len(classes) > 1 else []


def mean_auroc(seen: Sequence[Strangeness], name: str) -> float:
    """Of one score, averaged over classes; each model tells its own images apart, and counts by those of the class."""
    found: dict[int, list[tuple[float, int]]] = {}
    for model in seen:
        for c, scores in model.without.items():
            unknown = model.true == c
            if unknown.any() and not unknown.all():
                told = auroc(scores[name][unknown], scores[name][~unknown])
                found.setdefault(c, []).append((told, int(unknown.sum())))
    means = [np.average([a for a, _ in own], weights=[n for _, n in own]) for own in found.values()]
    return float(np.mean(means)) if means else float("nan")


def choose_score(seen: Sequence[Strangeness], rate: float) -> ScoreChoice:
    """The score of highest mean AUROC; of equal ones the first.

    Args:
        rate: share of images of known classes that may be marked, in (0, 1).

    Raises:
        DataError: all images are of one group, or of one class.
    """
    if not any(model.without for model in seen):
        raise DataError(
            "All images that can choose a score are of one class, so none can be treated as unknown.",
            hint="Leave out --unknown, or predict with a study of folds (--folds), which judges all labeled images.",
        )
    names = [name for name in seen[0].whole if all(name in model.whole for model in seen)]
    found = {name: mean_auroc(seen, name) for name in names}
    best = max(names, key=lambda name: round(found[name], 9))
    judged = Judged.joined([m.whole[best] for m in seen], [m.group for m in seen])
    marked = held_out_p_values(judged) <= rate
    return ScoreChoice(best, found, share(marked, judged.group), judged)
