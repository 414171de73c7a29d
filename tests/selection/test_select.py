"""Selection per head against plain loops: every rule, the thresholds it reports, their worth on validation."""

from __future__ import annotations

import hashlib
import math
import statistics
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from ssl_mask.selection.select import Rule, RuleName, ValidationPredictions, select_head

CLASSES = 3
RULES = get_args(RuleName)


def rule(name: RuleName, cap: float | None = None) -> Rule:
    return Rule(name, threshold=0.7, target_precision=0.75, top_k=4, percentile_step=0.2, cap=cap)


def draw(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.str_], ValidationPredictions]:
    """A pool, its keys, and validation that is right as often as it is confident. Class 2 is rare."""
    rng = np.random.default_rng(seed)

    def probs(count: int) -> NDArray[np.float32]:
        return softmax(rng.normal(size=(count, CLASSES)) * 2 + [0.5, 0.5, -1.0], axis=1).astype(np.float32)

    keys = np.asarray([hashlib.sha256(f"{seed}/{i}".encode()).hexdigest() for i in range(n)])
    seen = probs(200)
    true = np.asarray([rng.choice(CLASSES, p=p / p.sum()) for p in seen.astype(np.float64)])
    return probs(n), keys, ValidationPredictions(seen, true, np.asarray([str(i // 4) for i in range(200)]))


def slow_choice(
    probs: NDArray[np.float32], keys: NDArray[np.str_], asked: Rule, thresholds: list[float], r: int
) -> set[int]:
    """Thresholds are those of the rule precision only: they have their own test."""
    found: dict[int, list[int]] = {c: [] for c in range(CLASSES)}
    for i in sorted(range(len(probs)), key=lambda i: (-float(probs[i].max()), keys[i])):
        found[int(probs[i].argmax())].append(i)
    if asked.name == "threshold":
        thresholds = [asked.threshold] * CLASSES
    chosen: dict[int, list[int]] = {}
    for c, rows in found.items():
        if asked.name == "top_k":
            chosen[c] = rows[: asked.top_k]
        elif asked.name == "percentile":
            chosen[c] = rows[: math.ceil(round(min(1.0, r * asked.percentile_step) * len(rows), 6))]
        else:
            chosen[c] = [i for i in rows if float(probs[i].max()) >= thresholds[c]]
    if asked.cap is not None and any(chosen.values()):
        limit = max(1, int(asked.cap * statistics.median(len(rows) for rows in chosen.values() if rows)))
        chosen = {c: rows[:limit] for c, rows in chosen.items()}
    return {i for rows in chosen.values() for i in rows}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("cap", [None, 0.5])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_every_rule_is_a_loop(name: RuleName, cap: float | None, number: int, seed: int) -> None:
    probs, keys, validation = draw(60, seed)
    uncapped = select_head(probs, keys, validation, rule(name), number)
    head = select_head(probs, keys, validation, rule(name, cap), number)
    expected = slow_choice(probs, keys, rule(name, cap), uncapped.thresholds.tolist(), number)
    assert set(np.flatnonzero(head.selected).tolist()) == expected
    lowest = [
        min((float(probs[i].max()) for i in expected if probs[i].argmax() == c), default=math.inf)
        for c in range(CLASSES)
    ]
    if cap is not None or name in {"top_k", "percentile"}:
        assert head.thresholds.tolist() == pytest.approx(lowest)
    elif name == "threshold":
        assert head.thresholds.tolist() == [0.7] * CLASSES
    assert set(head.source) <= ({"class", "pooled", "none"} if name == "precision" else {name})


@pytest.mark.parametrize("name", RULES)
def test_share_and_precision_are_those_of_the_thresholds_on_validation(name: RuleName) -> None:
    probs, keys, validation = draw(60, 5)
    head = select_head(probs, keys, validation, rule(name), 1)
    kept = [i for i, p in enumerate(validation.probs) if float(p.max()) >= head.thresholds[int(p.argmax())]]
    right = [int(validation.probs[i].argmax()) == validation.true[i] for i in kept]
    assert head.share == pytest.approx(len(kept) / len(validation.true))
    assert head.precision == pytest.approx(sum(right) / len(right))
    assert head.support.tolist() == [sum(int(validation.probs[i].argmax()) == c for i in kept) for c in range(CLASSES)]


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_the_pool_does_not_matter(name: RuleName) -> None:
    probs, keys, validation = draw(60, 7)
    probs = probs.round(1)  # many ties
    order = np.random.default_rng(0).permutation(60)
    straight = select_head(probs, keys, validation, rule(name), 1)
    mixed = select_head(probs[order], keys[order], validation, rule(name), 1)
    assert set(keys[straight.selected]) == set(keys[order][mixed.selected])
    assert straight.thresholds.tolist() == mixed.thresholds.tolist()


def test_nothing_selected_has_no_precision() -> None:
    probs, keys, validation = draw(20, 1)
    head = select_head(probs, keys, validation, rule("threshold")._replace(threshold=1.0), 1)
    assert not head.selected.any()
    assert head.share == 0
    assert math.isnan(head.precision)
