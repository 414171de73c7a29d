"""`sslmask prepare`: a new data folder with the faces of people photos cut out, or their background taken away.

Everything is written into `NAME.unfinished` beside the new folder, which gets its own name only when it is whole. What
is done stands in a journal there, so the same command continues where an interrupted one stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_mask.console import Console
from ssl_mask.data.image_files import find_files, is_image_name
from ssl_mask.data.layouts.paths import is_written_by_us, safe_root
from ssl_mask.data.prepare import record, weights
from ssl_mask.data.prepare.blazeface import FaceDetector
from ssl_mask.data.prepare.drawn_photos import (
    FOLDER,
    INTO,
    SYNTHETIC,
    Bare,
    bare_photos,
    draw_photo,
    drawn_path,
    synthetic_csv,
)
from ssl_mask.data.prepare.one_photo import Models, PrepareSettings, prepare_photo
from ssl_mask.data.prepare.record import RECORD, TABLE, Prepared, PreparedRow, read_prepared
from ssl_mask.data.prepare.selfie import PersonFinder
from ssl_mask.devices import cores
from ssl_mask.errors import ConfigError, DataError, Interrupted, StorageError
from ssl_mask.files import holding, storage, write_json
from ssl_mask.runs.environment import code_version

UNFINISHED = ".unfinished"
"""What the name of the new folder ends with until it is whole."""
_JOURNAL, _SETTINGS, _LOCK = ".prepare.jsonl", ".prepare.json", ".prepare.lock"
_CARDS = "data_cards"  # say what is in the old folder
How = Callable[[str], Iterable[tuple[PreparedRow, bytes]]]
"""Path of a photo -> what is written for it, and its rows."""


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
    models = _Models(settings)
    images, others = _files_of(root)
    staged = out.with_name(out.name + UNFINISHED)
    with storage(staged):
        staged.mkdir(parents=True, exist_ok=True)
    with holding(staged / _LOCK) as alone:
        if not alone:
            raise StorageError(f"Another process is preparing {out}.", hint="Wait for it, or choose another --out.")
        before = read_prepared(root)
        journal = _begin(staged, root, settings, models)
        done = _done(journal, root, staged, bare)
        todo = [path for path in images if path not in done]
        if done:
            console.say(f"{len(done)} of {len(images)} photos are prepared already")
        try:
            with console.progress("Preparing", len(images), unit="photos") as advance:
                rows = _prepare_all(staged, todo, journal, _how(root, settings, models, bare), threads or cores(),
                                    lambda more: advance(len(done) + more))  # fmt: skip
            kept = [row for own in done.values() for row in own]
            rows = [_with_origins(row, before) for row in [*kept, *rows]]
            _copy(root, staged, others)
        except KeyboardInterrupt as stop:
            here = f"what is done is kept in {staged.name}/."
            raise Interrupted.by(stop, here, hint="The same command continues.") from None
        found = PreparedFolder(out, tuple(sorted(rows)))
        if settings.draw:
            _write(staged / FOLDER / SYNTHETIC, synthetic_csv(settings.draw, bare, found.rows).encode())
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


class _Models:
    """The models' contents, which are read once, and a detector for each thread."""

    def __init__(self, settings: PrepareSettings) -> None:
        self._faces = weights.packaged(weights.FACES, "The face detector (BlazeFace)", weights.GET_FACES)
        self._persons = None
        if settings.background != "keep":
            what = "The model that finds the background (MediaPipe selfie segmentation)"
            self._persons = weights.packaged(weights.SELFIES, what, weights.GET_SELFIES)
        self._local = threading.local()
        self.here()  # what is wrong with LiteRT is said before anything is written

    @property
    def digests(self) -> dict[str, str]:
        contents = {"faces": self._faces, "persons": self._persons}
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if content}

    def here(self) -> Models:
        """Of the calling thread."""
        if not hasattr(self._local, "models"):
            persons = PersonFinder(self._persons) if self._persons else None
            self._local.models = Models(FaceDetector(self._faces), persons)
        models: Models = self._local.models
        return models


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


def _begin(staged: Path, root: Path, settings: PrepareSettings, models: _Models) -> Path:
    """The journal. Raises DataError where an unfinished folder was begun in another way."""
    asked = json.loads(json.dumps({"source": str(root), "settings": asdict(settings), "models": models.digests}))
    said = staged / _SETTINGS
    if not said.exists():
        write_json(said, asked)
    elif json.loads(said.read_text(encoding="utf-8")) != asked:
        raise DataError(
            f"{staged} was begun with other photos, settings or models.",
            hint="Continue with those, choose another --out, or remove it.",
        )
    return staged / _JOURNAL


def _done(journal: Path, root: Path, staged: Path, bare: Mapping[str, Bare]) -> dict[str, list[PreparedRow]]:
    """Photo -> its rows in the journal, where photo and results are what they were; a line that was cut off is left
    aside."""
    found: dict[str, list[PreparedRow]] = {}
    photo_of = {drawn_path(path, worn): path for path in bare for worn in bare[path].made}
    rows: dict[str, PreparedRow] = {}
    for line in journal.read_text(encoding="ascii").splitlines() if journal.exists() else ():
        try:
            row = record.row_of(line)
        except (ValueError, KeyError, TypeError):
            continue
        rows[row.path] = row
    for row in rows.values():
        photo = photo_of.get(row.path, row.path)
        if _digest(root / photo) == row.sources[0] and _digest(staged / row.path) == row.sha256:
            found.setdefault(photo, []).append(row)
    # A photo is written before what is drawn into it: its rows may be there in part.
    whole = {}
    for photo, own in found.items():
        first = next((row for row in own if row.path == photo), None)
        if first is not None and (first.what != INTO or len(own) == 1 + len(bare[photo].made)):
            whole[photo] = own
    return whole


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _how(root: Path, settings: PrepareSettings, models: _Models, bare: Mapping[str, Bare]) -> How:
    """What is done to a photo: its rows, the first of them its own."""

    def prepared(path: str) -> Iterable[tuple[PreparedRow, bytes]]:
        return [prepare_photo(root / path, path, settings, models.here())]

    def drawn(path: str) -> Iterable[tuple[PreparedRow, bytes]]:
        find = models.here().faces
        least, most = settings.min_confidence, settings.max_pixels
        return draw_photo(root / path, path, bare.get(path), find, min_confidence=least, max_pixels=most)

    return drawn if settings.draw else prepared


def _prepare_all(
    staged: Path, todo: Sequence[str], journal: Path, how: How, threads: int, tell: Callable[[int], None],
) -> list[PreparedRow]:  # fmt: skip
    """Prepare and write some photos; returns their rows, in any order."""

    def one(path: str) -> list[PreparedRow]:
        rows = []
        for row, content in how(path):
            _write(staged / row.path, content)
            rows.append(row)
        return rows

    rows: list[PreparedRow] = []
    with storage(journal), journal.open("a", encoding="ascii") as lines, ThreadPoolExecutor(threads) as pool:
        lines.write("\n")  # after what a kill may have cut off
        try:
            for number, each in enumerate([pool.submit(one, path) for path in todo], 1):
                rows += (own := each.result())
                lines.write("".join(map(record.line_of, own)))
                lines.flush()
                tell(number)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def _write(path: Path, content: bytes) -> None:
    """A file of an unfinished folder need not be whole: only the journal says which are."""
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


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


def _finish(staged: Path, root: Path, found: PreparedFolder, settings: PrepareSettings, models: _Models) -> None:
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
        for name in (_JOURNAL, _SETTINGS, _LOCK):
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
