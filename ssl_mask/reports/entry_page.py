"""A run, a study or a gallery on one page: what it is, what it takes on the disk, what needs it, and its card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.errors import DataError
from ssl_mask.runs.find import find_run
from ssl_mask.runs.gallery import GalleryDir, is_gallery
from ssl_mask.runs.listing import GallerySummary, StudySummary, summary_of, summary_of_gallery
from ssl_mask.runs.records import RunStatus
from ssl_mask.runs.removal import size_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import find_source
from ssl_mask.runs.study import Study
from ssl_mask.runs.uses import RECORDS, builds_on, entry_of, users_of
from ssl_mask.text import code, md, md_table, megabytes

CARDS = ("run_card.md", "study_card.md", "comparison.md", "tune_card.md")
"""What a run or a study says of itself, once it is finished."""


class Shown(NamedTuple):
    """What is known of a run, a study or a gallery."""

    path: Path
    about: RunStatus | StudySummary | GallerySummary
    sizes: dict[str, int]
    """Part of its folder -> bytes."""
    needs: list[str]
    """What it builds on, of what is in the same folder."""
    needed_by: list[str]
    damage: str
    """Why it cannot be said what needs what; empty: it can."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"path": str(self.path), "about": self.about.to_json(), "bytes": sum(self.sizes.values()),
                **{key: getattr(self, key) for key in ("sizes", "needs", "needed_by", "damage")}}  # fmt: skip


def find_entry(reference: str, runs: Path) -> Path:
    """A run, a study or a gallery, finished or not: by name in `runs`, by path, or `latest`. Raises DataError."""
    if reference != "latest":
        for path in (Path(reference), runs / reference):
            if any((path / name).is_file() for name in RECORDS[:3]):
                return path
        return find_run(reference, runs).path
    return find_source(reference, runs).path


def look_at(path: Path, runs: Path) -> Shown:
    """Read what is known of it. Raises DataError, MismatchError when its record is missing or damaged."""
    needs: list[str] = []
    needed_by: list[str] = []
    damage = ""
    try:
        graph = builds_on(runs)
        name = entry_of(str(path.absolute()), runs, graph.keys())
        if name is not None:
            needs, needed_by = sorted(graph[name]), users_of(name, graph)
    except DataError as error:
        damage = error.problem
    return Shown(path, _about(path), sizes_of(path), needs, needed_by, damage)


def _about(path: Path) -> RunStatus | StudySummary | GallerySummary:
    if is_gallery(path):
        return summary_of_gallery(GalleryDir(path))
    run = RunDir(path)
    return run.status() if run.status_file.is_file() else summary_of(Study(path))


def sizes_of(path: Path) -> dict[str, int]:
    """Bytes of weights, saved states, predictions, runs inside, and the rest."""
    inside = {file.parent for file in path.rglob("run.json")} - {path}
    runs = size_of(*(run for run in inside if not any(other in run.parents for other in inside)))
    run = RunDir(path)
    parts = {
        "weights": [run.best, run.all_kept], "saved state": [run.last], "runs inside": [],
        "predictions": [path / "predictions"], "exported": [path / "export"],
    }  # fmt: skip
    sizes = {name: size_of(*(p for p in places if p.exists())) for name, places in parts.items()} | {
        "runs inside": runs
    }
    sizes["rest"] = size_of(path) - sum(sizes.values())
    return {name: size for name, size in sizes.items() if size}


def entry_page(shown: Shown) -> str:
    """Markdown: facts, then the card that the run or study has written of itself, or that of a gallery."""
    path = shown.path
    if is_gallery(path):
        from ssl_mask.reports.gallery_card import gallery_card  # late: it imports torch

        card = gallery_card(GalleryDir(path))
    else:
        file = next((path / name for name in CARDS if (path / name).is_file()), None)
        card = "" if file is None else file.read_text(encoding="utf-8")
    heading, _, body = card.partition("\n") if card.startswith("# ") else ("", "", card)
    facts = md_table(("what", "value"), [(md(what), value) for what, value in _facts(shown)])
    return f"{heading or f'# {md(path.name)}'}\n\n{facts}\n\n{body.strip()}".rstrip() + "\n"


def _facts(shown: Shown) -> Iterator[tuple[str, str]]:
    about = shown.about
    yield "folder", code(str(shown.path))
    if isinstance(about, RunStatus):
        yield "status", md(_status(about.status, about.failure, f"{about.step} of {about.steps or '?'} steps"))
        if about.status in {"running", "interrupted"}:
            yield "go on", code(f"sslmask {about.verb} --resume {shown.path}")
    elif isinstance(about, StudySummary):
        yield "status", md(_status(about.status, "", f"{about.done} of {about.total} {about.kind}"))
        if about.status != "finished":
            yield "go on", code(Study(shown.path).how_to_go_on)
    parts = ", ".join(f"{name} {megabytes(size)}" for name, size in shown.sizes.items())
    yield "on the disk", f"{megabytes(sum(shown.sizes.values()))} ({parts})"
    if shown.damage:
        yield "needed by", f"not known: {md(shown.damage)}"
        return
    if shown.needs:
        yield "builds on", ", ".join(map(code, shown.needs))
    yield "needed by", ", ".join(map(code, shown.needed_by)) or "nothing here"


def _status(status: str, failure: str, done: str) -> str:
    return f"{status}, {done}" + (f": {failure}" if failure else "")
