"""Label schemas: mixed radix against itertools.product, and its inverses."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError

SCHEMA = LabelSchema(
    (Factor("shape", ("disc", "box", "star")), Factor("hue", ("red", "blue")), Factor("n", tuple("1234")))
)
FLAT = LabelSchema((Factor("class", ("cat", "dog")),))
ALL = np.array(list(itertools.product(range(3), range(2), range(4))), dtype=np.int64)


def test_joint_counts_with_the_last_factor_fastest() -> None:
    np.testing.assert_array_equal(SCHEMA.join(ALL), np.arange(24))
    np.testing.assert_array_equal(SCHEMA.part(np.arange(24)), ALL)


def test_joint_names_follow_the_joint_indices() -> None:
    expected = ["/".join(c) for c in itertools.product(*(f.classes for f in SCHEMA.factors))]
    assert list(SCHEMA.joint_classes) == expected and FLAT.joint_classes == ("cat", "dog")


def test_encode_gives_an_index_a_factor() -> None:
    assert SCHEMA.encode({"n": "3", "hue": "blue", "shape": "disc"}, where="t.csv:2") == (0, 1, 2)


def test_an_unknown_class_names_row_factor_and_closest() -> None:
    with pytest.raises(DataError, match=r"t\.csv:2: shape 'dsic' is not a known class") as caught:
        SCHEMA.encode({"n": "3", "hue": "blue", "shape": "dsic"}, where="t.csv:2")
    assert "'disc'" in caught.value.hint


def test_heads_by_target() -> None:
    assert SCHEMA.heads("factors") == {"shape": 3, "hue": 2, "n": 4} == SCHEMA.sizes
    assert SCHEMA.heads("joint") == {"joint": 24}
    assert SCHEMA.head_classes("joint") == {"joint": SCHEMA.joint_classes}
    np.testing.assert_array_equal(SCHEMA.head_labels(ALL, "factors"), ALL)
    np.testing.assert_array_equal(SCHEMA.head_labels(ALL, "joint"), np.arange(24)[:, None])


@pytest.mark.parametrize("target", ["factors", "joint"])
def test_one_factor_is_one_head_either_way(target: str) -> None:
    labels = np.array([[1], [0]])
    assert FLAT.heads(target) == {"class": 2} and FLAT.head_classes(target) == {"class": ("cat", "dog")}
    np.testing.assert_array_equal(FLAT.head_labels(labels, target), labels)


def test_json_reads_back() -> None:
    assert LabelSchema.from_json(json.loads(json.dumps(SCHEMA.to_json()))) == SCHEMA
