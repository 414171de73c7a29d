"""The page in a real browser, from disk, without a network: Debian's chromium (`apt-get install chromium`)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_runs import HOSTILE, PLAIN, draw_images, make_run

from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.heat import Explained, Heat
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.report.page import report_html
from ssl_mask.reports.html.report.report import Report, report_of
from ssl_mask.reports.html.subject import subject_of
from ssl_mask.runs.sources import run_source

pytestmark = pytest.mark.slow
LOOKS = [(1280, "light"), (420, "dark"), (420, "light"), (1280, "dark")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"{i:03d}.png" for i in range(120)]
    return write_page(tmp_path_factory.mktemp("plain"), names, PLAIN, "person ")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"{i:02d}<img src=x onerror=window.hacked=1>'\".png" for i in range(24)]
    return write_page(tmp_path_factory.mktemp("hostile"), names, HOSTILE, "<script>window.hacked=1</script>\u202e")


def write_page(folder: Path, names: list[str], schema: Any, group: str) -> Path:
    draw_images(folder / "data", names)
    digests = [hashlib.sha256((folder / "data" / name).read_bytes()).hexdigest() for name in names]
    made = {"names": names, "group": group, "digests": digests}
    first, other = (
        subject_of(run_source(make_run(folder / name, folder / "data", schema, seed=i, **made)))  # type: ignore[arg-type]
        for i, name in enumerate(("first", "other"))
    )
    page = folder / "report.html"
    page.write_text(report_html(looked(report_of(first, [other]), schema), Album()), encoding="utf-8")
    return page


def looked(report: Report, schema: LabelSchema) -> Report:
    """The same with three made-up maps beside each of the worst images."""
    assert report.looks is not None
    cells = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    heats = [Heat(f.name, f.classes[1], "first", cells) for f in (*schema.factors, schema.factors[0])]
    return replace(report, explained=Explained(dict.fromkeys(report.looks.worst, heats)))


def test_a_cell_opens_its_images_by_mouse_and_by_keyboard(open_page: Any, plain: Path) -> None:
    page = open_page(plain)
    cell = page.locator(".matrix button[data-factor='-1']").first
    count = int(cell.get_attribute("data-count"))
    dialog = page.locator("dialog")
    for press in (cell.click, lambda: (cell.focus(), page.keyboard.press("Enter"))):
        assert not dialog.is_visible()
        press()
        assert dialog.is_visible()
        assert page.locator("#images-title").text_content() == cell.get_attribute("aria-label")
        assert page.locator("#images-note").text_content() == f"{count} of {count} shown"
        images = dialog.locator("img")
        assert images.count() == count
        assert all(image.evaluate("i => i.complete && i.naturalWidth > 0") for image in images.all())
        page.keyboard.press("Escape")
    assert not dialog.is_visible()
    factor = page.locator(".matrix button[data-factor='0']").first
    factor.click()
    many = int(factor.get_attribute("data-count"))
    assert page.locator("#images-note").text_content() == f"{many} of {many} shown"
    page.locator("#close").click()


def test_galleries_have_pages(open_page: Any, plain: Path) -> None:
    page = open_page(plain)
    gallery = page.locator("#worst .gallery")
    first = gallery.locator("img").first.get_attribute("alt")
    assert gallery.locator(".status").text_content().startswith("page 1 of ")
    gallery.get_by_role("button", name="next page").click()
    assert gallery.locator(".status").text_content().startswith("page 2 of ")
    assert gallery.locator("img").first.get_attribute("alt") != first
    assert gallery.locator(".tile").count() <= 24


def test_where_the_network_looked_is_beside_the_image_and_in_words(open_page: Any, plain: Path) -> None:
    page = open_page(plain)
    views = page.locator("#worst .views").first
    images = views.locator("img").all()
    assert len(images) == 4 and all(image.evaluate("i => i.complete && i.naturalWidth > 0") for image in images)
    said = [image.get_attribute("alt") for image in images[1:]]
    assert all(re.fullmatch(r"Where the network looked, \w+ \w+: \d+% of the heat in the central half, hottest .*", s)
               for s in said)  # fmt: skip
    written = page.locator("#worst .tile").first.locator(".heat").all_text_contents()
    assert [f"Where the network looked, {text}" for text in written] == said


@pytest.mark.parametrize(
    ("which", "width", "scheme"), [*(("plain", *look) for look in LOOKS), ("hostile", 420, "dark")]
)
def test_everybody_can_read_it(
    open_page: Any, which: str, width: int, scheme: str, request: pytest.FixtureRequest, faults: Any
) -> None:
    """axe-core finds no serious fault; nothing is wider than the screen."""
    page = open_page(request.getfixturevalue(which), width, scheme)
    page.locator(".matrix button").first.click()
    for step in ("with the dialog", "without it"):
        assert faults(page) == [], step
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_of_strangers_do_nothing(open_page: Any, hostile: Path) -> None:
    page = open_page(hostile)
    for button in page.locator("button[data-true]").all()[:6]:
        button.click()
        assert "onerror=window.hacked=1" in page.locator("dialog .path").first.text_content()
        page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == 2


def test_the_browser_refuses_what_is_not_ours(browser: Any, plain: Path, tmp_path: Path) -> None:
    """The policy works: a script, a style and an image from elsewhere that got into the page do nothing."""
    text = plain.read_text(encoding="utf-8")
    added = (
        '<script>window.hacked=1</script><img src="x.png" onerror="window.hacked=1"><p id="p" style="color:red">x</p>'
    )
    changed = tmp_path / "changed.html"
    changed.write_text(text.replace("</main>", f"{added}</main>"), encoding="utf-8")
    page = browser.new_context(offline=True).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(changed.as_uri())
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"
    assert len([text for text in said if "Content Security Policy" in text]) >= 3
    page.context.close()
