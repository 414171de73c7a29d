"""`sslmask prepare`: a new data folder with the faces of people photos cut out, or their background taken away.

Everything is written into `NAME.unfinished` beside the new folder, which gets its own name only when it is whole. What
is done stands in a journal there, so the same command continues where an interrupted one stopped.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_mask.console import Console
from ssl_mask.data.image_files import find_files, is_image_name
from ssl_mask.data.layouts.paths import is_written_by_us, safe_root
from ssl_mask.data.prepare import record
from ssl_mask.data.prepare.drawn_photos import (
    FOLDER,
    SYNTHETIC,
    Bare,
    bare_photos,
    draw_photo,
    synthetic_csv,
)
from ssl_mask.data.prepare.one_photo import PrepareSettings, prepare_photo
from ssl_mask.data.prepare.record import RECORD, TABLE, Prepared, PreparedRow, read_prepared
from ssl_mask.data.prepare.thread_models import ThreadModels
from ssl_mask.data.prepare.unfinished import JOURNAL, LOCK, SETTINGS, UNFINISHED, How, begin, done, prepare_all, write
from ssl_mask.devices import cores
from ssl_mask.errors import ConfigError, DataError, Interrupted, StorageError
from ssl_mask.files import holding, storage
from ssl_mask.runs.environment import code_version

_CARDS = "data_cards"  # say what is in the old folder


@dataclass(frozen=True)
class PreparedFolder:
    """What was prepared."""

    path: Path
    rows: tuple[PreparedRow, ...]
    """One for each photo, sorted by path."""

    @property
    def counts(self) -> dict[str, int]:
        """What was done -> to how many photos, the most frequent first."""
        return dict(Counter(row.what.split(" (")[0] for row in self.rows).most_common())

    @property
    def synthetic(self) -> Path | None:
        """The table of photos with drawn masks, for `data.extra_labels`; None where none was asked for."""
        table = self.path / FOLDER / SYNTHETIC
        return table if table.is_file() else None

    @property
    def several(self) -> int:
        """Photos in which more than one face was found."""
        return sum(row.faces > 1 for row in self.rows)


def prepare(
    root: Path, out: Path, settings: PrepareSettings | None = None, *, threads: int | None = None, quiet: bool = False
) -> PreparedFolder:
    """Write a new data folder with the layout, names and groups of another one and prepared photos.

    All images below the folder are prepared in the same way, test and unlabeled ones too; all other files are copied,
    without what sslmask has written (runs, cards). The folder itself is only read. With `settings.draw` the photos stay
    as they are, and bare faces of the training images are there again with a mask drawn on, in a folder of their own.

    Args:
        root: the data folder.
        out: the new folder, which must not be there yet.
        threads: that work; not given: one per core.

    Raises:
        ConfigError: nothing would change, one folder lies in the other, or masks are to be drawn for a class that the
            data set does not have. DataError: no images, or a folder of that name is there. InputError, ModelError: a
            model is missing or another one. StorageError: `out` cannot be written. Interrupted: the same call goes on.

    Examples:
        Of these drawn faces some are found; the others are copied as they are.

        >>> from pathlib import Path
        >>> import ssl_mask
        >>> asked = ssl_mask.PrepareSettings(margin=0.5)
        >>> cut = ssl_mask.prepare(Path("faces"), Path("faces-cut"), asked, quiet=True)
        >>> cut.path.name, len(cut.rows) == sum(cut.counts.values())
        ('faces-cut', True)
    """
    settings, console = settings or PrepareSettings(), Console(quiet=quiet)
    root, out = safe_root(root), out.absolute()
    check_prepare(root, out, settings)
    bare = bare_photos(root, settings.draw) if settings.draw else {}
    models = ThreadModels(settings)
    images, others = _files_of(root)
    staged = out.with_name(out.name + UNFINISHED)
    with storage(staged):
        staged.mkdir(parents=True, exist_ok=True)
    with holding(staged / LOCK) as alone:
        if not alone:
            raise StorageError(f"Another process is preparing {out}.", hint="Wait for it, or choose another --out.")
        before = read_prepared(root)
        how = {"source": str(root), "settings": asdict(settings), "models": models.digests}
        journal = begin(staged, how)
        finished = done(journal, root, staged, bare)
        todo = [path for path in images if path not in finished]
        if finished:
            console.say(f"{len(finished)} of {len(images)} photos are prepared already")
        try:
            with console.progress("Preparing", len(images), unit="photos") as advance:
                rows = prepare_all(staged, todo, journal, _how(root, settings, models, bare), threads or cores(),
                                    lambda more: advance(len(finished) + more))  # fmt: skip
            kept = [row for own in finished.values() for row in own]
            rows = [_with_origins(row, before) for row in [*kept, *rows]]
            _copy(root, staged, others)
        except KeyboardInterrupt as stop:
            here = f"what is done is kept in {staged.name}/."
            raise Interrupted.by(stop, here, hint="The same command continues.") from None
        found = PreparedFolder(out, tuple(sorted(rows)))
        if settings.draw:
            write(staged / FOLDER / SYNTHETIC, synthetic_csv(settings.draw, bare, found.rows).encode())
        _finish(staged, root, found, settings, models)
    _say(found, console)
    return found


def check_prepare(root: Path, out: Path, settings: PrepareSettings) -> None:
    """What can be refused before a model is loaded. Arguments and errors are those of `prepare`."""
    if settings.draw is not None:
        if (settings.faces, settings.background) != ("keep", "keep"):
            raise ConfigError(
                "Masks are drawn into photos as they are.", hint="Prepare them first, then draw into those."
            )
    elif settings.faces == "keep" and settings.background == "keep":
        raise ConfigError("--faces keep --background keep changes nothing.", hint="Use --faces crop, or a background.")
    real, new = root.resolve(), out.resolve()
    if new.is_relative_to(real) or real.is_relative_to(new):
        raise ConfigError(
            f"--out {out} and --data {root} lie in each other: the new photos would count twice.",
            hint="Name a folder beside the data folder.",
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} is there already.", hint="Choose another --out, or remove it.")


def _files_of(root: Path) -> tuple[list[str], list[str]]:
    """Paths of the images, and of the other files that go along, both below the folder.

    Raises:
        DataError: no images, or a name that no table can hold.
    """
    ours = {place.name for place in root.iterdir() if place.is_dir() and is_written_by_us(place)} | {_CARDS}
    paths = [path.relative_to(root).as_posix() for path in find_files(root)]
    paths = [path for path in paths if path.split("/")[0] not in ours or "/" not in path]
    images = [path for path in paths if is_image_name(path.rsplit("/", 1)[-1])]
    if not images:
        raise DataError(f"There are no images in {root}.", hint="Give the data folder: --data DIR")
    for path in images:
        if not path.isprintable():
            raise DataError(f"{path!r}: its name holds characters that cannot be printed.", hint="Rename it.")
    return images, [path for path in paths if path not in {*images, TABLE, RECORD}]


def _how(root: Path, settings: PrepareSettings, models: ThreadModels, bare: Mapping[str, Bare]) -> How:
    """What is done to a photo: its rows, the first of them its own."""

    def prepared(path: str) -> Iterable[tuple[PreparedRow, bytes]]:
        return [prepare_photo(root / path, path, settings, models.here())]

    def drawn(path: str) -> Iterable[tuple[PreparedRow, bytes]]:
        find = models.here().faces
        least, most = settings.min_confidence, settings.max_pixels
        return draw_photo(root / path, path, bare.get(path), find, min_confidence=least, max_pixels=most)

    return drawn if settings.draw else prepared


def _with_origins(row: PreparedRow, before: Prepared | None) -> PreparedRow:
    """With the sources of the source, where the folder itself was prepared."""
    if before is None:
        return row
    earlier = [source.sha256 for source in before.sources(row.path, row.sources[0])]
    return row._replace(sources=tuple(dict.fromkeys([*row.sources, *earlier])))


def _copy(root: Path, staged: Path, others: Sequence[str]) -> None:
    for path in others:
        with storage(staged / path):
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, staged / path)


def _finish(staged: Path, root: Path, found: PreparedFolder, settings: PrepareSettings, models: ThreadModels) -> None:
    content: Mapping[str, Any] = {
        "sslmask": code_version(), "settings": asdict(settings), "models": models.digests, "counts": found.counts,
        "several_faces": found.several,
    }  # fmt: skip
    wanted = {row.path for row in found.rows}
    for path in find_files(staged):  # of photos that went away between two calls
        if is_image_name(path.name) and path.relative_to(staged).as_posix() not in wanted:
            path.unlink()
    record.write_prepared(staged, root, found.rows, content)
    with storage(found.path):
        for name in (JOURNAL, SETTINGS, LOCK):
            (staged / name).unlink()
        staged.rename(found.path)


def _say(found: PreparedFolder, console: Console) -> None:
    counts = ", ".join(f"{what} {number:,}" for what, number in found.counts.items())
    console.say(f"Saved  {found.path}: {len(found.rows):,} photos ({counts})")
    if found.several:
        console.say(f"       more than one face in {found.several:,}: the largest, which counts less near a corner")
    if found.synthetic is not None:
        console.say(f"       train on drawn masks too: --set data.extra_labels={found.synthetic}")
    console.say(f"       {TABLE} lists each photo, what was done to it, and its source")
