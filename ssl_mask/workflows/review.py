"""`sslmask review`: the labels that are probably wrong, on a page worked by keyboard. Never touches the data set."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.errors import nothing_written
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.page import WrittenPage, write_page
from ssl_mask.reports.html.review.page import review_html
from ssl_mask.reports.html.review.review import Review, review_of
from ssl_mask.reports.html.subject import subject_of
from ssl_mask.runs.sources import find_source


def gather(
    run: str | Path, *, runs_folder: str | Path = "runs", corrections: Path | None = None, data: Path | None = None,
    cleanlab: bool = False,
) -> Review:  # fmt: skip
    """The ranking. Reads no image.

    Args:
        run: name or path of a run or a study, or `latest`.
        corrections: an older table to go on with.
        data: the folder of the data set, where it is not where it was trained.
        cleanlab: also ask cleanlab.

    Raises:
        DataError: no such run, a file of it is damaged, or the older table does not fit.
        InputError: cleanlab is not installed.
    """
    subject = subject_of(find_source(run, Path(runs_folder)), data)
    return review_of(subject, corrections=corrections, cleanlab=cleanlab)


def review(
    run: str | Path = "latest",
    *,
    runs_folder: str | Path = "runs",
    corrections: str | Path | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
) -> Path:
    """Write a page on which the labels that are probably wrong are reviewed. It saves `corrections.csv`.

    Args:
        run: name or path of a run or a study, or `latest`.
        corrections: an older table to go on with; None: the one that the run was trained with, if any.
        data: the folder of the data set, where it is not where it was trained.
        out: the file; None: `review.html` in the folder of the run or the study.

    Returns:
        The file.

    Raises:
        DataError: no such run, a file of it is damaged, or the older table does not fit.
        StorageError: the file cannot be written.

    Examples:
        >>> import ssl_mask
        >>> ssl_mask.review("first").name
        'review.html'
    """
    with nothing_written():
        found = gather(
            run, runs_folder=runs_folder, corrections=None if corrections is None else Path(corrections),
            data=None if data is None else Path(data),
        )  # fmt: skip
        return write(found, out=None if out is None else Path(out)).path


def write(found: Review, *, full: bool = False, out: Path | None = None) -> WrittenPage:
    """Write the page of what was gathered. Raises StorageError."""
    reading = found.subject.runs[0].config().data
    album = Album(full=full, max_pixels=reading.max_pixels, depth=reading.depth)
    path = found.subject.source.path / "review.html" if out is None else out
    return write_page(path, review_html(found, album), album)
