"""What is written of a gallery, with made-up vectors: bytes, kills, scores of unseen images. No network is needed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_mask.data.embeddings import EmbeddingTable, read_embeddings
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.sketches import sketched
from ssl_mask.guard.seen import load_seen, save_seen, seen_digests
from ssl_mask.inference import gallery_scores
from ssl_mask.inference.gallery_contents import (
    classes_named,
    honest_of,
    named_rows,
    new_rows,
    parts_left,
    write_gallery,
)
from ssl_mask.inference.gallery_predictor import read_rows
from ssl_mask.inference.gallery_scores import PART, UNSEEN, honest_table, old_and_new
from ssl_mask.reports.gallery_card import gallery_card, scores_told
from ssl_mask.runs.gallery import GalleryDir, GalleryPart, GalleryRecord, extended

SCHEMA = LabelSchema((Factor("shape", ("round", "square")), Factor("colour", ("red", "green"))))
WIDTHS = (4, 3)
LAST = 8
"""Renames until images are in: of three files each twice, of the fingerprints that come in, of gallery.json."""


def rows(seed: int, count: int, part: int, shape: str = "") -> EmbeddingTable:
    """Images of groups of three; the first network has not seen every third image, the second every fourth one."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, sum(WIDTHS)))
    number = np.arange(count)
    labels = {"shape": rng.choice(["round", "square"], count), "colour": rng.choice(["red", "green"], count)}
    if shape:
        labels["shape"] = np.full(count, shape)
    return EmbeddingTable(
        np.asarray([f"/data/{seed}-{i}.jpg" for i in number]), np.asarray([f"{seed:02d}{i:062x}" for i in number]),
        np.asarray([f"g{seed}-{i // 3}" for i in number]), labels,
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        {PART: np.full(count, part), UNSEEN: (number % 3 == 0) * 1 + (number % 4 == 0) * 2},
    )  # fmt: skip


def prints(table: EmbeddingTable) -> Fingerprints:
    rng, count = np.random.default_rng(0), len(table)
    digests = tuple(table.sha256.tolist())
    pdq = rng.integers(0, 256, (count, 8, 32), dtype=np.uint8)
    thumbs = rng.integers(0, 256, (count, 128, 128), dtype=np.uint8)
    return Fingerprints(digests, digests, pdq, np.zeros((count, 7, 324), np.float16), thumbs, {})


def part_of(number: int, images: int, *classes: str) -> GalleryPart:
    return GalleryPart(
        number=number, name="/".join(classes), classes=classes, images=images, data="here", code="1", checked=True,
        leakage="clean", leakage_reason="", marks={"pool": "photos-clean" if number else "clean"},
    )  # fmt: skip


def empty_record() -> GalleryRecord:
    members = [{"run": "one", "checkpoint_sha256": "0" * 64, "width": width} for width in WIDTHS]
    return GalleryRecord(
        source="study", members=members, base=SCHEMA, base_submission=Submission("image", ("answer",), "joint index"),
        k=2, temperature=0.1, parts=(), images=0, rows_sha256="", seen_file=None, validation_sha256=None,
        leakage="clean",
    )  # type: ignore[arg-type]  # fmt: skip


def put_in(gallery: GalleryDir, before: GalleryRecord, table: EmbeddingTable, part: GalleryPart) -> GalleryRecord:
    own = gallery.path / "seen-part-new.npz"
    save_seen(own, sketched(prints(table.at(table.more[PART] == part.number))))
    return write_gallery(
        gallery, before, (*before.parts, part), table, {}, [*gallery.fingerprints(before), own]
    )  # fmt: skip


@pytest.fixture
def gallery(tmp_path: Path) -> GalleryDir:
    made = GalleryDir(tmp_path / "g")
    made.path.mkdir()
    put_in(made, empty_record(), rows(0, 24, 0), part_of(0, 24))
    return made


def content(gallery: GalleryDir) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in gallery.path.iterdir()}


def test_what_is_put_in_and_taken_out_leaves_the_bytes_of_before(gallery: GalleryDir) -> None:
    before, old = content(gallery), rows(0, 24, 0)
    assert sorted(name.split("-")[0] for name in before) == ["gallery.json", "rows", "seen", "validation"]
    table = old.joined(rows(1, 5, 1, "oval"))
    added = put_in(gallery, gallery.record(), table, part_of(1, 5, "oval", "red"))
    assert added == gallery.record() and len(content(gallery)) == 4
    assert added.label_schema.factors[0].classes == ("round", "square", "oval")
    assert added.submission == Submission("image", ("shape", "colour"), "names")
    assert added.marks == {"pool": "photos-clean"} and added.leakage == "clean"
    assert seen_digests(gallery.seen()) == set(table.sha256)
    left = table.at(table.more[PART] == 0)
    parts = parts_left(added.parts, left)
    write_gallery(gallery, added, parts, left, {}, gallery.fingerprints(added))
    assert content(gallery) == before
    assert gallery.record().submission.answers == "joint index"


def test_checked_images_that_leave_an_unchecked_gallery_leave_no_fingerprints(tmp_path: Path) -> None:
    gallery, table = GalleryDir(tmp_path), rows(0, 6, 0).joined(rows(1, 2, 1))
    unchecked = part_of(0, 6).model_copy(update={"checked": False})
    write_gallery(gallery, empty_record(), (unchecked,), table.at(range(6)), {}, [])
    before = content(gallery)
    added = put_in(gallery, gallery.record(), table, part_of(1, 2, "round", "red"))
    assert added.seen is None and added.seen_file is not None and added.seen_file.images == 2  # of 8 images
    left = table.at(range(6))
    write_gallery(gallery, added, parts_left(added.parts, left), left, {}, gallery.fingerprints(added))
    assert content(gallery) == before


def test_what_is_known_of_images_that_are_kept_does_not_change(gallery: GalleryDir) -> None:
    first = load_seen(gallery.seen())
    table = rows(0, 24, 0).joined(rows(1, 2, 1))
    added = put_in(gallery, gallery.record(), table, part_of(1, 2, "round", "red"))
    again = load_seen(gallery.seen())
    at = [again.digests.index(digest) for digest in first.digests]
    assert again.at(at).pixels == first.pixels and (again.samples[at] == first.samples).all()
    assert added.seen is not None and added.seen["train"].images == 26


@pytest.mark.parametrize("step", [0, 3, 5, 7, LAST])
def test_a_kill_leaves_the_gallery_of_before_or_after(gallery: GalleryDir, step: int) -> None:
    """SIGKILL before the n-th rename, and after the last one: what is there is whole, and adding goes through."""
    before, table = content(gallery), rows(0, 24, 0).joined(rows(1, 5, 1, "oval"))
    part = part_of(1, 5, "oval", "red")
    child = os.fork()
    if child == 0:
        try:
            _kill_at(step)
            put_in(gallery, gallery.record(), table, part)
            _killed()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    record = gallery.record()
    assert record.images == len(read_rows(gallery, record)) == len(load_seen(gallery.seen()))  # whole
    assert record.images == (29 if step == LAST else 24)
    honest = honest_of(gallery, record)
    assert honest is not None and len(honest) > 0
    if record.images == 24:
        put_in(gallery, record, table, part)
    record = gallery.record()
    left = table.at(table.more[PART] == 0)
    write_gallery(gallery, record, parts_left(record.parts, left), left, {}, gallery.fingerprints(record))
    assert content(gallery) == before


def _killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(step: int) -> None:
    rename, left = Path.replace, [step]

    def killing(self: Path, target: Path) -> Path:
        if left[0] == 0:
            _killed()
        left[0] -= 1
        return rename(self, target)

    Path.replace = killing  # type: ignore[method-assign]


def test_an_unseen_image_is_predicted_by_other_groups_with_the_networks_that_have_not_seen_it() -> None:
    """Against a slow loop: cosine over the columns of those networks, one vote a group, factors by themselves."""
    table = rows(3, 24, 0)
    found = honest_table(table, WIDTHS, SCHEMA, Voting(2, 0.1), {str(table.sha256[4]): 1})
    assert found is not None and found.fold.tolist().count(1) == 1
    unseen = table.more[UNSEEN]
    assert found.path.tolist() == table.path[unseen > 0].tolist() and 0 < (unseen == 3).sum() < (unseen > 0).sum()
    for q in np.flatnonzero(unseen).tolist():
        columns = [*range(4)] * bool(unseen[q] & 1) + [*range(4, 7)] * bool(unseen[q] & 2)
        own = table.vectors[:, columns].astype(float)
        own = own / np.linalg.norm(own, axis=1, keepdims=True)
        near: dict[str, tuple[float, int]] = {}
        for row in range(24):
            if table.group[row] != table.group[q]:
                candidate = (float(own[q] @ own[row]), row)
                near[table.group[row]] = max(near.get(table.group[row], (-2.0, -1)), candidate)
        best = sorted(near.values(), reverse=True)[:2]
        share = np.exp([c / 0.1 for c, _ in best]) / np.exp([c / 0.1 for c, _ in best]).sum()
        parts = []
        for factor in SCHEMA.factors:
            votes = [sum(s for s, (_, r) in zip(share, best, strict=True) if table.labels[factor.name][r] == c)
                     for c in factor.classes]  # fmt: skip
            parts.append([(2 * v + 0.5) / 3 for v in votes])
        expected = [a * b for a in parts[0] for b in parts[1]]
        np.testing.assert_allclose(found.probs[found.path.tolist().index(table.path[q])], expected, atol=1e-5)
    seen_by_all = EmbeddingTable(**{**vars(table), "more": {**table.more, UNSEEN: np.zeros(24, np.int64)}})
    assert honest_table(seen_by_all, WIDTHS, SCHEMA, Voting(2, 0.1), {}) is None


def test_old_classes_are_compared_on_the_same_images_and_new_ones_by_their_recall(gallery: GalleryDir) -> None:
    before = honest_of(gallery, gallery.record())
    table = rows(0, 24, 0).joined(rows(1, 9, 1, "oval"))
    after = honest_of(gallery, put_in(gallery, gallery.record(), table, part_of(1, 9, "oval", "red")))
    found = old_and_new(before, after)
    assert found is not None and before is not None and after is not None
    old = [i for i, path in enumerate(after.path.tolist()) if path in before.path.tolist()]
    assert found.old_images == len(before) == len(old)
    assert found.before[0] == pytest.approx((before.predicted == before.true).mean())
    assert found.after[0] == pytest.approx((after.predicted[old] == after.true[old]).mean())
    assert set(found.recall) <= {"oval/red", "oval/green"} and found.new_images == len(after) - len(before)
    for name, recall in found.recall.items():
        of_class = after.true == after.classes.index(name)
        alone = len(set(after.group[of_class].tolist())) == 1
        right = float((after.predicted[of_class] == after.true[of_class]).mean())
        assert recall == (None if alone else pytest.approx(right))
    assert old_and_new(before, None) is None
    one_group = replace(after, group=np.full(len(after), "g"))
    assert set((old_and_new(before, one_group) or found).recall.values()) == {None}
    told = scores_told(old_and_new(before, one_group))
    assert all("no recall, since all its images are of one group" in line for line in told[1:]) and len(told) > 1


def test_what_is_added_changes_nothing_of_which_other_images_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more images than are scored, those that were scored before are scored again, and new ones by themselves."""
    monkeypatch.setattr(gallery_scores, "MOST", 4)
    old, new = rows(0, 24, 0).at(np.random.default_rng(0).permutation(24)), rows(1, 9, 1, "oval")
    known = sorted(d for d, unseen in zip(old.sha256.tolist(), old.more[UNSEEN].tolist(), strict=True) if unseen)
    assert len(known) > 4
    voting = Voting(2, 0.1)
    first = honest_table(old, WIDTHS, SCHEMA, voting, {})
    assert first is not None and sorted(first.sha256.tolist()) == known[:4]
    schema = extended(SCHEMA, [("oval", "red")])
    for table in (old.joined(new), new.joined(old)):
        second = honest_table(table, WIDTHS, schema, voting, {})
        assert second is not None and set(first.sha256.tolist()) < set(second.sha256.tolist()) and len(second) == 8
        scores = old_and_new(first, second)
        assert scores is not None and (scores.old_images, scores.new_images) == (4, 4)


def test_an_image_without_a_group_is_a_group_of_its_own_in_every_score(gallery: GalleryDir) -> None:
    """As in the tables of runs: otherwise all such images would be one group, and no interval could be drawn."""
    table = rows(0, 24, 0)
    alone = replace(table, group=np.where(np.arange(24) < 12, "", table.group))
    found = honest_table(alone, WIDTHS, SCHEMA, Voting(2, 0.1), {})
    assert found is not None
    assert [g == p for g, p in zip(found.group.tolist(), found.path.tolist(), strict=True)] == [
        int(p.split("-")[1][:-4]) < 12 for p in found.path.tolist()
    ]
    assert "no group (person) is known" not in gallery_card(gallery)
    put_in(gallery, replace_parts(gallery), alone, part_of(0, 24))
    count = sum(int(p.split("-")[1][:-4]) < 12 for p in found.path.tolist())
    assert f"of {count} images no group (person) is known" in gallery_card(gallery)


def replace_parts(gallery: GalleryDir) -> GalleryRecord:
    return gallery.record().model_copy(update={"parts": ()})


def test_the_card_says_how_many_classes_count_as_nothing(gallery: GalleryDir) -> None:
    assert "count" not in gallery_card(gallery)
    put_in(gallery, gallery.record(), rows(0, 24, 0).joined(rows(1, 5, 1)), part_of(1, 5, "oval", "blue"))
    assert "**5 of 9 classes have no such image**: macro-F1 counts them as 0." in gallery_card(gallery)


def test_images_come_in_once_and_under_one_class() -> None:
    table, fresh = rows(0, 4, 0), rows(1, 3, 1)
    twice = fresh.at([0, 1, 1, 2]).joined(table.at([2]))
    assert new_rows(twice, table, "here").path.tolist() == fresh.path.tolist()
    with pytest.raises(DataError, match="All 1 images of here are in the gallery already"):
        new_rows(table.at([2]), table, "here")
    other = EmbeddingTable(**{**vars(table.at([2])), "labels": {"shape": ["oval"], "colour": ["red"]}})
    with pytest.raises(DataError, match=r"/data/0-2.jpg is in the gallery already, as (round|square)/(red|green)"):
        new_rows(other, table, "here")


def test_a_class_is_named_by_one_class_of_each_factor() -> None:
    assert classes_named("oval/red", SCHEMA) == ("oval", "red")
    assert classes_named("a/b", LabelSchema((Factor("kind", ("x", "y")),))) == ("a/b",)
    assert classes_named(" oval / cafe\u0301", SCHEMA) == ("oval", "caf\u00e9")
    for name in ("oval", "oval/", "a/b/c"):
        with pytest.raises(DataError, match=r"does not name a class of each factor \(shape, colour\)"):
            classes_named(name, SCHEMA)


def test_what_was_added_is_named_as_it_was_however_it_is_written(gallery: GalleryDir) -> None:
    table = rows(0, 24, 0).joined(rows(1, 5, 1, "oval"))
    record = put_in(gallery, gallery.record(), table, part_of(1, 5, "oval", "red"))
    for what in ("oval/red", " oval / red"):
        assert named_rows(what, record, table).tolist() == [False] * 24 + [True] * 5
    with pytest.raises(DataError, match="Nothing was added as 'round/red'"):  # of what it was built of
        named_rows("round/red", record, table)


def test_labels_are_names_that_the_schema_must_know(gallery: GalleryDir) -> None:
    table = read_embeddings(gallery.rows(gallery.record()))
    assert table.labels["shape"].tolist() == rows(0, 24, 0).labels["shape"].tolist()
    with pytest.raises(DataError, match="shape 'oval' is not a known class"):
        rows(1, 2, 1, "oval").class_indices(SCHEMA)
