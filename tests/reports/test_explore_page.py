"""`explore` on a small data set with planted faults: they are found, said and shown, and no name gets out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from page_runs import IMG, SCRIPT
from small_pools import EXTRA, GROUPS, TEST, draw_pools

from ssl_mask.cli.verbs import load
from ssl_mask.config import RunConfig
from ssl_mask.config.load import to_yaml
from ssl_mask.console import Console
from ssl_mask.data.images import decode
from ssl_mask.errors import ConfigError
from ssl_mask.files import write_text
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.explore.exploration import Exploration, in_short, next_steps
from ssl_mask.reports.html.explore.page import explore_html
from ssl_mask.reports.html.explore.text import explore_text
from ssl_mask.workflows import explore as workflow

MARK = "<img src=x onerror=window.hacked=1>'\""


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.names, self.text = list[str](), set[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def colours(config, images, rows, manifest, console):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """In place of a network: the mean colour of each image."""
    return rows, np.stack([decode(images.file(int(r))).mean(axis=(0, 1)) for r in rows]).astype(np.float32)


def explored(config: RunConfig) -> Exploration:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "embed", colours)
        patch.setattr(workflow, "cores", lambda: 1)
        return workflow.gather(config, Console(quiet=True))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return draw_pools(tmp_path_factory.mktemp("pools") / "pets")


@pytest.fixture(scope="module")
def found(config: RunConfig) -> Exploration:
    return explored(config)


@pytest.fixture(scope="module")
def page(found: Exploration) -> str:
    return explore_html(found, Album())


def test_all_readable_images_are_there(found: Exploration) -> None:
    counts = dict(zip(found.images.roles, np.bincount(found.images.pool).tolist(), strict=True))
    assert counts["train"] + counts["val"] == 2 * GROUPS + 2
    assert (counts["test"], counts["unlabeled"]) == (TEST, EXTRA + 1)
    assert found.refusal == ""
    assert [why.partition(":")[0] for why in found.copies.unreadable["test"]] == ["damaged.png"]
    assert list(found.copies.unreadable) == ["test"]


def test_planted_copies_and_conflicts_are_found(found: Exploration) -> None:
    (conflict,) = found.copies.conflicts
    assert {conflict.first, conflict.second} == {"0-0.png", "twin.png"} and conflict.kind == "bytes"
    (altered,) = [p for p in found.copies.across if p.second_pool == "unlabeled"]
    assert (altered.first_pool, altered.first, altered.second) == ("test", "test-0.png", "extra/altered.jpg")


def test_what_matters_is_said_first(found: Exploration) -> None:
    said = [text for text, _ in in_short(found)]
    assert said[0].startswith("Pairs of copies with different labels: 1.")
    assert any(text.startswith("Pairs of copies in two pools: ") for text in said)
    assert any(f"kind is the same on all images of a group, except in 1 of {GROUPS} groups" in text for text in said)
    assert any("The test images differ much from the labeled ones" in text for text in said)
    assert any("1 much darker" in text for text in said)
    commands = [step.command for step in next_steps(found)]
    assert "data.corrections=corrections.csv" in commands[0] and "--drop-list drop.csv" in commands[1]
    assert len(commands) <= 5 and any(" --folds 5" in c for c in commands)
    assert all(c.split()[2:4] == ["--data", str(found.reading.root)] for c in commands)


def test_the_page_says_and_shows_it(page: str, found: Exploration) -> None:
    read = Tags(page)
    for text, _ in in_short(found):
        assert text in read.text
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    names = [p["n"] for p in data["pictures"]]
    assert {"0-0.png", "twin.png", "test-0.png", "extra/altered.jpg", "dark.png", "5-0.png"} < set(names)
    assert all(p["s"] >= 0 for p in data["pictures"]) and len(page) < 5_000_000
    where = data["map"]
    assert len(where["x"]) == len(where["y"]) == len(found.images) == len(where["names"])
    assert all(0 <= v <= 1000 for v in (*where["x"], *where["y"]))
    assert [way["title"] for way in where["by"]] == ["kind", "cover", "split and pool"]
    assert len(set(where["by"][2]["values"])) == 4
    for at, number in enumerate(where["pictures"]):
        assert number >= 0 and names[number].rpartition("/")[2] == where["names"][at]


def test_the_page_stays_small(found: Exploration) -> None:
    page = explore_html(found, Album(budget=30_000))
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    assert sum(map(len, data["copies"])) < 40_000 and 0 < data["map"]["pictures"].count(-1) < len(found.images)
    assert len(data["map"]["x"]) == len(found.images)


def test_the_terminal_says_the_same(found: Exploration) -> None:
    text = explore_text(found)
    for words in ("## In short", "Pairs of copies with different labels: 1", "## What to do next", "much darker"):
        assert words in text
    assert "| cat |" in text and "twin.png" in text


def test_names_of_strangers_do_nothing(tmp_path: Path) -> None:
    config = draw_pools(tmp_path / "pets", mark=MARK.replace("/", ""), kinds=(f"cat{{{{7*7}}}}{IMG}", f"dog{SCRIPT}"),
                        factor=f"kind{SCRIPT}", group="<script>\u202e\n")  # fmt: skip
    found = explored(config)
    assert len(found.copies.conflicts) == 1
    read = Tags(explore_html(found, Album()))
    assert read.tags.count("script") == 2 and "img" not in read.tags
    assert not {name for name in read.names if name.startswith("on")} and "style" not in read.names
    assert "cat{{7*7}}" in read.text and "\u202e" not in read.text
    assert "\u202e" not in explore_text(found)


def test_data_that_training_would_refuse_can_be_looked_at(tmp_path: Path) -> None:
    config = draw_pools(tmp_path / "pets")
    table = tmp_path / "pets" / "labels.csv"
    table.write_text(table.read_text().replace("dark.png,cat", "dark.png,cow"))
    found = explored(config)
    assert "cow" in found.refusal and "val" not in found.images.pools
    assert in_short(found)[0][0].startswith("Training would refuse these data: ")


def test_the_command_writes_a_page_or_prints_the_facts(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workflow, "cores", lambda: 1)
    write_text(tmp_path / "sslmask.yaml", to_yaml(config))
    command = ["--data", str(config.data.root), "--on-map", "0"]
    load("explore").main([*command, "--json", "--quiet"], standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    page = (tmp_path / "explore.html").read_text(encoding="utf-8")
    assert answer["page"] == "explore.html" and answer["bytes"] == len(page.encode())
    assert answer["in_short"][0] in Tags(page).text and 'id="map"' not in page
    load("explore").main([*command, "--text"], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.out.startswith("# pets") and "## What to do next" in printed.out
    assert "images of" in printed.err  # what is read is told beside it
    with pytest.raises(ConfigError, match="writes no page"):
        load("explore").main(["--text", "--out", "x.html"], standalone_mode=False)


@pytest.mark.slow
def test_the_embedded_backbone_looks_at_the_images(config: RunConfig) -> None:
    found = workflow.gather(config, Console(quiet=True), on_map=24)
    again = workflow.gather(config, Console(quiet=True), on_map=24)
    assert found.embedding is not None and again.embedding is not None
    assert len(found.embedding.rows) == 24
    assert found.embedding.plane.places.tolist() == again.embedding.plane.places.tolist()
