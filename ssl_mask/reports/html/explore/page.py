"""What is known of a data set as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.findings import Pair
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.explore.counts import ClassCount, class_counts, mixed_groups, pool_counts
from ssl_mask.reports.html.explore.exploration import Exploration, in_short, next_steps, told, verdict
from ssl_mask.reports.html.explore.images import Images
from ssl_mask.reports.html.explore.map_data import map_data
from ssl_mask.reports.html.explore.pixels import MEASURES, histograms, unusual
from ssl_mask.reports.html.page import TableCells, render
from ssl_mask.reports.html.pairs import KIND_WORDS, pictures_of, words_of
from ssl_mask.runs.environment import code_version

TITLES = {
    "summary": "What is in it?", "classes": "Classes and pools", "groups": "Groups", "copies": "Copies and conflicts",
    "pixels": "Dark, blurred, small images", "shift": "Do the pools differ?", "map": "Map", "sheets": "Each class",
}  # fmt: skip
PAIRS, ENDS, ALIKE, GROUPS, LISTED = 24, 12, 24, 20, 20
"""Pairs of each kind, images of each end, images most like another pool, groups, unreadable files that are shown."""
SHEETS, OF_CLASS, TOGETHER = 40, 24, 480
"""Classes with a contact sheet; images on one, and on all together."""
MAP_SHARE = 0.35
"""Of the room for small copies: what the map has in any case."""
MOST_CLASSES = 60
"""Rows of a table of classes."""


def explore_html(found: Exploration, album: Album) -> str:
    """The text of the page. Decodes the images that it shows."""
    images, room = found.images, album.budget
    album.budget = int((1 - MAP_SHARE) * room)
    values: dict[str, Any] = {
        "name": found.reading.root.absolute().name, "path": str(found.reading.root), "version": code_version(),
        "message": found.message, "notes": found.notes, "short": in_short(found), "steps": next_steps(found),
        "pools": pool_table(images), "classes": class_tables(images), "grouped": found.grouped,
        "mixed": mixed_groups(images), "mixed_shown": _mixed(found, album), **_copies(found, album),
        **_pixels(found, album), "differences": _differences(found, album), "sheets": sheets(images, album),
    }  # fmt: skip
    embedding, album.budget = found.embedding, room
    places = None if embedding is None else map_data(images, embedding, album)
    values |= {
        "embedded": 0 if embedding is None else len(embedding.rows),
        "explained": 0.0 if embedding is None else embedding.plane.explained,
        "gone": sorted(album.gone)[:1], "gone_total": len(album.gone),
    }  # fmt: skip
    there = {"shift": values["differences"], "map": embedding, "sheets": values["sheets"]}
    data = {"factors": [], "grouped": found.grouped, "pictures": album.pictures, "copies": album.copies, "map": places}
    return render(
        "explore.html", style="report.css explore.css", script="images.js report.js explore.js", data=data,
        titles=TITLES, contents=[(key, title) for key, title in TITLES.items() if there.get(key, True)], **values,
    )  # fmt: skip


def pool_table(images: Images) -> TableCells:
    """One row a pool."""
    rows = [
        (p.name, f"{p.images:,}", f"{p.groups:,}" if p.groups else "not known",
         f"{p.smallest} / {p.median:g} / {p.largest}" if p.groups else "")
        for p in pool_counts(images)
    ]  # fmt: skip
    return TableCells("Pools", ("pool", "images", "groups", "images of a group: least / median / most"), rows)


def class_tables(images: Images) -> list[TableCells]:
    """Classes by pools: of each factor, and of all together where there are several factors."""
    ways = [(f.name, i) for i, f in enumerate(images.schema.factors)]
    if len(ways) > 1:
        ways.append(("All factors together", -1))
    pools = [k for k in range(len(images.pools)) if (images.joint[images.of_pool(k)] >= 0).any()]
    header = ("class", "images", "groups", *(f"{images.pools[k]}: images (groups)" for k in pools))
    found = []
    for title, factor in ways:
        rows = class_counts(images, factor)
        chosen = sorted(rows, key=lambda c: c.images)[:MOST_CLASSES] if len(rows) > MOST_CLASSES else rows
        label = title if len(chosen) == len(rows) else f"{title}: the {MOST_CLASSES} of {len(rows)} with fewest images"
        found.append(TableCells(label, header, [_class_row(c, pools) for c in chosen]))
    return found


def _class_row(c: ClassCount, pools: Sequence[int]) -> tuple[str, ...]:
    return c.name, f"{c.images:,}", f"{c.groups:,}", *(f"{c.pools[k][0]:,} ({c.pools[k][1]:,})" for k in pools)


def _mixed(found: Exploration, album: Album) -> list[tuple[str, str, str, list[int]]]:
    """Groups whose labels differ where those of nearly all others do not."""
    rare = [(m.factor, *group) for m in mixed_groups(found.images) for group in m.rare][:GROUPS]
    return [
        (factor, group, words, album.add_all([found.images.picture(r) for r in rows[:8]]))
        for factor, group, words, rows in rare
    ]


def _copies(found: Exploration, album: Album) -> dict[str, Any]:
    copies = found.copies
    roots = dict(zip(found.images.pools, found.images.roots, strict=True))
    header = ("pool", "and pool", "kind", "pairs")
    rows = [(first, second, KIND_WORDS[kind], f"{n:,}") for first, second, kind, n in copies.kinds]
    parts = [
        ("Copies with different labels", copies.conflicts), ("Copies in two pools", copies.across),
        ("Copies in one pool, with one label", copies.within), ("Perhaps copies: look at them", copies.perhaps),
    ]  # fmt: skip
    return {
        "kinds": TableCells("Pairs that the guard found", header, rows) if rows else None,
        "pairs": [(t, len(pairs), _shown(pairs, roots, album)) for t, pairs in parts if pairs],
        "same_files": copies.same_files, "unreadable": {p: (len(w), w[:LISTED]) for p, w in copies.unreadable.items()},
    }  # fmt: skip


def _shown(pairs: Sequence[Pair], roots: Mapping[str, Path], album: Album) -> list[tuple[str, list[int]]]:
    return [(words_of(p), album.add_all([*pictures_of(p, roots)])) for p in pairs[:PAIRS]]


def _pixels(found: Exploration, album: Album) -> dict[str, Any]:
    images, rows, values = found.images, found.pixels.rows, found.pixels.values
    ends = []
    for u in unusual(values):
        column = values[:, [m.key for m in MEASURES].index(u.measure.key)]
        shown = [images.picture(int(rows[i]), f"{column[i]:.3g}; {_of(images, int(rows[i]))}") for i in u.rows[:ENDS]]
        ends.append((u.words, len(u.rows), u.measure.unit, album.add_all(shown)))
    return {
        "measured": len(rows),
        "images_total": len(images),
        "charts": histograms(images, rows, values),
        "ends": ends,
    }


def _of(images: Images, row: int) -> str:
    return images.picture(row).note


def _differences(found: Exploration, album: Album) -> list[dict[str, Any]]:
    differences = () if found.embedding is None else found.embedding.differences
    return [
        {
            "other": d.other, "verdict": verdict(d), "auc": told(d), "images": len(d.rows),
            "alike": _scored(found.images, d.most_alike(ALIKE), album),
            "unlike": _scored(found.images, d.least_alike(ALIKE), album),
        }
        for d in differences
    ]  # fmt: skip


def _scored(images: Images, rows: list[tuple[int, float]], album: Album) -> list[int]:
    return album.add_all([images.picture(row, f"{p:.2f}; {_of(images, row)}") for row, p in rows])


def sheets(images: Images, album: Album) -> list[tuple[str, int, list[int]]]:
    """Class, its images, and those that are shown, of as many groups as there are."""
    labeled = np.where(images.labeled, images.joint, -1)
    counts = np.bincount(labeled[labeled >= 0], minlength=len(images.schema.joint_classes))
    there = np.flatnonzero(counts)
    classes = np.sort(there[np.argsort(counts[there], kind="stable")][:SHEETS])
    most = min(OF_CLASS, TOGETHER // max(1, len(classes)))
    return [
        (images.schema.joint_classes[c], int(counts[c]),
         album.add_all([images.picture(r, "") for r in spread(images, np.flatnonzero(labeled == c), most)]))
        for c in classes.tolist()
    ]  # fmt: skip


def spread(images: Images, rows: NDArray[np.int64], most: int) -> list[int]:
    """Some rows at random, a second image of a group only after one of each."""
    shuffled = rows[np.random.default_rng(0).permutation(len(rows))]
    seen: dict[str, int] = {}
    rank = []
    for row in shuffled.tolist():
        group = str(images.group[row]) or f"\0{row}"
        rank.append(seen.get(group, 0))
        seen[group] = rank[-1] + 1
    order = np.argsort(np.asarray(rank, np.int64), kind="stable")[:most]
    return [int(row) for row in shuffled[order]]
