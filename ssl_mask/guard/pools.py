"""Pools of images to check, from a manifest."""

from __future__ import annotations

import os
from pathlib import Path

from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.guard.findings import Pool, Role


def pool_of(manifest: Manifest, role: Role, *, name: str = "", base: Path | None = None) -> Pool:
    """All rows of a manifest as one pool.

    Args:
        name: the role's name when not given.
        base: what the pool's paths are relative to, if all its images lie below it; else the manifest's root.
    """
    root = manifest.root
    below = base is not None and root.absolute().is_relative_to(base.absolute())
    prefix = Path(os.path.relpath(root.absolute(), base)) if base is not None and below else Path()
    return Pool(
        name=name or role,
        role=role,
        root=base if base is not None and below else root,
        paths=tuple((prefix / r.path).as_posix() for r in manifest.rows),
        groups=tuple(r.group if manifest.grouped else "" for r in manifest.rows),
        labels=tuple(_label(manifest, r) for r in manifest.rows),
        digests=tuple(r.digest for r in manifest.rows),
        group_source=f"the {manifest.layout} layout" if manifest.grouped and any(manifest.groups) else "",
    )


def _label(manifest: Manifest, row: Row) -> str:
    """Class names of all factors, such as `worn/male/<30`; "" unknown."""
    if row.labels is None:
        return ""
    return "/".join(f.classes[i] for f, i in zip(manifest.schema.factors, row.labels, strict=True))
