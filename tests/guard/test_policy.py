"""The policy's table, row by row: what is refused with which code, what is dropped, what status is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from handmade import findings, pair, record, sha

from ssl_mask.errors import ConfigError, GuardError, IncompleteError, OverlapError, UndeclaredError
from ssl_mask.guard.allow import Allowed
from ssl_mask.guard.findings import Kind, PoolRecord, Unchecked
from ssl_mask.guard.policy import Declaration, Verdict, enforce, judge

TRAIN = record("train", "train", "a.jpg@1=cat", "b.jpg@2=dog", "c.jpg@2=dog")
VAL = record("val", "val", "v.jpg@7=cat", "w.jpg@8")
TEST = record("test", "test", "x.jpg@3=cat", "y.jpg@2")
POOL = record("unlabeled", "unlabeled", "p.jpg@20", "q.jpg@21")
ALL = (TEST, VAL, TRAIN, POOL)
DECLARED = Declaration("the competition scores on it", "rule 4")


def verdict_of(
    *pairs: Any, unchecked: tuple[Unchecked, ...] = (), pools: tuple[PoolRecord, ...] = ALL, **how: Any
) -> Verdict:
    return judge(findings(*pools, pairs=pairs, unchecked=unchecked), **how)


def statuses(verdict: Verdict) -> dict[str, str]:
    return {"val": verdict.marks[VAL.digest].status, "test": verdict.marks[TEST.digest].status}


def test_nothing_found_is_clean() -> None:
    verdict = verdict_of()
    enforce(verdict)
    assert statuses(verdict) == {"val": "clean", "test": "clean"}
    assert (verdict.mark.status, verdict.exit_code, verdict.drops, verdict.warnings) == ("clean", 0, {}, ())


@pytest.mark.parametrize("kind", ["bytes", "pixels", "near"])
@pytest.mark.parametrize(
    ("first", "one", "second", "other", "error"),
    [
        (TEST, "x.jpg", TRAIN, "a.jpg", OverlapError),
        (TEST, "x.jpg", VAL, "v.jpg", OverlapError),
        (VAL, "v.jpg", TRAIN, "a.jpg", OverlapError),
        (TEST, "x.jpg", POOL, "p.jpg", UndeclaredError),
        (VAL, "v.jpg", POOL, "p.jpg", UndeclaredError),
    ],
)
def test_a_copy_in_a_training_pool_is_refused_or_dropped(
    first: PoolRecord, one: str, second: PoolRecord, other: str, error: type[GuardError], kind: Kind
) -> None:
    found = pair(first, one, second, other, kind)
    verdict = verdict_of(found)
    assert verdict.drops == {second.name: (other,)}
    assert verdict.outcome(first) == ("refused", verdict.refusals[0].error.problem)
    with pytest.raises(error, match=f"{second.name} overlaps {first.name} .1 {kind}.*{other} with {one}") as refused:
        enforce(verdict)
    assert refused.value.exit_code == {OverlapError: 3, UndeclaredError: 4}[error] == verdict.exit_code
    assert "--drop-overlap" in refused.value.hint and "--drop-list" in refused.value.hint
    dropped = verdict_of(found, drop_overlap=True)
    enforce(dropped)
    assert dropped.drops == verdict.drops and dropped.mark.status == "clean" and dropped.outcome(first)[0] == "clean"


def test_the_undeclared_are_told_how_to_declare() -> None:
    with pytest.raises(UndeclaredError, match="transductive") as refused:
        enforce(verdict_of(pair(TEST, "x.jpg", POOL, "p.jpg")))
    for step in ("--drop-overlap", '--transductive --reason "…" --allowed-by "…"', "sslmask audit … --drop-list"):
        assert step in refused.value.hint


def test_declared_use_marks_the_pool_that_it_overlaps_and_drops_nothing() -> None:
    verdict = verdict_of(pair(TEST, "x.jpg", POOL, "p.jpg"), declared=DECLARED)
    enforce(verdict)
    assert statuses(verdict) == {"val": "clean", "test": "transductive-test"}
    assert verdict.drops == {} and verdict.mark.status == "transductive-test"
    verdict = verdict_of(pair(VAL, "v.jpg", POOL, "p.jpg"), declared=DECLARED)
    assert statuses(verdict) == {"val": "transductive-val", "test": "clean"}


def test_a_declaration_without_overlap_changes_nothing() -> None:
    assert verdict_of(declared=DECLARED).mark.status == "clean"


def test_a_declaration_does_not_excuse_labeled_images() -> None:
    verdict = verdict_of(pair(TEST, "x.jpg", TRAIN, "a.jpg"), pair(TEST, "x.jpg", POOL, "p.jpg"), declared=DECLARED)
    assert verdict.exit_code == 3 and verdict.drops == {"train": ("a.jpg",)}


@pytest.mark.parametrize(("reason", "allowed_by", "flag"), [("", "r", "--reason"), ("b", " ", "--allowed-by")])
def test_a_declaration_needs_its_reason_and_what_allows_it(reason: str, allowed_by: str, flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        Declaration(reason, allowed_by)


def test_allowed_pairs_stay_and_are_marked() -> None:
    row = Allowed(sha("x.jpg"), "a.jpg", "a poster that both photos show", "allow.csv:2")
    verdict = verdict_of(pair(TEST, "x.jpg", TRAIN, "a.jpg"), pair(TEST, "y.jpg", TRAIN, "a.jpg"), allowed=[row])
    assert verdict.exit_code == 3 and "1 near" in verdict.refusals[0].error.problem  # the other pair is still refused
    verdict = verdict_of(pair(TEST, "x.jpg", TRAIN, "a.jpg"), allowed=[row])
    enforce(verdict)
    assert statuses(verdict) == {"val": "clean", "test": "leaked-declared"}
    assert list(verdict.allowed.values()) == [row.reason] and verdict.drops == {}
    unlabeled = Allowed("p.jpg", "x.jpg", "not the same", "allow.csv:3")
    assert verdict_of(pair(TEST, "x.jpg", POOL, "p.jpg"), allowed=[unlabeled]).mark.status == "transductive-test"


def test_an_unused_allow_row_is_a_warning() -> None:
    verdict = verdict_of(allowed=[Allowed("x.jpg", "a.jpg", "no more", "allow.csv:5")])
    assert verdict.mark.status == "clean" and "allow.csv:5" in verdict.warnings[0]


def test_a_group_on_two_sides_drops_all_its_images() -> None:
    verdict = verdict_of(pair(TEST, "y.jpg", TRAIN, "b.jpg", "group", 0.0))
    assert verdict.drops == {"train": ("b.jpg", "c.jpg")}
    with pytest.raises(OverlapError, match=r"1 group.*group 2"):
        enforce(verdict)


def test_the_gravest_decides_and_all_are_told() -> None:
    unreadable = record("test", "test", "x.jpg", "z.jpg", bad={"z.jpg": "it is empty: 0 bytes"})
    verdict = verdict_of(
        pair(unreadable, "x.jpg", POOL, "p.jpg"), pair(VAL, "v.jpg", TRAIN, "a.jpg"),
        pools=(unreadable, VAL, TRAIN, POOL),
    )  # fmt: skip
    assert [r.error.exit_code for r in verdict.refusals] == [3, 4, 6] and verdict.exit_code == 3
    with pytest.raises(OverlapError, match=r"(?s)train overlaps val.*unlabeled overlaps test.*z.jpg .it is empty"):
        enforce(verdict)


@pytest.mark.parametrize("role", ["test", "val"])
def test_unreadable_protected_images_are_never_clean(role: Any) -> None:
    name = {"test": "test set", "val": "validation set"}[role]
    pool = record(role, role, "x.jpg", "z.jpg", bad={"z.jpg": "cannot be decoded (truncated)"})
    for drop in (False, True):
        verdict = verdict_of(pools=(pool, TRAIN), drop_overlap=drop)
        assert verdict.exit_code == 6 and verdict.marks[pool.digest] == (
            "not-checked",
            f"1 images of the {name} cannot be read",
        )
        with pytest.raises(IncompleteError, match=r"Check incomplete: 1 of 2 images .*z.jpg \(cannot be decoded"):
            enforce(verdict)


def test_unreadable_training_images_are_a_warning() -> None:
    pool = record("train", "train", "a.jpg", "z.jpg", bad={"z.jpg": "it is empty"})
    verdict = verdict_of(pools=(TEST, pool))
    assert verdict.mark.status == "clean" and "z.jpg" in verdict.warnings[0]


def test_where_persons_are_unknown_only_the_photos_are_clean() -> None:
    unnamed = record("test", "test", "x.jpg", "y.jpg", grouped=False)
    pool = record("extra", "unlabeled", "p.jpg", grouped=False)
    unknown = [Unchecked(first, second, "shared groups") for first, second in (("test", "train"), ("test", "extra"))]
    alone = verdict_of(unchecked=(unknown[0],), pools=(unnamed, VAL, TRAIN))
    enforce(alone)
    assert alone.marks[VAL.digest] == ("clean", "no shared photos, no shared persons")
    assert alone.mark.sentence == (
        "photos-clean (the test set names no persons (groups), so shared ones cannot be ruled out)"
    )
    assert "NOT CHECKED" in alone.warnings[0]
    both = verdict_of(unchecked=tuple(unknown), pools=(unnamed, VAL, TRAIN, pool))
    assert both.mark.reason.startswith("the test set and the pool extra name no persons (groups)")
    some = record("test", "test", "x.jpg@3")
    some = replace(some, files=(*some.files, *unnamed.files[1:]))
    assert "the test set names not every person" in verdict_of(unchecked=(unknown[0],), pools=(some, TRAIN)).mark.reason


def test_review_and_conflicts_are_warnings() -> None:
    verdict = verdict_of(
        pair(TEST, "x.jpg", TRAIN, "b.jpg", "review", 0.92), pair(TRAIN, "a.jpg", TRAIN, "b.jpg", "near", 0.96)
    )
    enforce(verdict)
    assert verdict.mark.status == "clean" and verdict.drops == {}
    assert "train and test that may be one picture: 1" in verdict.warnings[0]
    assert "b.jpg (dog) and a.jpg (cat)" in verdict.warnings[1]


def test_copies_in_the_unlabeled_pool_of_training_images_are_no_leak() -> None:
    assert verdict_of(pair(TRAIN, "a.jpg", POOL, "p.jpg", "bytes", 1.0)).mark.status == "clean"


def test_without_an_evaluation_pool_nothing_is_called_clean() -> None:
    assert verdict_of(pools=(TRAIN, POOL)).mark.status == "not-checked"
    assert verdict_of(pools=(TEST,)).mark.status == "not-checked"  # nobody was compared with it
