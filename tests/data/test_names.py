"""Names as a reader sees them: Unicode forms, words for splits, one order of classes."""

from __future__ import annotations

import math
import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_mask.data.names import SPLIT_WORDS, alike, class_order, is_never_a_class, plain, split_of, split_of_folder

ODD = ["1", "01", "1.0", "1e0", "nan", "NaN", "inf", "-inf", "1_0", "", "٣", "1e999", "-0", "0", "+1", "1.", ".5"]
NAMES = st.one_of(st.sampled_from(ODD), st.integers().map(str), st.floats().map(str), st.text(max_size=5))


def before(a: str, b: str) -> bool:
    """A slow comparison, written anew: numbers before words, by value, then by text."""
    values: list[float | None] = []
    for name in (a, b):
        try:
            value = float(name) if set(name) <= set("0123456789.eE+-") else math.nan
        except ValueError:
            value = math.nan
        values.append(value if math.isfinite(value) else None)
    first, second = values
    if first is None or second is None:
        return a < b if first is second else first is not None
    return a < b if first == second else first < second


@given(st.lists(NAMES, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_classes_is_total_and_does_not_depend_on_the_input(
    names: list[str], shuffler: random.Random
) -> None:
    made = sorted(names, key=class_order)
    assert all(before(a, b) and not before(b, a) for i, a in enumerate(made) for b in made[i + 1 :])
    shuffler.shuffle(names)
    assert sorted(names, key=class_order) == made
    assert sorted(set(names), key=class_order) == made


@given(st.text(max_size=10))
def test_all_unicode_forms_of_a_name_are_one_name(name: str) -> None:
    forms = {unicodedata.normalize(form, f" {name} ") for form in ("NFC", "NFD")}
    assert len({plain(f) for f in forms}) == len({alike(f) for f in forms}) == 1
    assert plain(plain(name)) == plain(name) and alike(alike(name)) == alike(name)


@pytest.mark.parametrize("word", SPLIT_WORDS)
def test_split_words_in_any_case(word: str) -> None:
    for form in (word, word.upper(), word.title(), f" {word} "):
        assert split_of(form) == split_of_folder(form) == SPLIT_WORDS[word] and is_never_a_class(form)
    for form in (f"{word}_images", f"Images {word}", f"{word}set", f"{word.title()}-JPG", f"data.{word}"):
        assert split_of_folder(form) == SPLIT_WORDS[word] and split_of(form) is None


@pytest.mark.parametrize(
    "name", ["trainers", "test_tube", "pool table", "devil", "extra large", "valve", "data", "images", "1"]
)
def test_names_that_only_hold_such_a_word_are_classes(name: str) -> None:
    assert split_of_folder(name) is None and not is_never_a_class(name)
