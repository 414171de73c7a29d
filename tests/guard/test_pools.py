"""Pools of images for the guard and for the cards, wherever the images are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.pseudo_labels import PseudoLabels, read_pseudo_labels, to_csv
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.files import write_text
from ssl_mask.guard.check import check
from ssl_mask.guard.policy import judge
from ssl_mask.guard.pools import pool_of
from ssl_mask.reports.data_card import pool_card


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def labeled(tmp_path: Path) -> Manifest:
    """A data set with an unlabeled folder beside it and one in it."""
    for number in range(4):
        draw(tmp_path / f"faces/inside/{number}.png", 10 + number)
        draw(tmp_path / f"beside/{number}.png", 20 + number)
    (tmp_path / "beside.csv").write_text("image\nbeside/0.png\nbeside/1.png\n")
    rows = tuple(Row(f"a/{i}.png", "", "train", "by hand", (0,), digest=f"{i:064x}") for i in range(2))
    schema = LabelSchema((Factor("label", ("a", "b")),))
    return Manifest(tmp_path / "faces", "folder", schema, rows, grouped=False, submission=Submission("", (), "names"))


def pseudo_labeled(pool: Manifest, labeled: Manifest, table: Path) -> Manifest:
    """The pool's images as a round reads them: from the CSV that the selection wrote."""
    count, factors = len(pool), len(labeled.schema.factors)
    pool = pool.with_digests(f"{100 + i:064x}" for i in range(count))
    labels = PseudoLabels(
        pool, np.zeros((count, factors), np.int64), np.ones((count, 1 + factors), np.float32),
        np.ones(count, np.float32), np.ones(count, np.int64), np.zeros(count, np.int64),
    )  # fmt: skip
    write_text(table, to_csv(labels))
    return read_pseudo_labels(table, labeled).manifest


@pytest.mark.parametrize(
    ("source", "images"),
    [
        (lambda _: "beside", range(4)),
        (lambda _: "faces/../beside", range(4)),
        (lambda top: str(top / "beside"), range(4)),
        (lambda top: str(top / "beside/[12].png"), [1, 2]),
        (lambda _: "beside.csv", [0, 1]),
        (lambda top: str(top / "faces/inside"), range(4)),
    ],
    ids=["folder", "dots", "absolute", "glob", "csv", "inside"],
)
def test_pseudo_labeled_images_have_a_card_wherever_the_pool_is(
    labeled: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: Callable[[Path], str],
    images: list[int],
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = read_unlabeled([source(tmp_path)], labeled)
    rows = pseudo_labeled(pool, labeled, tmp_path / "pseudo_labels.csv")
    given = pool_of(rows, "unlabeled", name="pseudo-labeled")
    assert [given.root / p for p in given.paths] == rows.files
    findings = check([given], cache=None, processes=1, max_pixels=10**6)
    card = pool_card(findings, judge(findings), "pseudo-labeled", root=given.root, folder=tmp_path / "cards")
    predicate = card["predicate"]
    assert [f["path"] for f in predicate["files"]] == [f"{i}.png" for i in images]
    assert predicate["others_in_folder"] == [f"{i}.png" for i in range(4) if i not in images]
    assert (tmp_path / "cards" / predicate["root"]).resolve() == rows.files[0].parent.resolve()
