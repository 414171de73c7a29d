"""The embedding map as numbers for the page's script."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.explore.embedding import Embedding
from ssl_mask.reports.html.explore.images import Images
from ssl_mask.text import shown

GRID = 1000
"""Places of each axis."""
COLOURS = 18
"""Colours and shapes that can be told apart; classes beyond them are grey."""
NAME = 48
"""Characters of a file's name."""


def map_data(images: Images, embedding: Embedding, album: Album) -> dict[str, Any]:
    """Place, label, pool, group and picture of each image; pictures while the album has room, spread over the map."""
    places = embedding.plane.places
    low, high = places.min(axis=0), places.max(axis=0)
    span = float((high - low).max()) or 1.0  # of both axes, so that distances are true
    x, y = np.rint(GRID * (0.5 + (places - (low + high) / 2) / span)).astype(int).T
    rows = embedding.rows.tolist()
    pictures = [-1] * len(rows)
    for at in np.random.default_rng(0).permutation(len(rows)).tolist():
        number = album.add(images.picture(rows[at]))
        if number is None:
            break
        pictures[at] = number
    return {
        "x": x.tolist(), "y": (GRID - y).tolist(), "pictures": pictures,
        "names": [shown(images.path[r].rpartition("/")[2][:NAME]) for r in rows],
        "groups": [shown(str(images.group[r])[:NAME]) for r in rows],
        "by": [*_factors(images, rows), _pools(images, rows)],
    }  # fmt: skip


def _factors(images: Images, rows: list[int]) -> list[dict[str, Any]]:
    """A way of colouring for each factor that has labels."""
    joint = images.joint[rows]
    parts = images.schema.part(np.maximum(joint, 0))
    return [
        _way(factor.name, ["no label", *factor.classes], np.where(joint >= 0, parts[:, i] + 1, 0).tolist())
        for i, factor in enumerate(images.schema.factors)
    ]  # fmt: skip


def _pools(images: Images, rows: list[int]) -> dict[str, Any]:
    return _way("split and pool", ["", *images.pools], (images.pool[rows] + 1).tolist())


def _way(title: str, names: list[str], values: list[int]) -> dict[str, Any]:
    """0 is grey; so is what comes after the colours, which go to the most frequent."""
    counts = np.bincount(values, minlength=len(names))
    order = sorted(range(1, len(names)), key=lambda k: -counts[k])
    coloured = sorted(k for k in order[:COLOURS] if counts[k])
    new = {k: place for place, k in enumerate(coloured, start=1)}
    grey = names[0] if counts[0] and len(coloured) == int((counts[1:] > 0).sum()) else "others"
    return {"title": shown(title), "names": [shown(grey), *(shown(names[k]) for k in coloured)],
            "values": [new.get(v, 0) for v in values]}  # fmt: skip
