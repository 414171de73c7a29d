"""How strange images are, against slow loops and scikit-learn, and which score is chosen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.unknown import (
    ENERGY,
    MOST_CLASSES,
    PROBABILITY,
    Strangeness,
    auroc,
    cells_of,
    choose_score,
    held_out_classes,
    logit_scores,
    mean_auroc,
    targets,
)  # fmt: skip


@pytest.mark.parametrize("without", [None, 0, 2])
def test_probability_and_energy_are_those_of_a_slow_loop(without: int | None) -> None:
    """Six cells of three classes, as a joint head has them; the cells of a class that is left out are not there."""
    rng, class_of = np.random.default_rng(0), np.asarray([0, 1, 2, 0, 1, 2])
    logits = rng.normal(0, 5, (4, 6)).astype(np.float32)
    found = logit_scores(logits, class_of, without)
    for row in range(4):
        cells = [(float(z), int(c)) for z, c in zip(logits[row], class_of, strict=True) if c != without]
        total = sum(math.exp(z) for z, _ in cells)
        probs = [sum(math.exp(z) for z, own in cells if own == c) / total for c in range(3)]
        assert found[PROBABILITY][row] == pytest.approx(1 - max(probs), abs=1e-9)
        assert found[ENERGY][row] == pytest.approx(-math.log(total))
    huge = logit_scores(np.asarray([[1000.0, 0.0]]), np.arange(2))
    assert (huge[PROBABILITY][0], huge[ENERGY][0]) == (0, -1000)


SCHEMA = LabelSchema((Factor("shape", ("round", "square")), Factor("colour", ("red", "green", "blue"))))


def test_the_logits_of_a_factor_and_of_all() -> None:
    """One head a factor and one joint head that says the same have equal probabilities; energies of heads add up."""
    rng = np.random.default_rng(2)
    heads = {"shape": rng.normal(size=(4, 2)), "colour": rng.normal(size=(4, 3))}
    joint = {"joint": np.asarray([[s + c for s in heads["shape"][i] for c in heads["colour"][i]] for i in range(4)])}
    assert targets(SCHEMA) == ("", "shape", "colour") and targets(LabelSchema(SCHEMA.factors[:1])) == ("",)
    found = {(name, t): cells_of(z, SCHEMA, t) for name, z in (("h", heads), ("j", joint)) for t in targets(SCHEMA)}
    for target in targets(SCHEMA):
        for without in (None, 1):
            one, other = (logit_scores(*found[name, target], without)[PROBABILITY] for name in "hj")
            np.testing.assert_allclose(one, other)
    energy = {key: logit_scores(*cells)[ENERGY] for key, cells in found.items()}
    np.testing.assert_allclose(energy["h", ""], energy["h", "shape"] + energy["h", "colour"])
    np.testing.assert_allclose(energy["h", ""], energy["j", "colour"])
    assert found["j", "colour"][1].tolist() == [0, 1, 2, 0, 1, 2]


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    unknown, known = rng.integers(2, 9, 30) / 2, rng.integers(0, 7, 50) / 2
    expected = roc_auc_score(np.repeat([1, 0], [30, 50]), np.concatenate([unknown, known]))
    assert auroc(unknown, known) == pytest.approx(expected)


def judged(seed: int, good: str, bad: str, images: int = 60) -> Strangeness:
    """Three classes; `good` tells each from the others, `bad` only guesses."""
    rng = np.random.default_rng(seed)
    true, group = rng.integers(0, 3, images), np.arange(images).astype(str)
    without = {
        c: {bad: rng.normal(size=images), good: rng.normal(size=images) + 2.0 * (true == c)} for c in range(3)
    }  # fmt: skip
    whole = {bad: rng.normal(size=images), good: rng.normal(size=images)}
    names = np.char.add(f"{seed}-", group)
    return Strangeness(whole, without, true, names)


def test_the_score_that_tells_classes_apart_is_chosen() -> None:
    seen = [judged(0, ENERGY, PROBABILITY), judged(1, ENERGY, PROBABILITY)]
    found = choose_score(seen, 0.1)
    assert found.score == ENERGY and found.auroc[ENERGY] > 0.85 and 0.4 < found.auroc[PROBABILITY] < 0.6
    assert found.judged.score.tolist() == [s for m in seen for s in m.whole[ENERGY].tolist()]
    assert found.false_alarms.low < 0.1 < found.false_alarms.high
    for name in (ENERGY, PROBABILITY):
        means = []
        for c in range(3):
            told = [roc_auc_score(m.true == c, m.without[c][name]) for m in seen]
            images = [(m.true == c).sum() for m in seen]
            means.append(sum(t * n for t, n in zip(told, images, strict=True)) / sum(images))
        assert mean_auroc(seen, name) == pytest.approx(sum(means) / 3)


def test_false_alarms_are_counted_on_other_folds() -> None:
    """A fold whose images are all stranger than those of the other is marked as a whole."""
    seen = [judged(0, ENERGY, PROBABILITY), judged(1, ENERGY, PROBABILITY)]
    stranger = {name: score + 100 for name, score in seen[1].whole.items()}
    shifted = Strangeness(stranger, seen[1].without, seen[1].true, seen[1].group)
    assert choose_score([seen[0], shifted], 0.1).false_alarms.value == 0.5


def test_one_class_tells_nothing_and_many_are_bounded() -> None:
    assert held_out_classes(np.zeros(5, np.int64)) == []
    assert held_out_classes(np.asarray([2, 0, 2])) == [0, 2]
    many = np.concatenate([np.arange(MOST_CLASSES + 10), np.arange(10, MOST_CLASSES + 10)])
    assert held_out_classes(many) == list(range(10, MOST_CLASSES + 10))
    seen = judged(0, ENERGY, PROBABILITY)
    with pytest.raises(DataError, match="are of one class"):
        choose_score([Strangeness(seen.whole, {}, np.zeros_like(seen.true), seen.group)], 0.1)
