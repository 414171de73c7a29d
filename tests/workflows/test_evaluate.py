"""Scores of a prediction file against scikit-learn and hand counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.workflows.evaluate import evaluate

SCHEMA = LabelSchema((Factor("shape", ("round", "square", "star")), Factor("size", ("small", "big"))))


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def pairs() -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, 80)
    return true.tolist(), np.where(rng.random(80) < 0.6, true, rng.integers(0, 6, 80)).tolist()


def test_scores_equal_scikit_learn(tmp_path: Path, pairs: tuple[list[int], list[int]]) -> None:
    true, predicted = pairs
    answers = write(tmp_path / "a.csv", "ImageID,ans", [f"{i}.jpg,{c}" for i, c in enumerate(true)])
    # Another order of rows: images are matched by name.
    given = write(tmp_path / "p.csv", "ImageID,ans", [f"{i}.jpg,{predicted[i]}" for i in reversed(range(80))])
    scores = evaluate(answers, given, SCHEMA)
    assert scores.macro_f1.value == pytest.approx(f1_score(true, predicted, average="macro"))
    assert scores.accuracy.value == pytest.approx(accuracy_score(true, predicted))
    shapes = [[c // 2 for c in column] for column in pairs]
    assert scores.factors["shape"]["macro_f1"] == pytest.approx(f1_score(*shapes, average="macro"))
    each = f1_score(true, predicted, average=None)
    assert [f for f, _ in scores.classes.values()] == pytest.approx(list(each))
    assert [n for _, n in scores.classes.values()] == np.bincount(true, minlength=6).tolist()
    assert not scores.grouped
    assert scores.path.is_file()


def test_groups_widen_the_interval(tmp_path: Path, pairs: tuple[list[int], list[int]]) -> None:
    true, predicted = ([c for c in column[:20] for _ in range(4)] for column in pairs)
    plain = write(tmp_path / "a.csv", "ImageID,ans", [f"{i},{c}" for i, c in enumerate(true)])
    grouped = write(tmp_path / "g.csv", "ImageID,ans,group", [f"{i},{c},person{i // 4}" for i, c in enumerate(true)])
    given = write(tmp_path / "p.csv", "ImageID,ans", [f"{i},{c}" for i, c in enumerate(predicted)])
    by_image, by_group = evaluate(plain, given, SCHEMA).accuracy, evaluate(grouped, given, SCHEMA).accuracy
    assert by_group.high - by_group.low > 1.5 * (by_image.high - by_image.low)


def test_names_a_column_a_factor_and_empty_answers(tmp_path: Path) -> None:
    answers = write(tmp_path / "a.csv", "image,shape,size", ["a,round,small", "b,star,big", "c,star,big"])
    given = write(tmp_path / "p.csv", "image,shape,size", ["a,round,small", "b,,", "c,star,small"])
    scores = evaluate(answers, given, SCHEMA)
    assert scores.empty == 1
    assert scores.accuracy.value == pytest.approx(1 / 3)
    assert scores.factors["shape"]["accuracy"] == pytest.approx(2 / 3)
    assert scores.classes["star/big"] == (0.0, 2)


@pytest.mark.parametrize(
    ("answers", "given", "message"),
    [
        (["a,0", "b,1"], ["a,0"], "no prediction for 1 images"),
        (["a,0"], ["a,0", "b,1"], "no answer for 1 images"),
        (["a,6"], ["a,0"], r"a\.csv:2: answer '6' is not a class"),
        (["a,x"], ["a,0"], "answer 'x' is not a class"),
        (["a,0", "a,1"], ["a,0"], "a stands twice"),
        ([], ["a,0"], "has no rows"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, answers: list[str], given: list[str], message: str) -> None:
    a, p = write(tmp_path / "a.csv", "ImageID,ans", answers), write(tmp_path / "p.csv", "ImageID,ans", given)
    with pytest.raises(DataError, match=message):
        evaluate(a, p, SCHEMA)
