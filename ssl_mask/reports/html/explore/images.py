"""Every image of every pool as one table, from what the guard has read, and a sample of it where it is large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.reference import sample_rows
from ssl_mask.guard.findings import Findings
from ssl_mask.reports.html.album import Picture

LABELED = ("train", "val")
ORDER = ("train", "val", "test", "unlabeled")


@dataclass(frozen=True)
class Images:
    """Row by row, pool after pool. Images that cannot be read are left out."""

    schema: LabelSchema
    roots: tuple[Path, ...]
    pools: tuple[str, ...]
    roles: tuple[str, ...]
    pool: NDArray[np.int64]
    """(n,) number of the pool."""
    path: tuple[str, ...]
    """Relative to the root of the pool."""
    sha256: tuple[str, ...]
    group: NDArray[np.str_]
    """(n,) "" unknown."""
    joint: NDArray[np.int64]
    """(n,) joint class; -1 unknown."""

    def __len__(self) -> int:
        return len(self.path)

    @property
    def labeled(self) -> NDArray[np.bool_]:
        """(n,) whether it is in training or validation."""
        return np.isin(np.asarray(self.roles, np.str_)[self.pool], LABELED)

    def of_pool(self, number: int) -> NDArray[np.int64]:
        """The rows of a pool."""
        return np.flatnonzero(self.pool == number)

    def file(self, row: int) -> Path:
        return self.roots[int(self.pool[row])] / self.path[row]

    def label(self, row: int) -> str:
        """Name of the joint class; "" unknown."""
        return self.schema.joint_classes[self.joint[row]] if self.joint[row] >= 0 else ""

    def picture(self, row: int, note: str | None = None) -> Picture:
        """An image of the table; its note is its pool and its label where none is given."""
        own = ", ".join(filter(None, (self.pools[self.pool[row]], self.label(row)))) if note is None else note
        return Picture(self.path[row], self.file(row), self.sha256[row], str(self.group[row]), note=own)


def images_of(findings: Findings, roots: Mapping[str, Path], schema: LabelSchema) -> Images:
    """All readable images of the pools that were compared, the training images first.

    Args:
        roots: pool -> the folder that its paths are relative to.
    """
    pools = sorted((p for p in findings.pools), key=lambda p: (ORDER.index(p.role), p.name))
    number = {name: k for k, name in reversed(list(enumerate(schema.joint_classes)))}
    rows = [(k, file) for k, p in enumerate(pools) for file in p.files if file.path not in p.unreadable]
    return Images(
        schema, tuple(roots[p.name] for p in pools), tuple(p.name for p in pools), tuple(p.role for p in pools),
        np.asarray([k for k, _ in rows], np.int64), tuple(f.path for _, f in rows), tuple(f.sha256 for _, f in rows),
        np.asarray([f.group for _, f in rows], np.str_),
        np.asarray([number.get(f.label, -1) if f.label else -1 for _, f in rows], np.int64),
    )  # fmt: skip


def sample(images: Images, most: int) -> NDArray[np.int64]:
    """Rows of at most so many images, in order: of the labeled, the test and the unlabeled ones equally many where they
    are enough, and each class in proportion. Always the same ones."""
    side = np.asarray([{"test": 1, "unlabeled": 2}.get(role, 0) for role in images.roles], np.int64)[images.pool]
    there = [np.flatnonzero(side == k) for k in range(3)]
    quotas = shares([len(rows) for rows in there], most)
    chosen = [
        rows[sample_rows(images.joint[rows] + 1, quota)]
        for rows, quota in zip(there, quotas, strict=True) if quota
    ]  # fmt: skip
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def shares(sizes: Sequence[int], most: int) -> list[int]:
    """How many of each to take, `most` together: equally many, and what a small one cannot give, the others do."""
    taken, left = [0] * len(sizes), most
    order = sorted(range(len(sizes)), key=lambda k: sizes[k])
    for place, k in enumerate(order):
        taken[k] = min(sizes[k], left // (len(sizes) - place))
        left -= taken[k]
    return taken
