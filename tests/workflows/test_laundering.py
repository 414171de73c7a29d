"""No way to hand on what a leaking run knows ends with a better mark: the ways of tests/benchmarks/laundering.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from laundering import WAYS, Scene, Way, labels, launders, result_of

ALWAYS = {
    "model.weights = its checkpoint",
    "model.weights = its tensors without a header",
    "its checkpoint in the folder of an honest run",
    "an honest run is resumed from its state",
    "predictions: verdict edited, digest emptied",
    "predictions: verdict edited, another run's entry",
    "predictions: verdict edited, images that are not there",
}
"""The others are tried with the slow tests."""


def tried() -> list[Any]:
    assert {way.name for way in WAYS} >= ALWAYS
    return [pytest.param(way, id=way.name, marks=() if way.name in ALWAYS else pytest.mark.slow) for way in WAYS]


@pytest.fixture(scope="module")
def scene(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Both runs are made once, by the first way that needs them."""
    return Scene(tmp_path_factory.mktemp("laundering"), drawn)


@pytest.mark.slow
def test_what_is_honest_passes(scene: Scene) -> None:
    """Pseudo-labels by, and weights of, a run with the same validation images need no declaration."""
    assert scene.train(**labels(scene.rounds["honest"].pseudo_labels)).status().leakage == "photos-clean"
    assert scene.train(init_from=str(scene.honest.path)).status().leakage == "photos-clean"


@pytest.mark.parametrize("one", tried())
def test_no_way_ends_with_a_better_mark(one: Way, scene: Scene) -> None:
    result = result_of(one, scene)
    assert not launders(one, result), result
