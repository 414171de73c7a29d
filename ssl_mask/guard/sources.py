"""Which images an audit compares: the data set's own, or what the command line names for a role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.data.image_files import is_image_name
from ssl_mask.data.layouts.images import group_and_label
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.errors import DataError
from ssl_mask.guard.findings import ROLES, Pool, Role
from ssl_mask.guard.pools import pool_of


def gather_pools(
    dataset: Manifest | None, sources: Mapping[Role, Sequence[str]], *, base: Path, unlabeled: Sequence[str] = ()
) -> list[Pool]:
    """One pool per role that has images: what `sources` names for it, else what the data set has.

    Args:
        dataset: None where there is none.
        sources: role -> folders, globs and CSVs with an image column.
        base: what the paths of the pools are relative to, where they lie below it.
        unlabeled: sources that join the data set's own unlabeled images.

    Raises:
        DataError: a source without images, a bad row.
    """
    dataset = dataset or _nothing(base)
    pools = [_pool(role, sources[role], dataset, base) for role in ROLES if role in sources]
    for role in ROLES:
        if role in sources:
            continue
        rows = dataset.where(role)
        if role == "unlabeled" and unlabeled:
            pools.append(_pool(role, unlabeled, dataset, base))
        elif len(rows):
            pools.append(pool_of(rows, role, base=base))
    return pools


def _nothing(root: Path) -> Manifest:
    """A data set without images, for sources to be read relative to."""
    return Manifest(root, "images", LabelSchema(()), (), False, Submission("", (), "names"))


def _pool(role: Role, sources: Sequence[str], dataset: Manifest, base: Path) -> Pool:
    """The images of some sources; for `unlabeled` the data set's own join."""
    try:
        rows = read_unlabeled(sources, dataset if role == "unlabeled" else _nothing(base))
    except DataError as error:
        hint = f"Give --{role} a folder, a quoted glob, or a CSV with an image column."
        raise DataError(error.problem, hint=hint) from error
    pool = pool_of(rows, role, base=base)
    columns = {
        Path(f): (r.group if dataset.grouped else "", "") for f, r in zip(dataset.files, dataset.rows, strict=True)
    }
    named = ["the data set"] if dataset.grouped and any(columns.get(f, ("",))[0] for f in rows.files) else []
    for source in sources:
        table = next((p for p in (Path(source), base / source) if p.is_file() and not is_image_name(p.name)), None)
        if table is not None:
            found = group_and_label(table)
            columns |= found
            named += [source] if any(group for group, _ in found.values()) else []
    groups, labels = zip(*(columns.get(f, ("", "")) for f in rows.files), strict=True)
    # Nobody reads a label of an unlabeled image, not even to check it.
    labels = ("",) * len(groups) if role == "unlabeled" else labels
    return replace(pool, groups=groups, labels=labels, group_source=", ".join(named))
