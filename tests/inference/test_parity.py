"""What is compared between a run and its exported network, by hand; and which networks are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.inference.parity import parity, refuse_apart, refuse_no_numbers
from ssl_mask.runs.exported import LIMIT, ParityRecord

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog")),))
RUN = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], np.float32)
"""Cat, dog, dog, cat."""


def photos(digests: str = "abcd") -> Manifest:
    """A cat and three dogs."""
    rows = tuple(
        Row(f"{i}.jpg", f"g{i}", "val", f"train.csv:{i + 2}", (int(i > 0),), digest=digest)
        for i, digest in enumerate(digests)
    )
    return Manifest(
        root=Path(),
        layout="folder",
        schema=SCHEMA,
        rows=rows,
        grouped=True,
        submission=Submission("id", ("kind",), "names"),
    )


def compare(exported: NDArray[np.float32], *, held_out: bool = True, now: str = "abcd") -> ParityRecord:
    return parity(PredictedImages(photos(now), RUN, {}), exported, photos(), held_out=held_out)


def test_the_largest_difference_and_both_scores_are_those_counted_by_hand() -> None:
    exported = RUN.copy()
    exported[2] = [0.75, 0.25]  # the one dog that was right at 0.6 is a cat now
    record = compare(exported)
    assert record.images == 4 and record.held_out and record.other_class == 1
    assert record.largest == pytest.approx(0.35)  # of one probability of eight: not a mean
    # Of the run: cat 1 of 2 predicted, F1 2/3; dog 2 of 3 found, F1 4/5. Exported: cat 1 of 3, 1/2; dog 1 of 3, 1/2.
    assert record.macro_f1_run == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert record.macro_f1_exported == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert not compare(exported, held_out=False).held_out
    others = parity(PredictedImages(photos("abce"), RUN, {}), RUN, photos("abce"), held_out=True)
    assert others.content_hash != record.content_hash


def test_a_photo_that_has_changed_is_not_compared() -> None:
    with pytest.raises(MismatchError, match=r"3\.jpg has changed"):
        compare(RUN, now="abcx")


@pytest.mark.parametrize("apart", [1.1 * LIMIT, float("nan")])
def test_above_the_limit_and_without_a_number_it_is_refused(apart: float) -> None:
    refuse_apart(compare(RUN), "one")
    record = compare(RUN).model_copy(update={"largest": apart})
    with pytest.raises(MismatchError, match=r"exported network of one differs .* on 4 photos.*Nothing was written"):
        refuse_apart(record, "one")


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    refuse_no_numbers(RUN, "network with 8 bits")
    for bad in (np.nan, np.inf):
        broken = RUN.copy()
        broken[1, 1] = bad
        with pytest.raises(ModelError, match="The network with 8 bits gives no finite probabilities"):
            refuse_no_numbers(broken, "network with 8 bits")
