"""The lattice of statuses against its order written out."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from ssl_mask.guard.status import LATTICE, Mark, worst, worst_mark
from ssl_mask.runs.records import LeakageStatus

ORDER: tuple[LeakageStatus, ...] = (
    "clean",
    "photos-clean",
    "not-checked",
    "transductive-val",
    "transductive-test",
    "leaked-declared",
)


def test_worst_wins_for_every_pair() -> None:
    assert LATTICE == ORDER
    for (i, a), (j, b) in product(enumerate(ORDER), repeat=2):
        assert worst(a, b) == ORDER[max(i, j)]
    assert worst() == "clean"


def test_worst_does_not_care_how_it_is_grouped() -> None:
    for a, b, c in permutations(ORDER, 3):
        assert worst(worst(a, b), c) == worst(a, worst(b, c)) == worst(a, b, c)
        assert worst(a, a) == a


def test_the_first_of_the_worst_marks_gives_the_reason() -> None:
    marks = [Mark("clean", "a"), Mark("not-checked", "b"), Mark("photos-clean", "c"), Mark("not-checked", "d")]
    assert worst_mark(marks) == Mark("not-checked", "b")
    assert worst_mark(iter(marks)).sentence == "not-checked (b)"
    with pytest.raises(ValueError, match="empty"):
        worst_mark([])
