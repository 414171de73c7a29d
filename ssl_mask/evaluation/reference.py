"""The reference line of a run: logistic regression on what the frozen backbone says of the images.

It trains nothing of the network and takes seconds. A run that does not beat it has learned nothing that the pretrained
network did not know already (Zhang et al., NeurIPS 2025, arXiv 2503.09707: such probes are strong with few labels).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import Interval, bootstrap, paired_bootstrap

Features = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

STRENGTH = 4.0
"""C of the regression is this over the number of features: so much counts a label against the penalty Σw²/2.

Chosen once, by 5-fold cross-validation by group on training labels, with the embedded backbone (1280 features), where C
is 0.003: mask18 (300 persons) macro-F1 0.395, 0.421, 0.423, 0.423 and log-loss 1.51, 1.39, 1.41, 1.60 at C 0.0003,
0.001, 0.003, 0.01; cifar10 (500 labels) 0.522, 0.549, 0.575, 0.571 and 1.74, 1.45, 1.31, 1.28. Classes that count
equally (balanced) were better on mask18: 0.336 against 0.276 with the labels of 75 persons, and equal on cifar10.
"""
MOST_STEPS = 1000


def reference_probs(
    train: Features, labels: Labels, val: Features, schema: LabelSchema, target: str
) -> NDArray[np.float32]:
    """Fit multinomial logistic regression per head on standardised features; predict other images.

    Args:
        train: (n, d) features of the labeled images.
        labels: (n, factors) class indices.
        val: (m, d) features of the images to predict.
        target: `factors` or `joint`: the heads of the model.

    Returns:
        (m, joint classes) probabilities; with several heads their product. A class without a label has probability 0.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.astype(np.float64))
    seen, asked = scaler.transform(train), scaler.transform(val)
    columns = schema.head_labels(labels, target).T
    heads = schema.heads(target)
    parts = {h: _head_probs(seen, own, asked, n) for (h, n), own in zip(heads.items(), columns, strict=True)}
    return schema.product(parts)


def _head_probs(seen: Features, labels: Labels, asked: Features, classes: int) -> NDArray[np.float64]:
    """(m, classes) probabilities of one head."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    probs = np.zeros((len(asked), classes))
    found = np.unique(labels)
    if len(found) == 1:
        probs[:, found[0]] = 1.0
        return probs
    model = LogisticRegression(C=STRENGTH / seen.shape[1], class_weight="balanced", max_iter=MOST_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what it has then is a reference, too
        model.fit(seen, labels)
    probs[:, model.classes_] = model.predict_proba(asked)
    return probs


def sample_rows(joint: Labels, most: int) -> NDArray[np.int64]:
    """At most so many positions of (n,) joint classes, each class in proportion and at least once, in order.

    Drawn with a generator of its own: the same labels give the same sample.
    """
    if len(joint) <= most:
        return np.arange(len(joint))
    order = np.random.default_rng(0).permutation(len(joint))
    shuffled = joint[order]
    by_class = np.argsort(shuffled, kind="stable")
    counts = np.bincount(shuffled)
    rank = np.empty(len(joint))
    rank[by_class] = np.arange(len(joint)) - (np.cumsum(counts) - counts)[shuffled[by_class]]
    first = np.argsort(rank / counts[shuffled], kind="stable")[:most]
    return np.sort(order[first])


class Against(NamedTuple):
    """A run, or the mean of several, against its reference."""

    reference: dict[str, Interval]
    """`macro_f1` and `accuracy` of the reference."""
    difference: dict[str, Interval]
    """Of the run less the reference, paired by group."""


def against(reference: PredictionTable, runs: Sequence[PredictionTable]) -> Against:
    """Compare predictions of the same images.

    Args:
        runs: one table, or one per seed: their scores are averaged.

    Raises:
        DataError: the tables are not of the same images.
    """
    for run in runs:
        same = np.array_equal(reference.sha256, run.sha256) and np.array_equal(reference.true, run.true)
        if not same:
            raise DataError(
                "The reference predictions are not of the same images as those of the run.",
                hint="Delete reference.parquet and reference.json of the run, and resume it.",
            )
    true, group, classes = reference.true, reference.group, len(reference.classes)
    first = np.stack([reference.predicted] * len(runs))
    second = np.stack([run.predicted for run in runs])
    return Against(
        bootstrap(true, reference.predicted, group, classes), paired_bootstrap(true, first, second, group, classes)
    )
