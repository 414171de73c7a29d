"""Data cards: what they hold, that the page follows from the JSON, and that any change is named."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ssl_mask.demo_data.plan import make_plan
from ssl_mask.errors import DataError
from ssl_mask.files import write_text
from ssl_mask.guard.allow import Allowed
from ssl_mask.guard.findings import File, Findings, Pair, PoolRecord, Role, Unchecked, content_digest
from ssl_mask.guard.policy import Declaration, judge
from ssl_mask.guard.self_test import AlterationRecall, SelfTest
from ssl_mask.reports import data_card as module
from ssl_mask.reports.data_card import card_digest, pool_card, surroundings, write_card
from ssl_mask.reports.data_page import pool_page
from ssl_mask.reports.verify_card import read_card, verify_card

METHOD = {"version": "by-hand", "near": 0.94, "review": 0.9}


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(root: Path, name: Role, group: str = "") -> PoolRecord:
    """All images of a folder as a pool; `bad.*` counts as unreadable."""
    files = [
        File(p.relative_to(root).as_posix(), "" if p.name.startswith("bad") else sha(p), group, "")
        for p in sorted((root / name).iterdir())
    ]
    bad = {f.path: "it is empty: 0 bytes" for f in files if not f.sha256}
    return PoolRecord(
        name, name, content_digest(f.sha256 for f in files), tuple(files), bad, "ids.csv" if group else ""
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("test", "train", "unlabeled"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data/unlabeled/bad.png").write_bytes(b"")
    return tmp_path / "data"


def found(root: Path) -> Findings:
    test, train, pool = record(root, "test", "p1"), record(root, "train", "p2"), record(root, "unlabeled")
    one, other, third = test.files[0], train.files[1], pool.files[2]
    pairs = (
        Pair("test", "train", "near", 0.97, one.path, other.path, one.sha256, other.sha256, "", "", "", 2),
        Pair("test", "unlabeled", "review", 0.91, one.path, third.path, one.sha256, third.sha256, "", "", "", 2),
    )
    return Findings((test, train, pool), pairs, (Unchecked("test", "unlabeled", "shared groups (…)"),), METHOD)


def write(root: Path, name: str = "test", **how: Any) -> Path:
    findings, folder = found(root), root.parent / "cards"
    verdict = judge(findings, declared=how.get("declared"), allowed=how.pop("allowed", ()))
    return write_card(folder, pool_card(findings, verdict, name, root=root, folder=folder, **how))


def test_the_statement_is_bound_to_the_pool(root: Path) -> None:
    card = json.loads(write(root).read_text())
    digests = sorted(sha(p) for p in (root / "test").iterdir())
    expected = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert card["_type"] == "https://in-toto.io/Statement/v1"
    assert card["subject"] == [{"name": "test", "digest": {"sha256": expected}}]
    predicate = card["predicate"]
    assert predicate["content_digest"] == expected and predicate["n"] == 3 and predicate["schema"] == 1
    assert sorted(f["sha256"] for f in predicate["files"]) == digests
    assert predicate["root"] == "../data"
    assert str(root.parent) not in json.dumps(card)  # nothing of this machine


def test_comparisons_are_seen_from_the_pool(root: Path) -> None:
    predicate = read_card(write(root, "train"))["predicate"]
    by_pool = {c["with"]: c for c in predicate["comparisons"]}
    assert by_pool["test"]["pairs"] == {"bytes": 0, "pixels": 0, "source": 0, "near": 1, "review": 0, "group": 0}
    example = {"kind": "near", "score": 0.97, "here": "train/1.png", "there": "test/0.png", "group": ""}
    assert by_pool["test"]["examples"] == [example]
    assert by_pool["unlabeled"]["pairs"]["review"] == 0 and predicate["status"] == ""
    of_test = read_card(write(root))["predicate"]
    assert of_test["status"] == "refused"
    assert {c["with"]: c["not_checked"] for c in of_test["comparisons"]} == {
        "train": [],
        "unlabeled": ["shared groups (…)"],
    }


def test_the_page_has_front_matter_and_says_what_was_not_checked(root: Path) -> None:
    page = write(root, "unlabeled").with_suffix(".md").read_text()
    front = yaml.safe_load(page.split("---\n")[1])
    assert front["size_categories"] == ["n<1K"] and "role:unlabeled" in front["tags"]
    assert "## Unreadable (1)" in page and "`unlabeled/bad.png`" in page and "0 bytes" in page
    assert page.count("NOT CHECKED") == 2  # groups of the pool, groups shared with test
    assert len(re.findall(r"^\| L[123]", page, flags=re.M)) == 8  # all kinds of the taxonomy
    assert "not signed" in page and "not proof against tampering" in page
    assert "near 0.94" in page and "version by-hand" in page and "sslmask" in page


TESTED = SelfTest(
    "test", "unlabeled", 100, 840, 3, "exact",
    (AlterationRecall("flip", 100, 100, 0), AlterationRecall("crop 20 %", 100, 97, 2),
     AlterationRecall("double size", 0, 0, 0)),
)  # fmt: skip


def test_a_self_test_stands_on_the_cards_of_its_two_pools(root: Path) -> None:
    for name in ("test", "unlabeled"):
        card = write(root, name, self_test=TESTED)
        assert verify_card(card) == []
        page = card.with_suffix(".md").read_text()
        said = "Of 200 altered copies of your photos 197 were found; weakest: crop 20 % (0.970, 0.915 to 0.990)."
        assert said in page
        assert "| crop 20 % | 100 | 97 | 2 | 0.970 | 0.915 to 0.990 |" in page
        assert "| double size | 0 | 0 | 0 |  |  |" in page and "100 of 840 photos of test, drawn with seed 3" in page
    page = write(root, "train", self_test=TESTED).with_suffix(".md").read_text()
    assert "Not run" in page and "197" not in page


@pytest.mark.parametrize(
    ("search", "said"),
    [("exact", "The search is exact: every"), ("ivf64", "approximate (ivf64). Not run: its recall was NOT MEASURED")],
)
def test_an_approximate_search_without_a_self_test_says_so(root: Path, search: str, said: str) -> None:
    findings, folder = replace(found(root), method={**METHOD, "search": search}), root.parent / "cards"
    card = write_card(folder, pool_card(findings, judge(findings), "test", root=root, folder=folder))
    assert said in card.with_suffix(".md").read_text() and verify_card(card) == []


def test_a_card_of_before_there_were_self_tests_still_verifies(root: Path) -> None:
    card = json.loads(write(root).read_text())
    del card["predicate"]["self_test"]
    card["predicate"]["card_digest"] = card_digest(card)
    path = write_card(root.parent / "cards", card)
    assert "Self-test" not in path.with_suffix(".md").read_text()
    assert verify_card(path) == []


def test_declared_and_allowed_stand_in_their_makers_words(root: Path) -> None:
    allowed = [Allowed("test/0.png", "train/1.png", "a poster | on the wall", "allow.csv:2")]
    declared = Declaration("the organisers score on it", "rule 7")
    page = write(root, declared=declared, allowed=allowed).with_suffix(".md").read_text()
    for words in ("the organisers score on it. Allowed by: rule 7.", r"a poster \| on the wall",
                  "**leaked-declared** (1 images of"):  # fmt: skip
        assert words in page


def test_equal_bytes_every_time(root: Path) -> None:
    first = write(root)
    before = first.read_bytes(), first.with_suffix(".md").read_bytes()
    write(root)
    assert (first.read_bytes(), first.with_suffix(".md").read_bytes()) == before


def test_a_fresh_card_verifies_by_either_name_and_from_elsewhere(root: Path, tmp_path: Path) -> None:
    for name in ("test", "train", "unlabeled"):
        card = write(root, name)
        assert verify_card(card) == verify_card(card.with_suffix(".md")) == []
    moved = root.rename(tmp_path / "moved")
    assert verify_card(card, moved) == []
    assert len(verify_card(card)) == 4  # all are missing where they were


def spoil(root: Path, what: str) -> str:
    """Damage something; returns what must be named."""
    photo, card = root / "test/1.png", root.parent / "cards/test.json"
    if what == "changed":
        photo.write_bytes(photo.read_bytes() + b"\0")
        return "test/1.png: changed"
    if what == "missing":
        photo.unlink()
        return "test/1.png: missing"
    if what == "added":
        (root / "test/new.png").write_bytes(b"")
        return "test/new.png: added"
    if what == "page":
        page = card.with_suffix(".md")
        page.write_text(page.read_text().replace("refused", "clean"))
        return "test.md: edited"
    content = json.loads(card.read_text())
    if what == "status":
        content["predicate"]["status"] = "clean"
    elif what == "listing":
        content["predicate"]["files"].pop()
        content["predicate"]["card_digest"] = card_digest(content)
    elif what == "subject":
        content["subject"][0]["digest"]["sha256"] = "0" * 64
    elif what == "part":
        del content["predicate"]["files"]
    card.write_text(json.dumps(content))
    return "test.json: edited"


@pytest.mark.parametrize("what", ["changed", "missing", "added", "page", "status", "listing", "subject", "part"])
def test_every_change_is_named(root: Path, what: str) -> None:
    card = write(root)
    named = spoil(root, what)
    problems = verify_card(card)
    assert any(p.startswith(named) for p in problems), problems
    if what in {"changed", "missing", "added", "page"}:
        assert len(problems) == 1


def test_a_file_that_was_unreadable_may_not_be_mended_in_secret(root: Path) -> None:
    card = write(root, "unlabeled")
    (root / "unlabeled/bad.png").write_bytes((root / "test/0.png").read_bytes())
    assert verify_card(card) == ["unlabeled/bad.png: changed, it can be read now"]


def test_images_of_another_pool_in_the_same_folder_are_not_new(root: Path) -> None:
    (root / "test/of-another-pool.png").write_bytes(b"")
    findings, folder = found(root), root.parent / "cards"
    files = [f for f in findings.pools[0].files if "another" not in f.path]
    test = PoolRecord("test", "test", content_digest(f.sha256 for f in files), tuple(files), {}, "ids.csv")
    findings = Findings((test,), (), (), METHOD)
    card = write_card(folder, pool_card(findings, judge(findings), "test", root=root, folder=folder))
    assert verify_card(card) == []
    (root / "test/later").mkdir()
    (root / "test/later/new.png").write_bytes(b"")
    assert verify_card(card) == ["test/later/new.png: added"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"_type": "something"}'])
def test_what_is_no_card_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "test.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"test\.json is (no|damaged)"):
        read_card(path)
    with pytest.raises(DataError, match=r"There is no .*gone\.json"):
        read_card(tmp_path / "gone.md")


def test_another_file_is_never_replaced(root: Path) -> None:
    (root.parent / "cards").mkdir()
    for name in ("test.json", "test.md"):
        foreign = root.parent / "cards" / name
        foreign.write_text("mine")
        with pytest.raises(DataError, match=f"{name} is there and was not made by an audit"):
            write(root)
        assert foreign.read_text() == "mine"
        foreign.unlink()


@pytest.mark.parametrize("writes", [0, 1])
def test_a_killed_writer_leaves_a_card_that_verifies_or_none(
    root: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Killed before the JSON, or between it and the page; the old card was of other images."""
    card = write(root)
    (root / "test/2.png").unlink()
    real, left = module.write_text, writes

    def killed(path: Path, text: str) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        real(path, text)

    monkeypatch.setattr(module, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        write(root)
    assert verify_card(card) == (["test/2.png: missing"] if writes == 0 else [])
    assert pool_page(read_card(card))


def test_the_shipped_card_of_the_demo_fits_itself_and_the_drawing(tmp_path: Path) -> None:
    """Its page and digests fit; of the drawing only the names are compared, another encoder may give other bytes."""
    card = Path(__file__).parents[2] / "data_cards/demo.json"
    plan = make_plan(60, 0)
    names = sorted(p.file for p in plan.photos if p.file.startswith("eval/"))
    assert verify_card(card, tmp_path) == [f"{name}: missing" for name in names]
    predicate = read_card(card)["predicate"]
    assert predicate["status"] == "refused"
    found = {c["with"]: sum(c["pairs"][k] for k in ("bytes", "pixels", "near")) for c in predicate["comparisons"]}
    assert found == {"val": 0, "train": 0, "unlabeled": len(plan.truth["leaked_extra"])}


def test_what_is_around_a_pool_is_listed_without_walking_what_two_sources_have_in_common(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/s/2.jpg", "b/c/3.jpg", "b/4.jpg", "b/n/5.jpg", "b/n/deep/6.jpg", "7.jpg", "cards/8.jpg"):
        write_text(tmp_path / name, "")
    around = surroundings(tmp_path, ["a/1.jpg", "b/c/3.jpg"], cards=tmp_path / "cards")
    assert around == ("", ["7.jpg", "a/s/2.jpg", "b/4.jpg", "b/n/5.jpg"])
    assert surroundings(tmp_path, ["a/1.jpg"], cards=tmp_path / "cards") == ("a", ["a/s/2.jpg"])


def test_a_column_for_sources_is_there_where_images_were_prepared(root: Path) -> None:
    as_before = write(root).with_suffix(".md").read_text()
    assert "same pixels | near | review" in as_before and "| source |" not in as_before
    findings = found(root)
    pairs = tuple(p._replace(kind="source", score=1.0) for p in findings.pairs)
    card = pool_card(replace(findings, pairs=pairs), judge(findings), "test", root=root, folder=root / "cards")
    page = write_card(root / "cards", card).with_suffix(".md").read_text()
    assert "same pixels | source | near | review" in page
