"""Labels are reviewed by keyboard in a real browser, from disk, without a network; the saved table is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_runs import HOSTILE, PLAIN, draw_images, make_doubted_run

import ssl_mask
from ssl_mask.config import RunConfig
from ssl_mask.data.corrections import Correction, read_corrections
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.review.page import review_html
from ssl_mask.reports.html.review.review import Question, Review, review_of
from ssl_mask.reports.html.subject import subject_of
from ssl_mask.runs.sources import run_source
from ssl_mask.workflows.train import train

pytestmark = pytest.mark.slow
GROUPS = {"plain": "person ", "hostile": '@<script>window.hacked=1</script>\u202e,";'}
FILES = {
    "plain": [f"{i:03d}.png" for i in range(40)],
    "hostile": [f"={i:02d}\n<img src=x onerror=window.hacked=1>'\",;.png" for i in range(24)],
}


def make(folder: Path, which: str) -> tuple[Path, Review]:
    schema = HOSTILE if which == "hostile" else PLAIN
    draw_images(folder / "data", FILES[which])
    run = make_doubted_run(folder / "run", folder / "data", schema, names=FILES[which], group=GROUPS[which])
    review = review_of(subject_of(run_source(run)))
    page = folder / "review.html"
    page.write_text(review_html(review, Album()), encoding="utf-8")
    return page, review


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Review]]:
    return {which: make(tmp_path_factory.mktemp(which), which) for which in FILES}


def saved(page: Any, folder: Path, schema: LabelSchema) -> dict[tuple[str, str], Correction]:
    with page.expect_download() as waiting:
        page.locator("#download").click()
    assert waiting.value.suggested_filename == "corrections.csv"
    waiting.value.save_as(folder / "corrections.csv")
    return dict(read_corrections(folder / "corrections.csv", schema))


@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_decisions_by_key_are_saved_as_corrections_are_read(
    open_page: Any, pages: dict[str, tuple[Path, Review]], which: str, tmp_path: Path
) -> None:
    path, review = pages[which]
    page, schema = open_page(path), review.subject.schema
    press, questions = page.keyboard.press, review.questions
    names = [f.name for f in schema.factors]
    page.locator("#reviewer").fill("Kim, =1+1")
    page.locator("#reviewer").press("Escape")
    press("k")
    page.locator("#reason").fill("=seen; sure")  # of the second label: its decision comes next
    page.locator("#reason").press("Enter")
    press(str(questions[1].doubt.suggested + 1))
    press("x")
    press("z")
    press("u")
    press("x")
    assert page.locator("#count").text_content() == f"4 of {len(questions)} decided"
    first, second, third, fourth = questions[:4]
    found = saved(page, tmp_path, schema)
    assert found[first.target, first.name].labels[names.index(first.doubt.factor)] == first.doubt.label
    assert found[second.target, second.name].labels[names.index(second.doubt.factor)] == second.doubt.suggested
    assert found[second.target, second.name].reason == "=seen; sure"
    assert found[third.target, third.name].exclude is None
    assert "unsure about" in found[third.target, third.name].reason
    assert found[fourth.target, fourth.name].exclude is True
    assert {each.reviewer for each in found.values()} == {"Kim, =1+1"}
    assert set(found) == {(q.target, q.name) for q in questions[:4]}
    text = (tmp_path / "corrections.csv").read_text(encoding="utf-8")
    assert "'=seen" in text and ",=" not in text and "\n=" not in text
    assert page.evaluate("window.hacked") is None
    page.reload()  # progress is in the browser
    assert page.locator("#count").text_content() == f"4 of {len(questions)} decided"
    assert saved(page, tmp_path, schema) == found
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#forget").click()
    assert page.locator("#count").text_content() == f"0 of {len(questions)} decided"
    page.locator("#older").set_input_files(tmp_path / "corrections.csv")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('4 ')")
    again = saved(page, tmp_path, schema)
    assert {k: (c.labels, c.exclude, c.reason) for k, c in again.items()} == {
        k: (c.labels, c.exclude, c.reason) for k, c in found.items()
    }


def test_what_an_older_table_says_of_others_is_saved_again(
    open_page: Any, pages: dict[str, tuple[Path, Review]], tmp_path: Path
) -> None:
    path, review = pages["plain"]
    first = review.questions[0]
    (tmp_path / "older.csv").write_text(
        f"{first.target},kind,cover,exclude,reviewer,reason\nelsewhere,dog,,,Lee,blurred\n{first.name},,,yes,,\n"
    )
    old = review_of(review.subject, corrections=tmp_path / "older.csv")
    other = path.with_name("older.html")
    other.write_text(review_html(old, Album()), encoding="utf-8")
    page = open_page(other)
    assert page.locator("#count").text_content() == f"1 of {len(review.questions)} decided"
    found = saved(page, tmp_path, PLAIN)
    kept = found[first.target, "elsewhere"]
    assert (kept.labels, kept.reviewer, kept.reason) == ({0: 1}, "Lee", "blurred")
    assert found[first.target, first.name].exclude is True and len(found) == 2


def test_a_run_trains_with_what_was_decided(open_page: Any, tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    """Train, review three labels by keyboard, download the table, train with it."""
    first = train(tiny(data={"min_groups": 1}), quiet=True)
    assert first is not None
    page = open_page(ssl_mask.review(first.path))
    subject = subject_of(run_source(first))
    changed, excluded, kept = review_of(subject).questions[:3]
    for key in (str(changed.doubt.suggested + 1), "x", "k"):
        page.keyboard.press(key)
    assert len(saved(page, tmp_path, subject.schema)) == 3
    second = train(tiny(data={"min_groups": 1, "corrections": str(tmp_path / "corrections.csv")}), quiet=True)
    assert second is not None
    before, after = ({row["path"]: row for _, row in read_csv(run.path / "manifest.csv")} for run in (first, second))

    def asked(question: Question) -> set[str]:
        column = "group" if question.target == "group" else "path"
        return {path for path, row in before.items() if row[column] == question.name}

    factor, labels = changed.doubt.factor, subject.schema.sizes
    relabeled = {(path, name) for path in after for name in labels if after[path][name] != before[path][name]}
    assert relabeled == {(path, factor) for path in asked(changed) - asked(excluded)} != set()
    assert before.keys() - after.keys() == asked(excluded) != set()
    assert asked(kept)


def test_filters_and_arrows(open_page: Any, pages: dict[str, tuple[Path, Review]]) -> None:
    path, review = pages["plain"]
    page = open_page(path)
    page.locator("#by-factor").select_option("0")
    own = [q for q in review.questions if q.doubt.factor == "kind"]
    assert page.locator("#place").text_content() == f"1 of {len(own)}"
    assert page.locator("#who").text_content() == own[0].name
    page.locator("#who").click()
    page.keyboard.press("ArrowRight")
    assert page.locator("#who").text_content() == own[1].name
    page.locator("#by-state").select_option("keep")
    assert page.locator("#none").is_visible()
    page.locator("#by-state").select_option("")
    label = PLAIN.factors[0].classes[own[0].doubt.label]
    page.locator("#by-class").select_option(label)
    fitting = [q for q in own if q.doubt.label == own[0].doubt.label]
    assert page.locator("#place").text_content() == f"1 of {len(fitting)}"
    page.locator("#by-class").focus()
    page.keyboard.press("k")  # typed in a list: no decision
    assert page.locator("#count").text_content().startswith("0 of")


@pytest.mark.parametrize(
    ("which", "width", "scheme"),
    [("plain", 1280, "light"), ("plain", 420, "dark"), ("plain", 1280, "dark"), ("hostile", 420, "light")],
)
def test_everybody_can_review(
    open_page: Any, pages: dict[str, tuple[Path, Review]], which: str, width: int, scheme: str, faults: Any
) -> None:
    """axe-core finds no serious fault; nothing is wider than the screen."""
    page = open_page(pages[which][0], width, scheme)
    page.keyboard.press("k")
    page.keyboard.press("ArrowLeft")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
