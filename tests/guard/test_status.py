"""The lattice of statuses against its order written out."""

from __future__ import annotations

from itertools import permutations, product

from ssl_mask.guard.status import LATTICE, Status, merge, status_for, worst

ORDER: tuple[Status, ...] = ("clean", "not-checked", "transductive-val", "transductive-test", "leaked-declared")


def test_worst_wins_for_every_pair() -> None:
    assert LATTICE == ORDER
    for (i, a), (j, b) in product(enumerate(ORDER), repeat=2):
        assert worst(a, b) == ORDER[max(i, j)]
    assert worst() == "clean"


def test_worst_does_not_care_how_it_is_grouped() -> None:
    for a, b, c in permutations(ORDER, 3):
        assert worst(worst(a, b), c) == worst(a, worst(b, c)) == worst(a, b, c)
        assert worst(a, a) == a


def test_a_pool_that_nobody_compared_is_not_checked() -> None:
    assert status_for({"one": "clean"}, "one") == "clean"
    assert status_for({"one": "clean"}, "two") == "not-checked"


def test_marks_of_several_things_merge_pool_by_pool() -> None:
    first: dict[str, Status] = {"a": "clean", "b": "transductive-test", "c": "clean"}
    second: dict[str, Status] = {"a": "clean", "b": "leaked-declared"}
    merged = merge(first, second)
    assert merged == {"a": "clean", "b": "leaked-declared", "c": "not-checked"}  # the second knows nothing of c
    assert merge(second, first) == merged
    assert merge(first) == first and merge() == {}
