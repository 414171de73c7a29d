"""`sslmask report`: a run or a study as one HTML page, or in short for a terminal. Reads images, never touches them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_mask.errors import nothing_written
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.page import WrittenPage, write_page
from ssl_mask.reports.html.report import Report, report_of
from ssl_mask.reports.html.report_page import report_html
from ssl_mask.reports.html.subject import subject_of
from ssl_mask.runs.sources import find_source


def gather(
    run: str | Path, *, runs_folder: str | Path = "runs", compare: Sequence[str | Path] = (), data: Path | None = None
) -> Report:
    """What is known of a run or a study. Reads no image.

    Args:
        run: name or path of a run or a study, or `latest`.
        compare: others, whose predictions of the same images are compared with its own.
        data: the folder of the data set, where it is not where it was trained.

    Raises:
        DataError: no such run, a file of it is damaged, or runs that cannot be compared.
    """
    subjects = [subject_of(find_source(name, Path(runs_folder)), data) for name in (run, *compare)]
    return report_of(subjects[0], subjects[1:])


def report(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    compare: Sequence[str | Path] = (),
    data: str | Path | None = None,
    full: bool = False,
    out: str | Path | None = None,
) -> Path:
    """Write a run or a study as one HTML page, which opens from disk: scores, mistakes with their images, leakage.

    Args:
        run: name or path of a run or a study, or `latest`.
        compare: others, whose predictions of the same images are compared with its own.
        data: the folder of the data set, where it is not where it was trained.
        full: let each small image link to its file.
        out: the file; None: `report.html` in the folder of the run or the study.

    Returns:
        The file.

    Raises:
        DataError: no such run, a file of it is damaged, or runs that cannot be compared.
        StorageError: the file cannot be written.

    Examples:
        >>> import ssl_mask
        >>> ssl_mask.report("first").name
        'report.html'
    """
    with nothing_written():
        found = gather(run, runs_folder=runs_folder, compare=compare, data=None if data is None else Path(data))
        return write(found, full=full, out=None if out is None else Path(out)).path


def write(found: Report, *, full: bool = False, out: Path | None = None) -> WrittenPage:
    """Write the page of what was gathered. Raises StorageError."""
    reading = found.config.data
    album = Album(full=full, max_pixels=reading.max_pixels, depth=reading.depth)
    path = found.subject.source.path / "report.html" if out is None else out
    return write_page(path, report_html(found, album), album)
