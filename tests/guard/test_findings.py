"""Findings keep what they are given: JSON there and back, conflicts, canonical text."""

from __future__ import annotations

import hashlib
import json

from handmade import findings, pair, record, sha

from ssl_mask.guard.findings import Unchecked, canonical, compared, content_digest

TRAIN = record("train", "train", "a.jpg@1=cat", "b.jpg@2=dog", "c.jpg@2=dog", bad={"c.jpg": "it is empty: 0 bytes"})
TEST = record("test", "test", "x.jpg=cat", "y.jpg", grouped=False)


def test_json_holds_all_that_was_found() -> None:
    pairs = (pair(TEST, "x.jpg", TRAIN, "b.jpg"), pair(TRAIN, "a.jpg", TRAIN, "b.jpg", "bytes", 1.0))
    content = json.loads(
        canonical(findings(TEST, TRAIN, pairs=pairs, unchecked=(Unchecked("test", "train", "x"),)).to_json())
    )
    assert content["pairs"] == [p._asdict() for p in pairs]
    assert content["conflicts"] == [pairs[0]._asdict(), pairs[1]._asdict()]
    assert content["not_checked"] == [{"first_pool": "test", "second_pool": "train", "what": "x"}]
    train = content["pools"][1]
    assert train["n"] == 3 and train["unreadable"] == {"c.jpg": "it is empty: 0 bytes"}
    assert train["files"][0] == {"path": "a.jpg", "sha256": sha("a.jpg"), "group": "1", "label": "cat"}


def test_conflicts_are_copies_whose_known_labels_differ() -> None:
    pairs = (
        pair(TEST, "x.jpg", TRAIN, "b.jpg"),  # cat, dog
        pair(TEST, "x.jpg", TRAIN, "a.jpg"),  # cat, cat
        pair(TEST, "y.jpg", TRAIN, "a.jpg"),  # unknown, cat
        pair(TEST, "x.jpg", TRAIN, "b.jpg", "review", 0.91),  # nobody knows whether it is a copy
        pair(TRAIN, "a.jpg", TRAIN, "b.jpg", "pixels", 1.0),  # within a pool
    )
    assert findings(TEST, TRAIN, pairs=pairs).conflicts == (pairs[0], pairs[4])


def test_the_content_digest_by_hand() -> None:
    one, two = sorted([sha("1"), sha("2")])
    expected = hashlib.sha256(f"{one}\n{two}".encode()).hexdigest()
    assert content_digest([two, one]) == content_digest([one, "", two]) == expected
    assert content_digest([one, one, two]) != expected


def test_pools_are_compared_by_role() -> None:
    pools = [record(n, n, "a.jpg") for n in ("test", "val", "train", "unlabeled")]  # type: ignore[arg-type]
    more = [*pools, record("extra", "unlabeled", "b.jpg")]
    names = {(a.name, b.name) for a, b in compared(more)}
    assert names == {
        ("test", "val"), ("test", "train"), ("test", "unlabeled"), ("test", "extra"), ("val", "train"),
        ("val", "unlabeled"), ("val", "extra"), ("train", "unlabeled"), ("train", "extra"),
        ("train", "train"), ("val", "val"),
    }  # fmt: skip


def test_groups_of_a_pool() -> None:
    assert TRAIN.grouped and not TEST.grouped
    assert {g: [f.path for f in files] for g, files in TRAIN.by_group.items()} == {
        "1": ["a.jpg"],
        "2": ["b.jpg", "c.jpg"],
    }
    assert TEST.by_group == {}


def test_odd_names_are_kept() -> None:
    odd = b"caf\xe9\n|.jpg".decode("utf-8", "surrogateescape")
    found = findings(record("test", "test", odd))
    assert json.loads(canonical(found.to_json()))["pools"][0]["files"][0]["path"] == odd
