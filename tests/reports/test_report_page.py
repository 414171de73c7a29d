"""The page of a run: it agrees with the card, shows the images that it names, and no name of a stranger gets out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from page_runs import HOSTILE, draw_images, make_run
from PIL import Image

from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.report.page import report_html
from ssl_mask.reports.html.report.report import Report, report_of
from ssl_mask.reports.html.report.text import report_text
from ssl_mask.reports.html.subject import Subject, subject_of
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import run_source

NAMES = [f"{i:03d}.png" for i in range(60)]
HOSTILE_NAMES = [f"{i:02d}<img src=x onerror=window.hacked=1>'\".png" for i in range(12)]


class Page(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.attributes = "", [], list[tuple[str, str, str]]()
        self.blocks: list[tuple[str, str, str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in {"style", "script"} else ""
        if self._inside:
            self.blocks.append((tag, dict(attrs).get("type") or "", ""))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            tag, kind, before = self.blocks[-1]
            self.blocks[-1] = (tag, kind, before + data)
        else:
            self.text += data

    @property
    def data(self) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = json.loads(next(t for _, k, t in self.blocks if k))
        return found

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Read only."""
    folder = tmp_path_factory.mktemp("page")
    draw_images(folder / "data", NAMES)
    digests = [hashlib.sha256((folder / "data" / n).read_bytes()).hexdigest() for n in NAMES]
    return make_run(folder / "runs" / "plain", folder / "data", digests=digests)


@pytest.fixture(scope="module")
def subject(run: RunDir) -> Subject:
    return subject_of(run_source(run))


@pytest.fixture(scope="module")
def report(subject: Subject) -> Report:
    return report_of(subject)


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return report_html(report, Album())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("hostile")
    draw_images(folder / "data", HOSTILE_NAMES)
    run = make_run(folder / "runs" / "x", folder / "data", HOSTILE, names=HOSTILE_NAMES, group="<script>\u202e\n")
    return Page(report_html(report_of(subject_of(run_source(run))), Album()))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_a_wide_table_scrolls_alone(report: Report) -> None:
    """So that a narrow screen shows all else; also the table of the scores of seeds, which is a part of the verdict."""
    seeds = replace(report, card=report.card._replace(verdict="**Helped.**\n\n| seed |\n| --- |\n| 0 |"))
    parts = re.findall(r"<(/?)(div|table)\b([^>]*)>", report_html(seeds, Album()))
    inside: list[bool] = []
    tables = []
    for closing, tag, attributes in parts:
        if tag == "table":
            tables += [] if closing else [(attributes, any(inside))]
        elif closing:
            inside.pop()
        else:
            inside.append(bool(re.search(r'class="[^"]*\bscroll\b', attributes)))
    assert len(tables) > 5
    assert [attributes for attributes, scrolls in tables if not scrolls] == []


def test_the_page_says_what_the_card_says(page: Page, run: RunDir, report: Report) -> None:
    card = run_card(run)
    verdict = card.split("\n\n## ")[0].split("\n", 1)[1]
    for line in re.sub(r"[*`\\]", "", verdict).strip().splitlines():
        assert squeezed(line.removeprefix("- ")) in squeezed(page.text)
    assert report.looks is not None
    assert f"| macro-F1 | {report.looks.scores['macro_f1'].value:.4f} |" in card


def test_every_cell_has_its_count_and_opens_its_images(html: str, page: Page, subject: Subject) -> None:
    table = subject.table
    assert table is not None
    buttons = re.findall(r"<button[^>]* data-true=[^>]*>", html)
    found = [dict(re.findall(r'data-([a-z]+)="(-?\d+)"', button)) for button in buttons]
    cells = {(int(f["true"]), int(f["predicted"])): int(f["count"]) for f in found if f["factor"] == "-1"}
    expected: dict[tuple[int, int], int] = {}
    for t, p in zip(table.true.tolist(), table.predicted.tolist(), strict=True):
        expected[t, p] = expected.get((t, p), 0) + 1
    assert cells == expected
    shown = [(p["t"], p["p"]) for p in page.data["pictures"]]
    assert {cell: shown.count(cell) for cell in set(shown)} == expected  # 60 images: all are shown


def test_a_picture_is_the_image_that_it_names(page: Page, run: RunDir) -> None:
    data = page.data
    assert len(data["pictures"]) == len(data["copies"]) == 60
    for picture in data["pictures"][:5]:
        kind, content = str(data["copies"][int(picture["s"])]).split(",", 1)
        assert kind == "data:image/webp;base64"
        small = np.asarray(Image.open(BytesIO(base64.b64decode(content))).convert("L"), dtype=float)
        whole = np.asarray(Image.open(Path(run.data().root) / picture["n"]).convert("L"), dtype=float)
        assert small.shape == whole.shape and abs(small.mean() - whole.mean()) < 4


def test_only_our_style_and_script_may_run(page: Page) -> None:
    (policy,) = [c for c in page.values("content") if "default-src" in c]
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag, kind, text in page.blocks:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert kind == "application/json" or f"{tag}-src 'sha256-{digest}'" in policy
    assert [(tag, kind) for tag, kind, _ in page.blocks] == [
        ("style", ""), ("script", "application/json"), ("script", "")
    ]  # fmt: skip
    assert not [a for a in page.attributes if a[1] == "style" or a[1].startswith("on")]
    assert all(target.startswith("#") for name in ("href", "src") for target in page.values(name))


def test_names_of_strangers_are_text(hostile: Page) -> None:
    assert set(hostile.tags).isdisjoint({"img", "b", "iframe"}) and hostile.tags.count("script") == 2
    assert not [a for a in hostile.attributes if a[1].startswith("on")]
    assert "</script><script>window.hacked=1</script>" in hostile.text
    assert "cat{{7*7}}" in hostile.text and '"><img src=x onerror=window.hacked=1>' in hostile.text
    for text in (hostile.text, *(value for _, _, value in hostile.attributes), json.dumps(hostile.data)):
        assert "\u202e" not in text and "\\u202e" not in text
    names = {picture["n"] for picture in hostile.data["pictures"]}
    assert names == set(HOSTILE_NAMES)
    assert hostile.data["factors"][0]["classes"][0] == "cat{{7*7}}"


def test_the_script_block_cannot_be_left(hostile: Page) -> None:
    block = next(text for _, kind, text in hostile.blocks if kind)
    assert not re.search(r"[<>&\u2028\u2029]", block) and block.isascii()


def test_every_part_that_is_named_is_there(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = [t[1:] for t in page.values("href")]
    assert targets and set(targets) <= set(ids)
    assert page.tags.count("h1") == 1
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {"rounds", "compare"}.isdisjoint(ids)


def test_missing_and_changed_images_are_said_once(run: RunDir, tmp_path: Path) -> None:
    draw_images(tmp_path, NAMES[:30])
    Image.new("RGB", (9, 9)).save(tmp_path / NAMES[0])
    subject = subject_of(run_source(run), tmp_path)
    page = Page(report_html(report_of(subject), Album()))
    assert page.text.count("cannot be read now") == 1 and "30 of the images that belong here" in page.text
    assert "--data FOLDER" in page.text
    assert page.text.count("have changed since") == 1
    data = page.data
    assert len(data["copies"]) == 30 and sum(p["s"] == -1 for p in data["pictures"]) == 30  # type: ignore[comparison-overlap]


def test_the_page_stops_to_grow(html: str, report: Report) -> None:
    album = Album(budget=10_000)
    small = report_html(report, album)
    assert 5 < len(album.pictures) < 60
    added = sum(len(c) for c in album.copies) + len(json.dumps(album.pictures))
    assert added < 11_000
    assert len(small) < len(html)


def test_full_links_each_image(report: Report) -> None:
    page = Page(report_html(report, Album(full=True)))
    assert page.data["pictures"][0]["u"].startswith("file:///")
    assert page.data["pictures"][0]["u"].endswith(page.data["pictures"][0]["n"])


def test_a_run_on_all_labels_has_no_mistakes_to_show(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path)
    run.update(data={**run.data().to_json(), "val_images": 0, "val_groups": 0}, best=None)
    report = report_of(subject_of(run_source(run)))
    page = Page(report_html(report, Album()))
    assert "No validation of its own" in page.text
    assert {"confusion", "worst", "labels", "groups", "calibration"}.isdisjoint(page.values("id"))
    assert "No validation of its own" in report_text(report)


def test_a_comparison_shows_what_changed(run: RunDir, tmp_path: Path, subject: Subject) -> None:
    root = Path(run.data().root)
    digests = [hashlib.sha256((root / n).read_bytes()).hexdigest() for n in NAMES]
    other = subject_of(run_source(make_run(tmp_path / "other", root, seed=1, digests=digests)))
    report = report_of(subject, [other])
    page = Page(report_html(report, Album()))
    assert subject.table is not None and other.table is not None
    ours, theirs = (t.predicted == t.true for t in (subject.table, other.table))
    assert f"Right only here: {(ours & ~theirs).sum()} images" in page.text
    assert f"Right only there: {(~ours & theirs).sum()} images" in page.text
    assert "Against other: no difference can be shown." in squeezed(page.text)
    assert "Against other: no difference can be shown." in report_text(report).replace("*", "")


def test_the_text_has_the_same_facts(report: Report) -> None:
    text = report_text(report)
    assert report.looks is not None
    c = report.looks.confusions[0]
    assert f"| {c.names[0]} | {c.names[1]} | {c.images} of {c.of} | {c.groups} |" in text
    g = report.looks.groups[0]
    assert f"| {g.group} | {g.wrong} of {g.images} |" in text
    assert " --folds 5" in text and "not-checked" in text
