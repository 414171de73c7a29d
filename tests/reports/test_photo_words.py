"""What the page of `sslmask demo --app` says, word by word where it warns."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_mask.guard.provenance import Provenance
from ssl_mask.guard.status import Mark
from ssl_mask.reports.photo_words import answer_words, neighbour_words, percent, problem_words, run_words

JOINT = {"cloth/male": 0.62, "none/male": 0.38}
FACTORS = {"mask": {"cloth": 0.7, "none": 0.3}, "gender": {"male": 0.999, "female": 0.001}}
NEW = Provenance("photos-clean", "", {}, ())


def words(seen: Provenance = NEW, p: float | None = None, factors: Any = FACTORS) -> str:
    return answer_words(JOINT, factors, seen, p, 0.1)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.0, "above 99 %"),
        (0.991, "above 99 %"),
        (0.99, "99 %"),
        (0.5, "50 %"),
        (0.01, "1 %"),
        (0.005, "below 1 %"),
        (0.0, "below 1 %"),
    ],
)
def test_an_estimate_is_never_certain(share: float, said: str) -> None:
    assert percent(share) == said


def test_the_class_first_and_each_factor_where_there_are_several() -> None:
    assert "<b>cloth/male</b>: 62 % sure. Each by itself: mask cloth 70 %, gender male above 99 %." in words()
    assert "Each by itself" not in words(factors={"mask": FACTORS["mask"]})


def test_up_to_the_rate_a_photo_is_unlike_training() -> None:
    assert "Unlike anything in training" in words(p=0.1) and "Do not rely on the answer" in words(p=0.02)
    assert "Not unusual: 11 % of photos" in words(p=0.11) and "Unlike" not in words(p=0.11)
    assert "nusual" not in words() and "Unlike" not in words()


def test_what_the_run_has_seen_is_a_warning() -> None:
    assert "The run has not seen this photo; whether it has seen this person cannot be known." in words()
    seen = words(Provenance("photos-clean", "", {"a.jpg": "equal to b.jpg"}, (), {"a.jpg": "like c.jpg"}))
    assert "⚠ <b>The run has seen this photo</b>: equal to b.jpg." in seen and "not seen" not in seen
    assert "<b>The run may have seen this photo</b>: like c.jpg." in words(
        Provenance("photos-clean", "", {}, (), {"a.jpg": "like c.jpg"})
    )
    unknown = words(Provenance("not-checked", "", {}, ("no record", "no list")))
    assert "was not checked (no record; no list)" in unknown and "not seen" not in unknown


def test_names_of_strangers_are_text() -> None:
    bad = "<script>\u202e\n"
    said = [
        run_words(bad, 3, None, Mark("group-clean", bad), bad), neighbour_words(0.5, ("a",), "p"),
        problem_words(bad, bad),
        answer_words(
            {bad: 1.0}, {bad: {bad: 1.0}, "b": {bad: 1.0}}, Provenance("photos-clean", "", {bad: bad}, ()), 0.5, 0.1
        ),
    ]  # fmt: skip
    assert "<script" not in "".join(said) and "\u202e" not in "".join(said) and "\n" not in "".join(said)


def test_a_run_and_a_neighbour_in_words() -> None:
    said = run_words("one", 42, 6, Mark("group-clean", ""), "too few.")
    assert (
        "<b>one</b> was trained on 42 photos of 6 persons (groups). Leakage of its score: <b>group-clean</b>." in said
    )
    assert "cannot be told: too few." in said
    assert "42 photos." in run_words("one", 42, None, Mark("group-clean", ""), "")
    assert neighbour_words(0.987, ("cloth", "male"), "p1") == "0.99 · cloth/male · p1"
    assert neighbour_words(0.987, ("cloth", "male"), "") == "0.99 · cloth/male"
