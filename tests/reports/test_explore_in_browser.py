"""The page of a data set in a real browser, from disk, without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_runs import IMG, SCRIPT
from small_pools import draw_pools

from ssl_mask.console import Console
from ssl_mask.data.images import decode
from ssl_mask.workflows import explore as workflow

pytestmark = pytest.mark.slow


def colours(config, images, rows, manifest, console):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """In place of a network: the mean colour of each image."""
    return rows, np.stack([decode(images.file(int(r))).mean(axis=(0, 1)) for r in rows]).astype(np.float32)


def write_page(folder: Path, **names: Any) -> Path:
    config = draw_pools(folder / "pets", **names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "embed", colours)
        patch.setattr(workflow, "cores", lambda: 1)
        found = workflow.gather(config, Console(quiet=True))
    return workflow.write(found, config.data, folder / "explore.html").path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {"mark": "<img src=x onerror=window.hacked=1>'\"", "factor": f"kind{SCRIPT}", "group": "<script>\u202e\n"}
    return write_page(tmp_path_factory.mktemp("hostile"), kinds=(f"cat{IMG}", f"dog{SCRIPT}"), **names)


def test_the_map_shows_an_image_by_mouse_and_by_keyboard(open_page: Any, plain: Path) -> None:
    page = open_page(plain)
    points = page.locator("#map-plot path")
    assert points.count() > 60
    points.first.scroll_into_view_if_needed()
    box = points.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    first = page.locator("#map-tile").text_content()
    assert "kind: " in first and "split and pool: " in first
    assert page.locator("#map-tile img").evaluate("i => i.complete && i.naturalWidth > 0")
    page.locator("#map-plot").focus()
    seen = set()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
        seen.add(page.locator("#map-tile").text_content())
    assert len(seen | {first}) > 1


def test_the_map_is_coloured_by_class_and_by_pool(open_page: Any, plain: Path) -> None:
    page = open_page(plain)
    legend = page.locator("#map-legend button")
    assert {"cat", "dog"} <= {text.split(" (")[0] for text in legend.all_text_contents()}
    page.locator("#map-by").select_option(label="split and pool")
    assert [text.split(" (")[0] for text in legend.all_text_contents()] == ["train", "val", "test", "unlabeled"]
    count = int(legend.nth(2).text_content().split("(")[1].rstrip(")"))
    legend.nth(2).click()
    assert legend.nth(2).get_attribute("aria-pressed") == "true"
    assert page.locator("#map-plot path:not(.faint)").count() == count
    legend.nth(2).click()
    assert page.locator("#map-plot path.faint").count() == 0


@pytest.mark.parametrize(
    ("which", "width", "scheme"),
    [("plain", 1280, "light"), ("plain", 420, "dark"), ("plain", 420, "light"), ("hostile", 1280, "dark")],
)
def test_everybody_can_read_it(
    open_page: Any, which: str, width: int, scheme: str, request: pytest.FixtureRequest, faults: Any
) -> None:
    """axe-core finds no serious fault; nothing is wider than the screen."""
    page = open_page(request.getfixturevalue(which), width, scheme)
    page.locator("#map-plot").focus()
    if shots := os.environ.get("SSLMASK_SCREENSHOTS"):
        page.screenshot(path=f"{shots}/explore-{which}-{width}-{scheme}.png", full_page=True)
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_of_strangers_do_nothing(open_page: Any, hostile: Path) -> None:
    page = open_page(hostile)
    page.locator("#map-plot").focus()
    assert "onerror=window.hacked=1" in page.locator("#map-tile").text_content()
    page.locator("#map-legend button").first.click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == 2
