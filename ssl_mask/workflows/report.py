"""`sslmask report`: a run or a study as one HTML page, or in short for a terminal. Reads images, never touches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.console import Console
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.evaluation.heat import Explained
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.page import WrittenPage, write_page
from ssl_mask.reports.html.report.page import report_html
from ssl_mask.reports.html.report.report import Report, report_of
from ssl_mask.reports.html.subject import Subject, subject_of
from ssl_mask.runs.sources import find_source


def gather(
    run: str | Path, *, runs_folder: str | Path = "runs", compare: Sequence[str | Path] = (), data: Path | None = None,
    explain: bool = False, console: Console | None = None,
) -> Report:  # fmt: skip
    """What is known of a run or a study. Reads no image, but to explain it.

    Args:
        run: name or path of a run or a study, or `latest`.
        compare: others, whose predictions of the same images are compared with its own.
        data: the folder of the data set, where it is not where it was trained.
        explain: also where the networks looked in the worst images.
        console: where progress goes.

    Raises:
        DataError: no such run, a file of it is damaged, or runs that cannot be compared.
        InputError: to explain, captum is not installed, or there is no image that the run was not trained on.
        ModelError: a network that cannot be explained.
    """
    if explain:
        from ssl_mask.inference.grad_cam import need_captum

        need_captum()
    subjects = [subject_of(find_source(name, Path(runs_folder)), data) for name in (run, *compare)]
    if explain:
        _refuse_unexplained(subjects[0])
    found = report_of(subjects[0], subjects[1:])
    return replace(found, explained=_explained(found, console)) if explain else found


def _refuse_unexplained(subject: Subject) -> None:
    if subject.source.kind == "gallery":
        raise InputError(
            f"--explain: {subject.source.path} is a gallery: neighbours predict, not a network.",
            hint=f"Explain what embeds its images: sslmask report {subject.source.parts[0].path} --explain",
        )
    if subject.table is None:
        raise InputError(
            f"--explain: {subject.source.path} was trained on all labels, so there is no image that it has not seen.",
            hint="Explain the study that it belongs to, or a run with a validation part.",
        )


def _explained(report: Report, console: Console | None) -> Explained:
    from ssl_mask.inference.explain import explain

    subject, looks = report.subject, report.looks
    assert looks is not None
    return explain(subject.source, looks.table, looks.worst, subject.root, console)


def report(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    compare: Sequence[str | Path] = (),
    data: str | Path | None = None,
    explain: bool = False,
    full: bool = False,
    out: str | Path | None = None,
) -> Path:
    """Write a run or a study as one HTML page, which opens from disk: scores, mistakes with their images, leakage.

    Args:
        run: name or path of a run or a study, or `latest`.
        compare: others, whose predictions of the same images are compared with its own.
        data: the folder of the data set, where it is not where it was trained.
        explain: show where the networks looked in the worst images (Grad-CAM; needs the extra `explain`).
        full: let each small image link to its file.
        out: the file; None: `report.html` in the folder of the run or the study.

    Returns:
        The file.

    Raises:
        DataError: no such run, a file of it is damaged, or runs that cannot be compared.
        InputError: to explain, captum is not installed, or there is no image that the run was not trained on.
        StorageError: the file cannot be written.

    Examples:
        >>> import ssl_mask
        >>> ssl_mask.report("first").name
        'report.html'
    """
    with nothing_written():
        found = gather(
            run, runs_folder=runs_folder, compare=compare, data=None if data is None else Path(data), explain=explain
        )  # fmt: skip
        return write(found, full=full, out=None if out is None else Path(out)).path


def write(found: Report, *, full: bool = False, out: Path | None = None) -> WrittenPage:
    """Write the page of what was gathered. Raises StorageError."""
    reading = found.config.data
    album = Album(full=full, max_pixels=reading.max_pixels, depth=reading.depth)
    path = found.subject.source.path / "report.html" if out is None else out
    return write_page(path, report_html(found, album), album)
