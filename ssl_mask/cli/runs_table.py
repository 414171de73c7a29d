"""The tables of `sslmask runs`, which fit the terminal without cutting a word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ssl_mask.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    from ssl_mask.runs.listing import Entry, GallerySummary, StudySummary
    from ssl_mask.runs.records import RunStatus


def listing_answer(entries: Sequence[Entry], folder: Path) -> dict[str, Any]:
    """What `--json` says: all runs, all studies, all galleries, and what cannot be read."""
    found: dict[str, list[dict[str, Any]]] = {"runs": [], "studies": [], "galleries": [], "damaged": []}
    for entry in entries:
        place = {"name": entry.name, "path": str(folder / entry.name)}
        if entry.run is not None:
            found["runs"].append({**entry.run.to_json(), **place})
        elif entry.study is not None:
            found["studies"].append({**entry.study.to_json(), **place})
        elif entry.gallery is not None:
            found["galleries"].append({**entry.gallery.to_json(), **place})
        else:
            found["damaged"].append({**place, "error": entry.damage})
    return found


COLUMNS = ("run", "val macro-F1", "leakage", "status", "val accuracy", "steps", "weights", "started", "data")
"""Most important first: those at the end are left out where the terminal is narrow."""
ALWAYS = 4
"""A score is never shown without its leakage status."""
GALLERY_COLUMNS = ("gallery", "images", "classes", "leakage", "embedded by")


def print_tables(entries: Sequence[Entry], folder: Path, width: int) -> None:
    """Runs and studies, then galleries. These have no score here: `sslmask gallery show` computes it."""
    scored = [row(entry) for entry in entries if entry.run is not None or entry.study is not None]
    galleries = [gallery_row(entry.name, entry.gallery, folder) for entry in entries if entry.gallery is not None]
    tables = [table(rows, width, names) for rows, names in ((scored, COLUMNS), (galleries, GALLERY_COLUMNS)) if rows]
    print("\n\n".join(tables), end="\n" if tables else "")


def table(rows: Sequence[Sequence[str]], width: int, columns: Sequence[str] = COLUMNS) -> str:
    """The columns that fit into `width` characters, as text. Where not even the first few do, a name gets a line."""
    lines = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def fits(count: int) -> bool:
        return sum(widths[:count]) + 2 * (count - 1) <= width

    shown = max((n for n in range(ALWAYS, len(columns) + 1) if fits(n)), default=ALWAYS)
    return "\n".join(
        (f"{name.ljust(widths[0])}  " if fits(ALWAYS) else f"{name}\n    ")
        + "  ".join(map(str.ljust, cells[: shown - 1], widths[1:shown])).rstrip()
        for name, *cells in lines
    )


def row(entry: Entry) -> tuple[str, ...]:
    """The cells of a run or a study; what belongs to a study is indented below it."""
    name = "  " * entry.depth + (entry.name if not entry.depth else entry.name.rsplit("/", 1)[-1])
    cells = run_cells(entry.run) if entry.run is not None else study_cells(entry.study) if entry.study else ()
    return tuple(map(shown, (name, *cells)))


def gallery_row(name: str, gallery: GallerySummary, folder: Path) -> tuple[str, ...]:
    """The cells of a gallery; what embeds it is named as the other table names it."""
    source, home = PurePath(gallery.source), folder.absolute()
    named = source.relative_to(home).as_posix() if source.is_relative_to(home) else str(source)
    return tuple(map(shown, (name, str(gallery.images), str(gallery.classes), gallery.leakage, named)))


def run_cells(run: RunStatus) -> tuple[str, ...]:
    best = run.best
    f1, accuracy = (f"{best.macro_f1:.4f}", f"{best.accuracy:.4f}") if best else ("", "")
    steps = f"{run.step}/{'?' if run.steps is None else run.steps}"
    weights = f"{best.weights}@{best.step}" if best else ""
    data = run.data.content_hash[:8] if run.data else ""
    return f1, run.leakage, run.status, accuracy, steps, weights, run.started[:16].replace("T", " "), data


def study_cells(study: StudySummary) -> tuple[str, ...]:
    f1, accuracy = (f"{v:.4f}" if v is not None else "" for v in (study.macro_f1, study.accuracy))
    status = f"{study.status} {study.done}/{study.total}"
    f1 = f"{f1} {study.score}" if f1 else ""
    return f1, study.leakage, status, accuracy, "", "", study.started[:16].replace("T", " "), ""
