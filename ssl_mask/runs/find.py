"""Runs in a folder: all of them, one by path, by name, or `latest`."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.errors import DataError, did_you_mean
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.view import Run


def find_run(reference: str | Path, runs: Path) -> RunDir:
    """A run by path, by name, or `latest`.

    Raises:
        DataError: no such run.
    """
    if str(reference) == "latest":
        scored = [r for r in list_runs(runs) if r.best.is_file()]
        if not scored:
            raise DataError(f"No run with a checkpoint in {runs.absolute()}.", hint="Train one first: sslmask train")
        return max(scored, key=lambda r: r.status().updated)
    for path in (Path(reference), runs / reference):
        if (path / "run.json").is_file():
            return RunDir(path)
    names = [r.path.relative_to(runs).as_posix() for r in list_runs(runs)]
    inside = [n for n in names if n.startswith(f"{reference}/")]
    if inside:
        raise DataError(f"{reference} is a study of several runs.", hint=f"Name one of them: {', '.join(inside)}.")
    studies = {name.split("/")[0] for name in names if "/" in name}
    hint = (
        did_you_mean(str(reference), sorted({*names, *studies}))
        if names
        else f"There are no runs in {runs.absolute()}."
    )
    raise DataError(f"No run {str(reference)!r}.", hint=hint)


def is_exported(reference: str | Path) -> bool:
    """Whether a user names an exported network: by its file."""
    return Path(reference).suffix == ".onnx"


def list_runs(runs: Path) -> list[RunDir]:
    """All runs in a folder and in its studies, by name."""
    found = [*runs.glob("[!.]*/run.json"), *runs.glob("[!.]*/[!.]*/run.json")]  # a hidden one is being made
    return [RunDir(p.parent) for p in sorted(found)]


def load_run(reference: str | Path = "latest", runs: Path = Path("runs")) -> Run:
    """A run for the API: by path, by name in `runs`, or `latest`.

    Examples:
        >>> import ssl_mask
        >>> run = ssl_mask.load_run("first")
        >>> run.status.verb
        'train'
    """
    return Run(find_run(reference, runs))
