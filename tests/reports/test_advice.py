"""Commands that a page tells people to run next read the data set as it was read for the page."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import DataConfig, load_config, parse_assignments
from ssl_mask.reports.html.advice import READING, data_flags, train_corrected


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"layout": "table", "options": {"labels": ["kind", "cover"], "group_regex": r"p\d+ 'x'", "image": "yes"}},
        {"corrections": Path("to do/null"), "extra_labels": (Path("a,b.csv"), Path("c.csv")), "on_bad": "skip"},
        {
            "corrections": Path("null"),
            "folds": 3,
            "split_seed": 7,
            "depth": 12,
            "resize": "pad",
            "given_split": "ignore",
        },
        {"options": {"label": 'say "no": {#}'}, "outside_root": "allow", "max_pixels": 9, "resize": "pad"},
    ],
)
def test_the_flags_give_the_same_settings_back(given: dict[str, Any]) -> None:
    data = DataConfig(root=Path("my data/$HOME"), **given)
    words = shlex.split(data_flags(data))
    assert words[:2] == ["--data", "my data/$HOME"] and set(words[2::2]) <= {"--set"}
    again = load_config(parse_assignments(words[3::2]), {"data": {"root": words[1]}}, preset="laptop").data
    assert {key: getattr(again, key) for key in READING} == {key: getattr(data, key) for key in READING}
    assert len(words[2::2]) == len(given)  # what is as usual is not said


def test_a_new_file_of_corrections_takes_the_place_of_an_earlier_one() -> None:
    data = DataConfig(root=Path("pets"), layout="table", corrections=Path("old.csv"))
    wanted = "sslmask train --data pets --set data.layout=table --set data.corrections=corrections.csv"
    assert train_corrected(data) == wanted


def test_settings_that_are_as_usual_are_not_said() -> None:
    assert data_flags(DataConfig(root=Path("faces"))) == "--data faces"
    assert data_flags(DataConfig(root=Path("pets"), layout="table")) == "--data pets --set data.layout=table"
