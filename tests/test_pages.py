"""The documentation as web pages: built without a warning, every public name and verb on it, nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ssl_mask
from ssl_mask.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason='needs pip install "sslmask[docs]"')
    pytest.importorskip("mkdocstrings", reason='needs pip install "sslmask[docs]"')
    out = tmp_path_factory.mktemp("site")
    words = ["mkdocs", "build", "--strict", "--config-file", ROOT / ".ci/docs/mkdocs.yml", "--site-dir", out]
    own = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stderr
    return out


class Page(HTMLParser):
    """The ids of a page, what it loads, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given["id"]} if "id" in given else set()
        if tag in {"script", "img", "iframe"} and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") != "canonical":
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


def test_every_public_name_has_a_section(site: Path) -> None:
    ids = {i for page in (site / "api").rglob("index.html") for i in Page(page).ids}
    sections = {i.rpartition(".")[2] for i in ids if i.startswith("ssl_mask.")}
    assert len(ssl_mask.__all__) > 100 and not set(ssl_mask.__all__) - sections


def test_every_verb_shows_its_help(site: Path) -> None:
    text = (site / "verbs/index.html").read_text(encoding="utf-8")
    assert not [verb for verb in VERBS if f"Usage: sslmask {verb}" not in text]


def test_pages_load_nothing_from_elsewhere_and_their_links_lead_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) >= 14
    for path, page in pages.items():
        assert not [url for url in page.loads if re.match(r"(https?:)?//", url)], path
        for link in [*page.links, *page.loads]:
            if re.match(r"https?:|mailto:|data:|javascript:", link):
                continue
            target, _, anchor = link.partition("#")
            there = (path.parent / target).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{path.relative_to(site)}: {link}"
            if anchor and there in pages:
                assert anchor in pages[there].ids, f"{path.relative_to(site)}: {link}"


def test_the_picture_and_the_text_of_the_readme_are_on_the_first_page(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="data_cards/demo.png"' in text and (site / "data_cards/demo.png").is_file()
    assert "Semi-supervised image classification: few labels" in text and "](" not in re.sub(
        r"<code.*?</code>", "", text
    )
