"""Scores of a prediction file against scikit-learn and hand counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.answers import read_answers, read_groups
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
    assert [c.f1 for c in scores.classes.values()] == pytest.approx(list(each))
    assert [c.images for c in scores.classes.values()] == np.bincount(true, minlength=6).tolist()
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
    assert scores.classes["star/big"] == (0.0, 2, None)


@pytest.mark.parametrize(
    ("answers", "given", "message"),
    [
        (["a,0", "b,1"], ["a,0"], "no prediction for 1 images"),
        (["a,0"], ["a,0", "b,1"], "no answer for 1 images"),
        (["a,6"], ["a,0"], r"a\.csv:2: answer '6' is not a class"),
        (["a,x"], ["a,0"], "answer 'x' is not a class"),
        (
            ["a,0", "a,1", "b,0", "b,0", "b,0"],
            ["a,0"],
            r"2 images are there more than once, such as a \(.*:2 and .*:3\)",
        ),
        (["a,0"], ["a,0", "b,0", "b,0"], r"p\.csv: 1 images are there more than once, such as b"),
        (["a,0", "b,1", "c,1"], ["a,0", "d,1"], "no prediction for 2 images (.|\n)* no answer for 1 images"),
        ([",0"], ["a,0"], "a.csv:2: the image column 'ImageID' is empty"),
        ([], ["a,0"], "has no rows"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, answers: list[str], given: list[str], message: str) -> None:
    a, p = write(tmp_path / "a.csv", "ImageID,ans", answers), write(tmp_path / "p.csv", "ImageID,ans", given)
    with pytest.raises(DataError, match=message):
        evaluate(a, p, SCHEMA)


def slow_intervals(
    true: list[int], predicted: list[int], groups: list[str], classes: int, seed: int
) -> list[tuple[float, float]]:
    """Draw groups, copy their photos as often as they were drawn, and ask scikit-learn."""
    names = sorted(set(groups))
    rng = np.random.default_rng(seed)
    drawn: list[list[float]] = [[] for _ in range(classes)]
    for _ in range(1000):
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        rows = [i for i, g in enumerate(groups) for _ in range(times[names.index(g)])]
        t, p = [true[i] for i in rows], [predicted[i] for i in rows]
        f1 = f1_score(t, p, labels=range(classes), average=None, zero_division=0)
        for c in set(t):
            drawn[c].append(float(f1[c]))
    ends = [np.percentile(d, [2.5, 97.5]) if d else (np.nan, np.nan) for d in drawn]
    return [(float(low), float(high)) for low, high in ends]


def test_each_class_has_its_interval_or_too_few_photos(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    true = [0] * 14 + [1] * 10 + [2] * 6 + [3] * 5 + [4]
    predicted = [c if rng.random() < 0.7 else int(rng.integers(0, 5)) for c in true]
    groups = [f"p{i // 2}" for i in range(len(true))]
    rows = [f"{i},{c},{g}" for i, (c, g) in enumerate(zip(true, groups, strict=True))]
    answers = write(tmp_path / "a.csv", "ImageID,ans,group", rows)
    given = write(tmp_path / "p.csv", "ImageID,ans", [f"{i},{c}" for i, c in enumerate(predicted)])
    scores = list(evaluate(answers, given, SCHEMA, seed=7).classes.values())
    assert [s.images for s in scores] == [14, 10, 6, 5, 1, 0]
    assert [s.interval is None for s in scores] == [False] * 3 + [True] * 3
    slow = slow_intervals(true, predicted, groups, 6, seed=7)
    for score, expected in zip(scores[:3], slow, strict=False):
        assert score.interval is not None
        assert score.interval.value == score.f1
        assert (score.interval.low, score.interval.high) == pytest.approx(expected)
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert record["classes"]["star/small"] == {"f1": scores[4].f1, "images": 1, "interval": None}
    assert record["classes"]["round/small"]["interval"]["low"] == pytest.approx(slow[0][0])


def test_scores_can_be_had_without_a_file(tmp_path: Path) -> None:
    answers, given = (write(tmp_path / f"{n}.csv", "ImageID,ans", ["a,0", "b,1"]) for n in "ap")
    scores = evaluate(answers, given, SCHEMA, write=False)
    assert scores.path is None
    assert not (tmp_path / "evaluation.json").exists()
    assert scores.to_json()["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}


# ---- which column says what ----

LEVELS = LabelSchema((Factor("class", tuple(sorted(map(str, range(12))))),))
"""Folders 0 to 11, sorted as text: the class `2` is number 4, and number 2 is the class `10`."""


@pytest.mark.parametrize("header", ["class", "label", "level", "answer"])
@pytest.mark.parametrize("first", [0, 1])
def test_classes_that_are_called_by_numbers_are_not_taken_for_positions(
    tmp_path: Path, header: str, first: int
) -> None:
    schema = LabelSchema((Factor("class", tuple(sorted(map(str, range(first, first + 12))))),))
    names = list(schema.joint_classes)
    given = write(tmp_path / "p.csv", "image,class", [f"{i}.jpg,{n}" for i, n in enumerate(names)])
    answers = write(tmp_path / "a.csv", f"image,{header}", [f"{i}.jpg,{n}" for i, n in enumerate(names)])
    assert evaluate(answers, given, schema).accuracy.value == 1.0
    assert read_answers(answers, schema, Submission("image", ("class",), "names")).joint["0.jpg"] == 0


def test_a_number_is_a_position_only_where_the_data_set_submits_numbers(tmp_path: Path) -> None:
    answers = write(tmp_path / "a.csv", "image,ans", ["a,2", "b,star/big", "c,02"])
    numbers, names = Submission("image", ("ans",), "joint index"), Submission("image", ("shape", "size"), "names")
    assert read_answers(answers, SCHEMA, numbers).joint == {"a": 2, "b": 5, "c": 2}
    with pytest.raises(DataError, match=r"a\.csv:2: answer '2' is not a class") as wrong:
        read_answers(answers, SCHEMA, names)
    assert "round/small" in wrong.value.hint


@pytest.mark.parametrize(
    ("header", "image"),
    [("class,image", "b"), ("note,ImageID,class", "b"), ("row,filename,class", "b"), ("class,id", "b"),
     ("class,ID", "b"), ("image,my_id,class", "b"), ("image,id,class", "a")],
)  # fmt: skip
def test_images_are_found_by_the_name_of_their_column(tmp_path: Path, header: str, image: str) -> None:
    row = {"image": "a", "class": "3", "id": "b", "ID": "b", "my_id": "b", "ImageID": "b", "filename": "b"}
    if header == "class,image":
        row["image"] = "b"
    cells = ",".join(row.get(name, "7") for name in header.split(","))
    answers = write(tmp_path / "a.csv", header, [cells])
    submission = Submission("my_id", ("class",), "names")
    assert read_answers(answers, LEVELS, submission).joint == {image: LEVELS.joint_classes.index("3")}
    groups = write(tmp_path / "g.csv", header.replace("class", "group"), [cells])
    assert read_groups(groups, submission) == {image: "3"}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("picture,class", "has no image column"),
        ("image,filename,class", "'image' and 'filename' can both be meant by the image column"),
        ("image", "has no column with the answer"),
        ("image,shape", "answer '0' is not a class"),
        ("image,first,second", "'first' and 'second' can all be the answer"),
        ("image,label,target", "'label' and 'target' can all be the answer"),
    ],
)
def test_columns_that_are_not_certain_are_refused(tmp_path: Path, header: str, message: str) -> None:
    answers = write(tmp_path / "a.csv", header, [",".join("0" for _ in header.split(","))])
    with pytest.raises(DataError, match=message):
        read_answers(answers, SCHEMA, Submission("my_id", ("shape", "size"), "names"))


def test_paths_may_be_texts(tmp_path: Path) -> None:
    answers, given = (write(tmp_path / f"{n}.csv", "ImageID,ans", ["a,0", "b,1"]) for n in "ap")
    groups = write(tmp_path / "g.csv", "ImageID,group", ["a,x", "b,x"])
    assert evaluate(str(answers), str(given), SCHEMA, groups=str(groups)).grouped
