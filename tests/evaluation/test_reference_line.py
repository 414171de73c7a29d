"""The reference line against scikit-learn called by hand, its sample, and tables that must be of one set of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import accuracy, paired_bootstrap
from ssl_mask.evaluation.reference import STRENGTH, against, reference_probs, sample_rows
from ssl_mask.reports import samples

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog")), Factor("size", ("s", "m", "l"))))


def made(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell of the labels: (n, 6), (n, 2)."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, 2, images), rng.integers(0, 3, images)], axis=1)
    features = 5 + 100 * rng.standard_normal((images, 6))
    features[:, 0] += 200 * labels[:, 0]
    features[:, 1] += 200 * labels[:, 1]
    return features.astype(np.float32), labels


def by_hand(train: np.ndarray, own: np.ndarray, val: np.ndarray) -> np.ndarray:
    mean, spread = train.astype(float).mean(axis=0), train.astype(float).std(axis=0)
    model = LogisticRegression(C=STRENGTH / train.shape[1], class_weight="balanced", max_iter=1000)
    return np.asarray(model.fit((train - mean) / spread, own).predict_proba((val - mean) / spread))


def test_each_head_is_scikit_learns_regression_and_heads_are_multiplied() -> None:
    (train, labels), (val, _) = made(60, 0), made(20, 1)
    kind, size = (by_hand(train, labels[:, i], val) for i in range(2))
    expected = np.einsum("na,nb->nab", kind, size).reshape(20, 6)
    probs = reference_probs(train, labels, val, SCHEMA, "factors")
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    assert probs.dtype == np.float32


def test_a_joint_head_and_classes_without_a_label() -> None:
    (train, labels), (val, _) = made(60, 0), made(20, 1)
    joint = SCHEMA.join(labels)
    kept = joint != 4
    probs = reference_probs(train[kept], labels[kept], val, SCHEMA, "joint")
    np.testing.assert_allclose(
        probs[:, [0, 1, 2, 3, 5]], by_hand(train[kept], joint[kept], val), atol=1e-5
    )  # fmt: skip
    assert (probs[:, 4] == 0).all()
    labels[:, 1] = 2
    alone = reference_probs(train, labels, val, SCHEMA, "factors")
    np.testing.assert_allclose(alone.reshape(20, 2, 3)[:, :, 2], by_hand(train, labels[:, 0], val), atol=1e-5)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    (train, labels), (val, _) = made(60, 0), made(20, 1)
    train[:, 5], val[:, 5] = 3.0, 3.0
    assert np.isfinite(reference_probs(train, labels, val, SCHEMA, "factors")).all()


def test_a_sample_has_every_class_in_proportion() -> None:
    joint = np.repeat([0, 1, 2, 3], [700, 250, 49, 1])
    joint = np.random.default_rng(3).permutation(joint)
    rows = sample_rows(joint, 100)
    assert len(rows) == len(set(rows.tolist())) == 100 and (np.diff(rows) > 0).all()
    np.testing.assert_allclose(np.bincount(joint[rows]), [70, 25, 5, 1], atol=1)
    assert (rows == sample_rows(joint, 100)).all()
    assert (sample_rows(joint, 1000) == np.arange(1000)).all()


def test_a_run_is_compared_image_by_image() -> None:
    reference = samples.predictions()
    better = replace(reference, predicted=np.where(np.arange(600) % 9, reference.predicted, reference.true))
    found = against(reference, [better, reference])
    expected = paired_bootstrap(
        reference.true, np.stack([reference.predicted] * 2), np.stack([better.predicted, reference.predicted]),
        reference.group, 18,
    )  # fmt: skip
    assert found.difference == expected and found.difference["macro_f1"].low > 0
    gain = (accuracy(better.true, better.predicted) - accuracy(reference.true, reference.predicted)) / 2
    assert found.difference["accuracy"].value == pytest.approx(gain)
    with pytest.raises(DataError, match="not of the same images"):
        against(reference, [replace(better, sha256=better.sha256[::-1])])
