"""Pools of images to check, from a manifest, and where their fingerprints are kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.config import DataConfig
from ssl_mask.data.image_set import cache_folder
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.guard.findings import Pool, Role
from ssl_mask.guard.origins import sources_of

CACHED_SIDE = 45
"""A fingerprint takes as much room as a picture of this side; decides whether the disk has room for the cache."""


def pool_of(manifest: Manifest, role: Role, *, name: str = "", base: Path | None = None) -> Pool:
    """All rows of a manifest as one pool.

    Args:
        name: the role's name when not given.
        base: what the pool's paths are relative to, if all its images lie below it; else the manifest's root.

    Raises:
        DataError, MismatchError: the record of a prepared folder that holds images is damaged, or was changed.
    """
    manifest = _below_its_root(manifest)
    root = manifest.root
    digests = tuple(r.digest for r in manifest.rows)
    below = base is not None and root.absolute().is_relative_to(base.absolute())
    prefix = Path(os.path.relpath(root.absolute(), base)) if base is not None and below else Path()
    return Pool(
        name=name or role,
        role=role,
        root=base if base is not None and below else root,
        paths=tuple((prefix / r.path).as_posix() for r in manifest.rows),
        groups=tuple(r.group if manifest.grouped else "" for r in manifest.rows),
        labels=tuple(_label(manifest, r) for r in manifest.rows),
        digests=digests,
        sources=sources_of(manifest.files, digests),
        group_source=f"the {manifest.layout} layout" if manifest.grouped and any(manifest.groups) else "",
    )


def _below_its_root(manifest: Manifest) -> Manifest:
    """The same rows under a root that holds them all: pseudo-labels name their images by absolute paths."""
    if not any(Path(r.path).is_absolute() for r in manifest.rows):
        return manifest
    root = Path(os.path.commonpath([f.parent for f in manifest.files]))
    rows = (r._replace(path=f.relative_to(root).as_posix()) for r, f in zip(manifest.rows, manifest.files, strict=True))
    return replace(manifest, root=root, rows=tuple(rows))


def cache_of(config: DataConfig, pools: Sequence[Pool]) -> Path | None:
    """Where the fingerprints of pools are kept, or None."""
    return cache_folder(config, sum(len(pool.paths) for pool in pools), CACHED_SIDE)


def _label(manifest: Manifest, row: Row) -> str:
    """Class names of all factors, such as `worn/male/<30`; "" unknown."""
    if row.labels is None:
        return ""
    return "/".join(f.classes[i] for f, i in zip(manifest.schema.factors, row.labels, strict=True))
