"""What `sslmask review` asks: whose label, in which order, and that no name of a stranger gets out of its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_runs import HOSTILE, PLAIN, draw_images, make_doubted_run
from test_report_page import Page

from ssl_mask.cli.verbs import load
from ssl_mask.data.predictions import read_validation
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError, InputError
from ssl_mask.evaluation.label_doubts import by_group, label_doubts, thresholds
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.review.page import review_html
from ssl_mask.reports.html.review.review import Review, digest_of, review_of
from ssl_mask.reports.html.review.text import review_text
from ssl_mask.reports.html.subject import Subject, subject_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import run_source

NAMES = [f"{i:03d}.png" for i in range(40)]
HOSTILE_NAMES = [f"={i:02d}<img src=x onerror=window.hacked=1>'\".png" for i in range(24)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("review")
    draw_images(folder / "data", NAMES)
    return make_doubted_run(folder / "run", folder / "data", names=NAMES)


@pytest.fixture(scope="module")
def subject(run: RunDir) -> Subject:
    return subject_of(run_source(run))


@pytest.fixture(scope="module")
def asked(subject: Subject) -> Review:
    return review_of(subject)


def test_thresholds_are_mean_probabilities_of_labels() -> None:
    probs = np.asarray([[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.2, 0.6, 0.2]])
    assert thresholds(np.asarray([0, 0, 1]), probs).tolist() == pytest.approx([0.7, 0.6, 1.0])


def test_doubts_are_measured_against_what_is_usual_for_their_class(subject: Subject) -> None:
    """Against a slow loop."""
    table, schema = subject.table, subject.schema
    assert table is not None
    for doubt in label_doubts(table, schema):
        i = [f.name for f in schema.factors].index(doubt.factor)
        probs = schema.marginals(table.probs)[doubt.factor]
        labels = schema.part(table.true)[:, i]
        units = table.group if i == 0 else table.path
        usual: dict[int, list[float]] = {}
        for unit in sorted(set(units.tolist())):
            rows = [r for r in range(len(table)) if units[r] == unit]
            label = int(labels[rows[0]])
            usual.setdefault(label, []).append(float(np.mean([probs[r, label] for r in rows])))
        t = {label: float(np.mean(values)) for label, values in usual.items()}
        gap = (doubt.p_label - t[doubt.label]) - (doubt.p_suggested - t[doubt.suggested])
        assert doubt.gap == pytest.approx(gap, abs=1e-5)
        assert doubt.confident == (doubt.p_suggested >= t[doubt.suggested])
    gaps = [d.gap for d in label_doubts(table, schema)]
    assert gaps == sorted(gaps) and len(gaps) > 5


def test_a_person_is_looked_at_once(asked: Review) -> None:
    groups = [q.doubt.group for q in asked.questions]
    assert len(groups) > len(set(groups))
    places = {group: [i for i, own in enumerate(groups) if own == group] for group in groups}
    assert all(own == list(range(own[0], own[-1] + 1)) for own in places.values())
    doubts = [q.doubt for q in asked.questions]
    assert by_group(sorted(doubts, key=lambda d: d.gap)) == doubts
    firsts = [doubts[own[0]].gap for own in places.values()]
    assert firsts == sorted(firsts)


def test_a_correction_is_for_the_group_or_for_the_image(asked: Review) -> None:
    kinds = {(q.doubt.factor, q.target) for q in asked.questions}
    assert kinds == {("kind", "group"), ("cover", "path")}
    for q in asked.questions:
        own = [*q.doubt.rows, *q.others]
        assert len(own) == len(set(own)) == 4 and {str(asked.table.group[row]) for row in own} == {q.doubt.group}
        assert q.name == (q.doubt.group if q.target == "group" else str(asked.table.path[q.doubt.rows[0]]))


def page_of(review: Review, album: Album | None = None) -> tuple[Page, dict[str, Any]]:
    page = Page(review_html(review, album or Album()))
    return page, json.loads(next(text for tag, kind, text in page.blocks if kind == "application/json"))


def test_the_page_asks_all_in_order_with_their_images(asked: Review) -> None:
    page, data = page_of(asked)
    assert [(q["k"], q["n"], q["f"]) for q in data["questions"]] == [
        (q.target, q.name, ["kind", "cover"].index(q.doubt.factor)) for q in asked.questions
    ]
    for q, shown in zip(asked.questions, data["questions"], strict=True):
        names = [data["pictures"][number]["n"] for number in shown["x"]]
        assert names == [str(asked.table.path[row]) for row in q.doubt.rows]
    assert f"{len(asked.questions)} labels of" in page.text


def test_questions_without_room_are_left_out_and_said(asked: Review) -> None:
    page, data = page_of(asked, Album(budget=6000))
    assert 0 < len(data["questions"]) < len(asked.questions)
    assert all(q["x"] for q in data["questions"])
    assert f"{len(data['questions'])} of them fit on this page" in page.text


def test_names_of_strangers_stay_names(tmp_path: Path) -> None:
    draw_images(tmp_path / "data", HOSTILE_NAMES)
    made = make_doubted_run(tmp_path / "run", tmp_path / "data", HOSTILE, names=HOSTILE_NAMES, group="<b>\u202e")
    asked = review_of(subject_of(run_source(made)))
    page, data = page_of(asked)
    assert page.tags.count("script") == 2 and "img" not in page.tags and "b" not in page.tags
    assert {q["w"][:4] for q in data["questions"] if q["k"] == "group"} == {"<b>\ufffd"}
    assert {q["n"][:4] for q in data["questions"] if q["k"] == "group"} == {"<b>\u202e"}  # as a table names it
    assert "\u202e" not in review_text(asked)


def test_an_older_table_is_on_the_page(run: RunDir, subject: Subject, tmp_path: Path) -> None:
    older = tmp_path / "older.csv"
    older.write_text('sep=;\npath;cover;hue;reason\n000.png;yes;red;"a, b"\n')
    review = review_of(subject, corrections=older)
    assert page_of(review)[1]["earlier"] == 'path,cover,hue,reason\n000.png,yes,red,"a, b"\n'
    run.corrections.write_text("path,cover\n001.png,no\n")
    try:
        assert review_of(subject).earlier == "path,cover\n001.png,no\n"
        assert review_of(subject, corrections=older).source == older
    finally:
        run.corrections.unlink()
    older.write_text("path,cover\n000.png,maybe\n")
    with pytest.raises(DataError, match=r"older\.csv:2: cover 'maybe' is not a known class"):
        review_of(subject, corrections=older)


def test_the_key_of_progress_is_the_data_and_not_their_order(asked: Review, run: RunDir) -> None:
    other = LabelSchema((Factor("kind", ("cat", "dog", "pig")), PLAIN.factors[1]))
    again = read_validation(run.validation, PLAIN)
    assert review_of(asked.subject).digest == asked.digest
    object.__setattr__(again, "classes", other.joint_classes)
    assert digest_of(again) != asked.digest


def test_it_says_how_to_train_on_the_same_data_with_what_it_saves(asked: Review) -> None:
    command = f"sslmask train --data {asked.subject.root} --set data.corrections=corrections.csv"
    assert f"<code>{command}</code>" in review_html(asked, Album())


def test_the_command_prints_or_writes(run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = load("review")
    command.main([str(run.path), "--text"], standalone_mode=False)
    assert "| 1 |" in capsys.readouterr().out
    page = tmp_path / "page.html"
    command.main([str(run.path), "--out", str(page)], standalone_mode=False)
    assert f"Saved {page} (" in capsys.readouterr().out and page.read_text().startswith("<!doctype html>")


def test_cleanlab_is_asked_or_its_absence_told(subject: Subject) -> None:
    try:
        import cleanlab  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="--cleanlab needs cleanlab"):
            review_of(subject, cleanlab=True)
        return
    review = review_of(subject, cleanlab=True)
    assert review.cleanlab and any(q.cleanlab for q in review.questions)
