"""From probabilities to pseudo-labels, and their history over the rounds: against plain loops, without any network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.config import PseudoConfig
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.pseudo_labeling.record import selection_record, tell_selection
from ssl_mask.pseudo_labeling.round import write_pool
from ssl_mask.pseudo_labeling.select import Selection, history_of, pseudo_labels_of, read_pool, select_pseudo_labels
from ssl_mask.pseudo_labeling.teachers import classes_of
from ssl_mask.runs.base import update_record
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.selected import TeacherRecord

SCHEMA = LabelSchema((Factor("cover", ("worn", "half", "none")), Factor("kind", ("cat", "dog"))))
JOINT = [c.split("/") for c in SCHEMA.joint_classes]

TEACHERS = (TeacherRecord(run="t", checkpoint_sha256="0" * 64),)
DIGESTS = {"labels_sha256": "1" * 64}


def config(**settings: Any) -> PseudoConfig:
    return PseudoConfig.model_validate({"rule": "threshold", "threshold": 0.6, **settings})


def manifest(rows: list[Row]) -> Manifest:
    return Manifest(Path("/data"), "table", SCHEMA, tuple(rows), True, Submission("image", ("cover", "kind"), "names"))


def pool_of(count: int, seed: int, groups: list[str] | None = None) -> PredictedImages:
    rng = np.random.default_rng(seed)
    named = groups or [""] * count
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]
    rows = [Row(f"{i}.png", named[i], "unlabeled", "pool", None, digest=digests[i]) for i in range(count)]
    parts = {f.name: rng.dirichlet(np.full(len(f.classes), 0.5), count).astype(np.float32) for f in SCHEMA.factors}
    return PredictedImages(manifest(rows), SCHEMA.product(parts), {})


def validation_of(count: int = 40) -> PredictedImages:
    drawn = pool_of(count, 99)
    labels = SCHEMA.part(drawn.probs.argmax(axis=1)).tolist()
    rows = [
        r._replace(labels=tuple(y), split="val", group=f"v{i // 2}", digest=f"v{i}")
        for i, (r, y) in enumerate(zip(drawn.manifest.rows, labels, strict=True))
    ]
    return PredictedImages(manifest(rows), drawn.probs, {})


def labeled_of(*rows: tuple[str, str, tuple[int, int]]) -> Manifest:
    """Rows of (group, split, labels)."""
    return manifest([Row(f"l{i}.png", g, s, "t", y, digest=f"l{i}") for i, (g, s, y) in enumerate(rows)])  # type: ignore[arg-type]


def marginal(row: NDArray[np.float32], factor: int) -> list[float]:
    names = SCHEMA.factors[factor].classes
    return [sum(float(p) for p, c in zip(row, JOINT, strict=True) if c[factor] == n) for n in names]


def test_each_factor_is_selected_by_its_own_confidence() -> None:
    pool = pool_of(60, 0)
    selection = select_pseudo_labels(config(masks="factors"), 1, pool, validation_of(), labeled_of())
    assert selection.heads.keys() == {"cover", "kind"}
    for i, row in enumerate(pool.probs):
        assert selection.confidence[i, 0] == row.max()
        for factor in range(2):
            own = marginal(row, factor)
            assert selection.labels[i, factor] == np.argmax(own)
            assert selection.confidence[i, 1 + factor] == pytest.approx(max(own), rel=1e-5)
            assert selection.selected[i, factor] == (max(own) >= 0.6)
    assert 0 < len(selection.rows) < selection.offered == 60


def test_an_image_is_selected_as_a_whole() -> None:
    pool = pool_of(60, 0)
    selection = select_pseudo_labels(config(masks="joint"), 1, pool, validation_of(), labeled_of())
    assert selection.heads.keys() == {"joint"}
    for i, row in enumerate(pool.probs):
        first = JOINT[int(row.argmax())]
        assert [SCHEMA.factors[f].classes[k] for f, k in enumerate(selection.labels[i])] == first
        assert selection.selected[i].tolist() == [bool(row.max() >= 0.6)] * 2
    assert 0 < len(selection.rows) < 60


def test_only_rows_that_are_selected_go_into_the_table() -> None:
    pool = pool_of(60, 0)
    selection = select_pseudo_labels(config(masks="factors"), 2, pool, validation_of(), labeled_of())
    history = history_of(selection, None, 2)
    for soft in (False, True):
        labels = pseudo_labels_of(selection, history, soft=soft)
        rows = [i for i in range(60) if selection.selected[i].any()]
        assert [r.path for r in labels.manifest.rows] == [f"{i}.png" for i in rows]
        for at, i in enumerate(rows):
            top = sorted(map(float, pool.probs[i]))[-2:]
            assert labels.margin[at] == pytest.approx(top[1] - top[0], abs=1e-6)
            expected = [int(k) if b else -1 for k, b in zip(selection.labels[i], selection.selected[i], strict=True)]
            assert labels.labels[at].tolist() == expected
        assert labels.first_round.tolist() == [2] * len(rows)
        assert (labels.probs is None) == (not soft)
        if labels.probs is not None:
            assert (labels.probs == pool.probs[rows]).all()


# ---- agreement ----


@pytest.mark.parametrize("masks", ["factors", "joint"])
def test_disputed_rows_are_not_selected_and_do_not_count_for_thresholds(masks: str) -> None:
    """As if they were not there: the same selection from the agreed rows of pool and validation alone."""
    pool, validation, rng = pool_of(60, 0), validation_of(), np.random.default_rng(4)
    asked = config(masks=masks, rule="precision", target_precision=0.6, agreement=0.6)
    votes = tuple({n: noisy(c, rng) for n, c in classes_of(t.probs, SCHEMA).items()} for t in (pool, validation))
    found = select_pseudo_labels(asked, 1, pool, validation, labeled_of(), (votes[0], votes[1]))
    for at, name in enumerate(found.heads):
        agreed = [
            [sum(int(v) == int(c) for v in column) >= 2 for column, c in zip(own[name].T, classes, strict=True)]
            for own, classes in zip(votes, (classes_of(t.probs, SCHEMA)[name] for t in (pool, validation)), strict=True)
        ]
        kept = [np.flatnonzero(a).tolist() for a in agreed]
        assert all(0 < len(k) < len(a) for k, a in zip(kept, agreed, strict=True))
        parts = [
            PredictedImages(t.manifest.with_rows(t.manifest.rows[i] for i in k), t.probs[k], {})
            for t, k in zip((pool, validation), kept, strict=True)
        ]
        alone = select_pseudo_labels(asked, 1, *parts, labeled_of())
        column = at if masks == "factors" else 0
        chosen = [kept[0][i] for i in np.flatnonzero(alone.selected[:, column])]
        assert np.flatnonzero(found.selected[:, column]).tolist() == chosen
        assert found.heads[name].thresholds.tolist() == alone.heads[name].thresholds.tolist()
        assert found.heads[name].support.tolist() == alone.heads[name].support.tolist()
    assert len(found.rows) > 0


def noisy(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """What three teachers predict whose mean predicts these classes."""
    return np.stack([np.where(rng.random(len(classes)) < 0.4, 1 - np.minimum(classes, 1), classes) for _ in range(3)])


# ---- groups ----

GROUPS = ["ann", "ann", "bob", "zoe", "zoe", "", "", "ann"]
LABELED = (
    ("ann", "train", (0, 1)), ("ann", "train", (2, 1)), ("cy", "train", (1, 0)), ("cy", "train", (0, 0)),
    ("val", "val", (1, 1)), ("val", "val", (0, 1)),
)  # fmt: skip


def test_labeled_groups_lend_what_never_varies_and_unlabeled_ones_agree() -> None:
    """`kind` never varies within a labeled group, `cover` does."""
    pool = pool_of(8, 3, GROUPS)
    asked = config(masks="factors", threshold=0.999, group_consistency=True)
    selection = select_pseudo_labels(asked, 1, pool, validation_of(), labeled_of(*LABELED))
    mean = {}
    for name in ("ann", "bob", "zoe"):
        own = np.log([marginal(p, 1) for p, g in zip(pool.probs, GROUPS, strict=True) if g == name]).mean(axis=0)
        mean[name] = np.exp(own) / np.exp(own).sum()
    for i, group in enumerate(GROUPS):
        own = marginal(pool.probs[i], 1)
        kind = [0.0, 1.0] if group == "ann" else mean[group].tolist() if group == "zoe" else own
        cover = marginal(pool.probs[i], 0)
        joint = [c * k for c in cover for k in kind]
        np.testing.assert_allclose(selection.pool.probs[i], joint, atol=1e-5)
        assert selection.labels[i].tolist() == [np.argmax(cover), np.argmax(kind)]
        assert selection.confidence[i] == pytest.approx([max(joint), max(cover), max(kind)], abs=1e-5)
        assert bool(selection.selected[i, 1]) == (group == "ann" or max(kind) >= 0.999)
        assert bool(selection.selected[i, 0]) == (max(cover) >= 0.999)


@pytest.mark.parametrize("rule", ["precision", "threshold", "top_k", "percentile"])
def test_what_is_lent_is_selected_whatever_the_rule(rule: str) -> None:
    groups = ["ann"] * 20 + [""] * 4
    asked = config(rule=rule, threshold=1.0, top_k=1, percentile_step=0.01, masks="factors", group_consistency=True)
    selection = select_pseudo_labels(asked, 1, pool_of(24, 3, groups), validation_of(), labeled_of(*LABELED))
    assert selection.selected[:20, 1].all()
    assert (selection.labels[:20, 1] == 1).all()
    assert not selection.selected[:20].all()


def test_without_asking_groups_tell_nothing_and_validation_lends_nothing() -> None:
    pool = pool_of(8, 3, ["val", *GROUPS[1:]])
    plain = select_pseudo_labels(config(masks="factors"), 1, pool, validation_of(), labeled_of(*LABELED))
    assert (plain.pool.probs == pool.probs).all()
    asked = config(masks="factors", group_consistency=True)
    selection = select_pseudo_labels(asked, 1, pool, validation_of(), labeled_of(*LABELED))
    np.testing.assert_allclose(selection.pool.probs[0], pool.probs[0], atol=1e-6)


# ---- history ----


def test_first_round_flips_and_agreement_over_three_rounds(tmp_path: Path) -> None:
    """The pool changes from round to round: a photo leaves it, another comes."""
    asked, validation = config(masks="factors", threshold=0.97), validation_of()
    present = [list(range(30)), [i for i in range(30) if i != 4], [*range(28), 30]]
    first: dict[str, int] = {}
    flips: dict[str, int] = {}
    before: dict[str, tuple[int, list[int], list[bool]]] = {}
    last = None
    for number, rows in enumerate(present, 1):
        everything = pool_of(31, number)
        present_rows = everything.manifest.with_rows(everything.manifest.rows[i] for i in rows)
        pool = PredictedImages(present_rows, everything.probs[rows], {})
        selection = select_pseudo_labels(asked, number, pool, validation, labeled_of())
        history = history_of(selection, last, number)
        same, both, flipped = slow_history(selection, number, first, flips, before)
        digests = [r.digest for r in pool.manifest.rows]
        assert history.first_round.tolist() == [first[d] for d in digests]
        assert history.flips.tolist() == [flips[d] for d in digests]
        assert history.flipped.tolist() == flipped
        record = selection_record(asked, number, TEACHERS, selection, history, validation, last, **DIGESTS)
        assert record.agreement == (same / both if both else None)
        assert record.flipped == sum(flipped)
        run = RunDir(tmp_path / str(number))
        write_pool(run.pool, selection, history)
        last = read_pool(run.pool, SCHEMA)
    assert sum(flips.values()) > 10
    assert len(set(first.values())) == 4  # never, and each of the three rounds


def slow_history(
    selection: Selection, number: int, first: dict[str, int], flips: dict[str, int], before: dict[str, Any]
) -> tuple[int, int, list[bool]]:
    """Moves `first`, `flips` and `before` on; (same, both) labels selected in both rounds, and what flipped.

    A photo that was away in the round before starts anew.
    """
    same = both = 0
    flipped: list[bool] = []
    now = {}
    for i, row in enumerate(selection.pool.manifest.rows):
        predicted, labels, known = (
            int(selection.pool.probs[i].argmax()),
            selection.labels[i].tolist(),
            selection.selected[i],
        )
        old = before.get(row.digest)
        if old is None:
            first[row.digest], flips[row.digest] = 0, 0
        flipped.append(old is not None and old[0] != predicted)
        flips[row.digest] += flipped[-1]
        if known.any() and not first[row.digest]:
            first[row.digest] = number
        for factor in range(2):
            if old is not None and old[2][factor] and known[factor]:
                both += 1
                same += old[1][factor] == labels[factor]
        now[row.digest] = (predicted, labels, known.tolist())
    before.clear()
    before.update(now)
    return same, both, flipped


def test_the_record_counts_each_class() -> None:
    selection = select_pseudo_labels(config(masks="factors"), 1, pool_of(60, 0), validation_of(), labeled_of())
    record = selection_record(
        config(), 1, TEACHERS, selection, history_of(selection, None, 1), validation_of(), None, **DIGESTS
    )
    assert record.selected == len(selection.rows)
    assert record.whole == sum(k.all() for k in selection.selected)
    assert record.highest_confidence == selection.confidence[:, 1:].max()
    for factor, name in enumerate(SCHEMA.sizes):
        for k, label in enumerate(SCHEMA.factors[factor].classes):
            own = [i for i in range(60) if selection.labels[i, factor] == k]
            row = record.heads[name].classes[label]
            assert row.predicted == len(own)
            assert row.selected == sum(bool(selection.selected[i, factor]) for i in own)
            seen = [marginal(p, factor) for p in validation_of().probs]
            assert row.support == sum(max(m) >= 0.6 and m.index(max(m)) == k for m in seen)
    joint = select_pseudo_labels(config(masks="joint"), 1, pool_of(60, 0), validation_of(), labeled_of())
    whole = selection_record(
        config(masks="joint"), 1, TEACHERS, joint, history_of(joint, None, 1), validation_of(), None, **DIGESTS
    )
    classes = whole.heads["joint"].classes
    assert sum(r.selected for r in classes.values()) == whole.selected == whole.whole
    assert sum(r.predicted for r in classes.values()) == 60


def test_what_is_odd_about_a_selection_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A class below its threshold, a head that selects everything, one that selects nothing, a pooled threshold."""
    pool = pool_of(60, 0)
    selection = select_pseudo_labels(config(masks="factors"), 1, pool, validation_of(), labeled_of())
    record = selection_record(
        config(), 1, TEACHERS, selection, history_of(selection, None, 1), validation_of(), None, **DIGESTS
    )

    def told(**heads: dict[str, Any]) -> str:
        changed = {n: record.heads[n].to_json() | h for n, h in heads.items()}
        tell_selection(update_record(record, {"heads": changed, "validation": 500}), Console())
        return " ".join(capsys.readouterr().out.split())

    row = {"predicted": 5, "selected": 5, "threshold": 0.5, "source": "class", "support": 9}
    half = {"selected": 5, "classes": {"worn": row, "half": {**row, "selected": 0}, "none": {**row, "predicted": 0}}}
    assert "Note: cover: none of half is selected, so later rounds see fewer of them." in told(cover=half)
    assert "Note" not in told(cover={**half, "selected": 0})
    assert "Note: kind: every image is selected" in told(kind={"selected": 60, "classes": {"cat": row, "dog": row}})
    pooled = told(kind={"selected": 9, "classes": {"cat": row, "dog": {**row, "source": "pooled"}}})
    assert "kind: too few validation images of dog for a threshold of their own" in pooled
    tell_selection(record, Console())
    assert "calibrated on 40 validation images only" in " ".join(capsys.readouterr().out.split())
