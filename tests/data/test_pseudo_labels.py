"""pseudo_labels.csv: what is written is read again, hands may edit it, and what cannot be is refused by its row."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.config import DataConfig, PseudoConfig
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.pseudo_labels import PseudoLabels, open_pseudo_labeled, read_pseudo_labels, to_csv
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError

SCHEMA = LabelSchema((Factor("cover", ("worn", "half, worn", "none")), Factor("kind", ("cat", "dog"))))
HEADER = "image,sha256,group,label,cover,kind,confidence,margin,confidence/cover,confidence/kind,first_round,flips"
Edit = Callable[[list[str]], list[str]]


@pytest.fixture
def labeled(tmp_path: Path) -> Manifest:
    """One training and one validation photo, with digests."""
    rows = (
        Row("a.png", "ann", "train", "t.csv:2", (0, 0), digest="d" * 64),
        Row("b.png", "bob", "val", "t.csv:3", (1, 1), digest="e" * 64),
    )
    return Manifest(tmp_path, "table", SCHEMA, rows, True, Submission("image", ("cover", "kind"), "names"))


def pseudo(labeled: Manifest, *, soft: bool = False) -> PseudoLabels:
    """Four photos that exist: every factor selected, one factor each, every factor."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(4):
        path = labeled.root / "pool" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(Row(f"pool/{i}.png", "", "unlabeled", "pool", None, digest=digest))
    probs = rng.dirichlet(np.ones(6), 4).astype(np.float32)
    return PseudoLabels(
        labeled.with_rows(rows),
        np.asarray([[1, 0], [-1, 1], [2, -1], [0, 1]]),
        rng.random((4, 3)).astype(np.float32),
        rng.random(4).astype(np.float32),
        np.asarray([1, 2, 1, 3]),
        np.asarray([0, 1, 2, 0]),
        probs if soft else None,
    )


@pytest.mark.parametrize("soft", [False, True])
def test_what_is_written_is_read_again(labeled: Manifest, soft: bool) -> None:
    table, given = labeled.root / "pseudo_labels.csv", pseudo(labeled, soft=soft)
    table.write_text(to_csv(given))
    found = read_pseudo_labels(table, labeled)
    assert found.labels.tolist() == given.labels.tolist()
    for column in ("confidence", "margin", "first_round", "flips"):
        np.testing.assert_allclose(getattr(found, column), getattr(given, column), atol=1e-6)
    assert (found.probs is None) == (not soft)
    if given.probs is not None:
        np.testing.assert_allclose(found.probs, given.probs, atol=1e-6)  # type: ignore[arg-type]
    assert found.manifest.files == given.manifest.files
    assert [r.digest for r in found.manifest.rows] == [r.digest for r in given.manifest.rows]
    assert all(r.labels is None and r.split == "unlabeled" for r in found.manifest.rows)
    assert found.whole.tolist() == [True, False, False, True]
    assert to_csv(found) == table.read_text()
    assert found.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()


def test_the_columns_and_cells(labeled: Manifest) -> None:
    given = pseudo(labeled)
    text = to_csv(given)
    assert text.splitlines()[0] == HEADER
    rows = list(csv.DictReader(text.splitlines()))
    assert [r["label"] for r in rows] == ["half, worn/cat", "?/dog", "none/?", "worn/dog"]
    assert [r["cover"] for r in rows] == ["half, worn", "", "none", "worn"]
    assert rows[1]["image"] == (labeled.root / "pool/1.png").as_posix()
    soft = to_csv(pseudo(labeled, soft=True)).splitlines()[0]
    assert next(csv.reader([soft]))[-6:] == [f"p/{c}" for c in SCHEMA.joint_classes]


def change(line: int, column: str, text: str) -> Edit:
    def edit(lines: list[str]) -> list[str]:
        rows = list(csv.reader(lines))
        rows[line - 1][rows[0].index(column)] = text
        return [",".join(f'"{c}"' for c in row) for row in rows]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(3, "kind", "bird"), r"\.csv:3: kind 'bird' is not a known class"),
        (change(4, "sha256", "d" * 64), r"\.csv:4: .*pool/2\.png is the same image as a\.png"),
        (change(4, "sha256", "e" * 64), r"\.csv:4: .*pool/2\.png is the same image as b\.png"),
        (change(2, "sha256", ""), r"\.csv:2: .* has no sha256"),
        (lambda lines: [*lines, lines[1]], r"\.csv:6: .* is also at .*\.csv:2"),
        (change(5, "confidence", "1.5"), r"\.csv:5: confidence '1\.5' is not a number from 0 to 1"),
        (change(5, "confidence/kind", "nan"), r"\.csv:5: confidence/kind 'nan'"),
        (change(5, "flips", "-1"), r"\.csv:5: flips '-1'"),
        (change(5, "confidence", ""), r"\.csv:5: confidence ''"),
        (change(3, "sha256", "abc"), r"\.csv:3: .*pool/1\.png has the sha256 'abc', which is none"),
        (change(3, "sha256", "G" * 64), r"\.csv:3: .* which is none"),
        (change(3, "image", ""), r"\.csv:3: no image"),
        (
            lambda lines: [*lines, lines[1].replace(lines[1].split(",")[1], "f" * 64)],
            r"\.csv:6: .* is also at .*\.csv:2",
        ),
        (lambda lines: lines[:1], "has no rows"),
        (lambda lines: [lines[0].replace("kind", "sort"), *lines[1:]], "no column 'kind'"),
        (lambda lines: [lines[0].replace("sha256", "hash"), *lines[1:]], "no column 'sha256'"),
    ],
)
def test_a_table_that_cannot_be_is_refused_by_its_row(labeled: Manifest, edit: Edit, message: str) -> None:
    table = labeled.root / "edited.csv"
    table.write_text("\n".join(edit(to_csv(pseudo(labeled)).splitlines())) + "\n")
    with pytest.raises(DataError, match=message):
        read_pseudo_labels(table, labeled)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [lines[0].replace("p/none/dog", "q"), *lines[1:]], r"\.csv:2: there is no column 'p/none/dog'"),
        (lambda lines: [lines[0].replace("p/worn/cat", "q"), *lines[1:]], r"\.csv:2: there is no column 'p/worn/cat'"),
        (lambda lines: [f"{lines[0]},p/x/y", *(f"{x},0" for x in lines[1:])], r"no class has the column 'p/x/y'"),
        (change(3, "p/none/cat", "1.2"), r"\.csv:3: p/none/cat '1\.2' is not a number from 0 to 1"),
        (change(3, "p/none/cat", "nan"), r"\.csv:3: p/none/cat 'nan'"),
        (change(3, "p/none/cat", "0.999"), r"\.csv:3: the probabilities p/… sum to 1\.\d+, not to 1"),
    ],
)
def test_soft_labels_are_a_distribution_over_all_classes(labeled: Manifest, edit: Edit, message: str) -> None:
    table = labeled.root / "edited.csv"
    table.write_text("\n".join(edit(to_csv(pseudo(labeled, soft=True)).splitlines())) + "\n")
    with pytest.raises(DataError, match=message):
        read_pseudo_labels(table, labeled)


def test_a_short_table_written_by_hand(labeled: Manifest) -> None:
    table = labeled.root / "mine.csv"
    table.write_text(f"image,sha256,cover,kind,confidence\nx.png,{'a' * 64},worn,,0.5\n")
    found = read_pseudo_labels(table, labeled)
    assert found.labels.tolist() == [[0, -1]]
    assert found.confidence.tolist() == [[0.5, 0.5, 0.5]]
    assert (found.margin.tolist(), found.first_round.tolist(), found.flips.tolist()) == ([0], [0], [0])


def test_a_soft_table_without_one_probability_is_refused(labeled: Manifest) -> None:
    table = labeled.root / "soft.csv"
    table.write_text("\n".join(change(3, "p/none/dog", "")(to_csv(pseudo(labeled, soft=True)).splitlines())))
    with pytest.raises(DataError, match=r":3: p/none/dog '' is not a number"):
        read_pseudo_labels(table, labeled)


def test_a_photo_that_has_changed_is_refused(labeled: Manifest) -> None:
    table, config = labeled.root / "pseudo_labels.csv", DataConfig(root=labeled.root)
    table.write_text(to_csv(pseudo(labeled)))
    side = open_pseudo_labeled(read_pseudo_labels(table, labeled), config, 8)
    pixels = cv2.cvtColor(cv2.imread(str(labeled.root / "pool/2.png")), cv2.COLOR_BGR2RGB)
    assert (side.images.read(2) == pixels).all()
    (labeled.root / "pool/1.png").write_bytes((labeled.root / "pool/2.png").read_bytes())
    with pytest.raises(DataError, match=r"\.csv:3: .*pool/1\.png has changed"):
        open_pseudo_labeled(read_pseudo_labels(table, labeled), config, 8)


# ---- what a training step sees of them ----


def slow_weights(labels: PseudoLabels, target: str, config: PseudoConfig) -> NDArray[np.float64]:
    rows = []
    for known, confidence in zip((labels.labels >= 0).tolist(), labels.confidence.tolist(), strict=True):
        joint, *parts = confidence
        if target == "joint":
            known, parts = [all(known)], [joint]  # noqa: PLW2901
        elif config.masks == "joint":
            parts = [joint] * len(known)
        factors = parts if config.weighting == "confidence" else [1.0] * len(known)
        rows.append([config.weight * f if k else 0.0 for k, f in zip(known, factors, strict=True)])
    return np.asarray(rows)


@pytest.mark.parametrize("target", ["factors", "joint"])
@pytest.mark.parametrize("masks", ["factors", "joint"])
@pytest.mark.parametrize("weighting", ["confidence", "constant"])
def test_weights_are_lambda_times_confidence_and_none_where_nothing_is_selected(
    labeled: Manifest, target: str, masks: str, weighting: str
) -> None:
    config = PseudoConfig.model_validate({"weight": 0.7, "masks": masks, "weighting": weighting})
    labels = pseudo(labeled)
    weights = labels.weights(target, config)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, slow_weights(labels, target, config), rtol=1e-6)


def test_labels_and_soft_targets_of_each_head(labeled: Manifest) -> None:
    labels = pseudo(labeled, soft=True)
    assert labels.probs is not None
    assert labels.head_labels("factors").tolist() == [[1, 0], [0, 1], [2, 0], [0, 1]]
    assert labels.head_labels("joint").tolist() == [[2], [1], [4], [1]]
    targets = labels.targets("factors")
    assert targets is not None
    names = [c.split("/") for c in SCHEMA.joint_classes]
    for head, factor in enumerate(SCHEMA.factors):
        for k, name in enumerate(factor.classes):
            sums = [sum(p for p, c in zip(row, names, strict=True) if c[head] == name) for row in labels.probs]
            np.testing.assert_allclose(targets[factor.name][:, k], sums, rtol=1e-5)
    joint = labels.targets("joint")
    assert joint is not None
    assert joint.keys() == {"joint"}
    assert (joint["joint"] == labels.probs).all()
    assert pseudo(labeled).targets("factors") is None


def test_some_rows_of_them(labeled: Manifest) -> None:
    labels = pseudo(labeled, soft=True)
    rows = labels.manifest.rows
    some = labels.of(labels.manifest.with_rows([rows[3], rows[1]]))
    assert [r.path for r in some.manifest.rows] == [rows[3].path, rows[1].path]
    assert some.labels.tolist() == labels.labels[[3, 1]].tolist()
    assert some.probs is not None
    assert to_csv(some).splitlines()[1:] == [to_csv(labels).splitlines()[i] for i in (4, 2)]


def test_a_factor_called_label_is_written_once(labeled: Manifest) -> None:
    schema = LabelSchema((Factor("label", ("cat", "dog")),))
    one = PseudoLabels(
        replace(pseudo(labeled).manifest, schema=schema), np.asarray([[1], [0], [1], [0]]), np.ones((4, 2), np.float32),
        np.ones(4, np.float32), np.ones(4, np.int64), np.zeros(4, np.int64),
    )  # fmt: skip
    (labeled.root / "p.csv").write_text(to_csv(one))
    assert to_csv(one).splitlines()[0].split(",").count("label") == 1
    again = read_pseudo_labels(labeled.root / "p.csv", replace(labeled, schema=schema))
    assert again.labels.tolist() == one.labels.tolist()
