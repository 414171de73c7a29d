"""The confusion matrix: every number counted by hand, and rows of few images are not coloured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.reports import samples
from ssl_mask.reports.confusion_plot import draw_confusion
from ssl_mask.reports.figures import save_figure


def matrices(figure: Any) -> list[Any]:
    return [axis for axis in figure.axes if axis.get_xlabel() == "predicted"]


def written(axis: Any) -> dict[tuple[int, int], str]:
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axis.texts}


def counted(true: list[int], predicted: list[int]) -> dict[tuple[int, int], int]:
    cells: dict[tuple[int, int], int] = {}
    for pair in zip(true, predicted, strict=True):
        cells[pair] = cells.get(pair, 0) + 1
    return cells


def hatched(axis: Any) -> list[int]:
    return sorted(round(p.get_y() + p.get_height() / 2) for p in axis.patches if p.get_hatch())


def test_several_factors_have_a_matrix_each_beside_the_joint_one(tmp_path: Path) -> None:
    true, predicted = samples.joint_predictions(images=280)
    figure = draw_confusion(true, predicted, samples.SCHEMA)
    save_figure(tmp_path / "confusion.svg", figure)
    *factors, joint = sorted(matrices(figure), key=lambda a: a.get_title().startswith("All"))
    assert {a.get_title() for a in factors} == {"colour", "size", "condition"}
    cells = counted(true.tolist(), predicted.tolist())
    assert written(joint) == {pair: str(n) for pair, n in cells.items()}
    support = [int((true == c).sum()) for c in range(18)]
    assert hatched(joint) == [c for c in range(18) if support[c] < 6]
    names = [t.get_text() for t in joint.get_yticklabels()]
    assert names[3] == f"red/large/new  ({support[3]})"
    size = next(a for a in factors if a.get_title() == "size")
    own = counted([c // 3 % 2 for c in true.tolist()], [c // 3 % 2 for c in predicted.tolist()])
    total = own[0, 0] + own[0, 1]
    assert written(size)[0, 1] == f"{own[0, 1]}\n{own[0, 1] / total:.0%}"
    assert (tmp_path / "confusion.svg").stat().st_size < 150_000


def test_rows_of_few_images_have_no_colour() -> None:
    figure = draw_confusion(np.asarray([0] * 6 + [1] * 5), np.asarray([0] * 6 + [0] * 5), samples.one_factor(2))
    image = matrices(figure)[0].images[0].get_array()
    assert image.tolist() == [[1, 0], [0, 0]]


def test_lines_are_between_the_blocks_of_the_factors() -> None:
    joint = matrices(draw_confusion(*samples.joint_predictions(), samples.SCHEMA))[-1]
    rows = {line.get_ydata()[0]: line.get_linewidth() for line in joint.lines if len(set(line.get_ydata())) == 1}
    strong, weak = max(rows.values()), min(rows.values())
    assert {y for y, w in rows.items() if w == strong} == {5.5, 11.5}
    assert {y for y, w in rows.items() if w == weak} == {2.5, 8.5, 14.5}


def test_one_factor_is_one_matrix() -> None:
    schema = samples.one_factor(10)
    figure = draw_confusion(*samples.joint_predictions(schema), schema)
    assert len(matrices(figure)) == 1
    assert len(matrices(figure)[0].lines) == 0


def test_a_hundred_classes_have_no_numbers_but_a_list_of_confusions(tmp_path: Path) -> None:
    schema = samples.one_factor(100)
    true, predicted = samples.joint_predictions(schema, 3000)
    figure = draw_confusion(true, predicted, schema)
    save_figure(tmp_path / "confusion.svg", figure)
    (matrix,) = matrices(figure)
    assert not matrix.texts
    assert len(matrix.get_xticks()) <= 30
    wrong = {pair: n for pair, n in counted(true.tolist(), predicted.tolist()).items() if pair[0] != pair[1]}
    (worst,) = [a for a in figure.axes if "Most frequent" in a.get_title()]
    assert [round(p.get_width()) for p in worst.patches] == sorted(wrong.values(), reverse=True)[:15]
    assert (tmp_path / "confusion.svg").stat().st_size < 150_000


@pytest.mark.parametrize("name", ["마스크", "a very long name of a class that nobody can read"])
def test_names_of_any_script_and_length(tmp_path: Path, name: str) -> None:
    schema = LabelSchema((Factor("worn", (name, "no")),))
    save_figure(tmp_path / "confusion.svg", draw_confusion(np.asarray([0, 1]), np.asarray([1, 1]), schema))
    text = (tmp_path / "confusion.svg").read_text(encoding="utf-8")
    assert (name if len(name) < 24 else "a very long ") in text
