"""One factor of a data set: its labels alone, on the split that all factors share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.guard.pools import pool_of


def read(root: Path, **settings: Any) -> Manifest:
    return read_manifest(DataConfig(root=root, folds=3, **settings), Console(quiet=True))


@pytest.mark.parametrize(("position", "name"), [(0, "mask"), (1, "gender"), (2, "age")])
def test_a_factor_has_the_split_of_all_and_its_own_labels(drawn: Path, position: int, name: str) -> None:
    whole, own = read(drawn, fold=1), read(drawn, fold=1, factor=name)
    assert own.schema.factors == whole.schema.factors[position : position + 1]
    assert [(r.path, r.split, r.group) for r in own.rows] == [(r.path, r.split, r.group) for r in whole.rows]
    labeled = whole.where("train", "val")
    assert own.where("train", "val").labels[:, 0].tolist() == labeled.labels[:, position].tolist()
    assert own.where("test").rows[0].labels is None


def test_labels_to_train_on_and_corrections_reach_the_factor(drawn: Path, tmp_path: Path) -> None:
    options = {"age_boundary": 58}
    whole, own = (read(drawn, options=options, factor=f) for f in (None, "age"))
    assert own.train_labels[:, 0].tolist() == whole.train_labels[:, 2].tolist()
    others = read(drawn, options=options, factor="mask")
    assert all(r.train_labels is None for r in others.rows)  # only where they differ in this factor
    row = whole.where("train").rows[0]
    new = {"male": "female", "female": "male"}[whole.schema.class_names(whole.where("train").labels[:1])[0][1]]
    table = tmp_path / "corrections.csv"
    table.write_text(f"group,gender\n{row.group},{new}\n")
    fixed = read(drawn, corrections=table, factor="gender", min_groups=1)
    assert {fixed.schema.factors[0].classes[r.labels[0]] for r in fixed.rows if r.group == row.group and r.labels} == {
        new
    }


def test_the_content_of_a_factor_changes_with_its_own_labels_only() -> None:
    schema = LabelSchema((Factor("hue", ("red", "blue")), Factor("n", ("1", "2"))))
    given = Submission("id", ("Hue", "N"), "names")

    def whole(labels: tuple[int, int]) -> Manifest:
        return Manifest(Path(), "table", schema, (Row("a.jpg", "g", "train", "t:1", labels),), True, given)

    first, other = whole((0, 1)), whole((0, 0))
    assert first.content_hash != other.content_hash
    assert first.of_factor("hue").content_hash == other.of_factor("hue").content_hash
    assert first.of_factor("n").content_hash != other.of_factor("n").content_hash
    assert first.of_factor("n").submission == Submission("id", ("N",), "names")
    assert pool_of(first.of_factor("n"), "train").labels == ("2",)  # copies with different labels are told by these


def test_a_submission_of_numbers_becomes_one_of_names(drawn: Path) -> None:
    assert read(drawn, factor="age").submission == Submission("ImageID", ("age",), "names")


def test_an_unknown_factor_is_refused_with_the_closest(drawn: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.factor: there is no factor 'maks'") as refused:
        read(drawn, factor="maks")
    assert refused.value.hint == "Did you mean 'mask'?"


def test_rare_classes_of_all_factors_together_are_refused_first(drawn: Path) -> None:
    with pytest.raises(DataError, match="has only"):
        read(drawn, factor="mask", min_groups=12)
