"""Where the images are that a run or a gallery has seen, as its tables say: a seen-set knows digests, no places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ssl_mask.data.embeddings import read_embeddings
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import SslMaskError
from ssl_mask.guard.ancestors import UNKNOWN
from ssl_mask.runs.exported import ExportedModel
from ssl_mask.runs.gallery import GalleryDir
from ssl_mask.runs.run import RunDir


def places_of(run: RunDir | GalleryDir | ExportedModel) -> dict[str, Path]:
    """SHA-256 of images that a run, what it builds on, or a gallery has seen -> their files.

    A file may be gone or changed since. What no table names is left out, and so is a table that cannot be read: without
    its picture an image is still known by its digests. An exported network has no tables.
    """
    if isinstance(run, ExportedModel):
        return {}
    if isinstance(run, GalleryDir):
        rows = read_embeddings(run.rows(run.record()))
        return dict(zip(rows.sha256.tolist(), map(Path, rows.path.tolist()), strict=True))
    found: dict[str, Path] = {}
    for one in _with_ancestors(run):
        for table, column in ((one.manifest, "path"), (one.unlabeled, "path"), (one.pseudo_labels, "image")):
            with suppress(SslMaskError, OSError):
                data = one.status().data
                for _, cells in read_csv(table, columns=(column, "sha256")):
                    if cells["sha256"]:  # an image that was left out has none
                        place = Path(data.root if data is not None else "") / cells[column]
                        found.setdefault(cells["sha256"], place)
    return found


def _with_ancestors(run: RunDir) -> Iterator[RunDir]:
    """The run, its best round, and the runs that both build on, each once."""
    todo, done = [run], set[Path]()
    while todo:
        one = todo.pop()
        if one.path.resolve() in done:
            continue
        done.add(one.path.resolve())
        yield one
        with suppress(SslMaskError, OSError):
            status = one.status()
            todo += [RunDir(Path(name)) for name in status.ancestors if name != UNKNOWN]
            todo += [one.round(status.best_round)] if status.best_round is not None else []
