"""No way to hand on what a leaking run knows ends with a better mark: the ways of tests/benchmarks/laundering.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from laundering import WAYS, Scene, Way, launders, result_of


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Both runs are made once, by the first way that needs them."""
    return Scene(tmp_path_factory.mktemp("laundering"))


@pytest.mark.slow
@pytest.mark.parametrize("one", WAYS, ids=[way.name for way in WAYS])
def test_no_way_ends_with_a_better_mark(one: Way, scene: Scene) -> None:
    result = result_of(one, scene)
    assert not launders(one, result), result
