"""Decoded images kept on disk: each picture is decoded and resized once, whatever number of runs look at it.

    <cache>/112-crop-v2/
    ├── 5f0c….npy     uint8 (n, 112, 112, 3), open to anyone: np.load(path, mmap_mode="r")
    └── 5f0c….json    row by row, the n digests, each with width and height of its file's image

A name such as 112-crop-v2-depth12 says what is not the default of how 16-bit images are read.

A picture is found by the SHA-256 of its file, so renaming or moving a file costs nothing and changing it is seen.
Segments are only ever added, and a segment without its json does not exist: the json comes last, by an atomic rename.
So there are no locks. Two processes may decode the same picture at once; that wastes a little time and nothing else.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_mask.data.depth import FULL
from ssl_mask.data.digests import DigestMemo, State, read_file
from ssl_mask.data.images import Resize, decode, fit, refuse_large
from ssl_mask.data.segments import Pixels, Segment, is_whole, npy_header
from ssl_mask.errors import ImageError, StorageError
from ssl_mask.reading import parse_json, regular

_IMAGES_PER_SEGMENT = 4096  # what a killed fill can lose
_STALE_SECONDS = 24 * 3600
Adding = Callable[[str, Pixels, tuple[int, int]], None]
"""Takes the digest of a file, its picture, (size, size, 3), and width and height of the image in the file."""


class ImageCache:
    """The pictures of one size and one way to read them. Holds an index (about 300 bytes a picture), never pixels."""

    def __init__(self, folder: Path, size: int, resize: Resize, depth: int = FULL) -> None:
        self.folder = folder / (f"{size}-{resize}-v2" + (f"-depth{depth}" if depth != FULL else ""))
        self.depth = depth
        self.size = size
        self.resize: Resize = resize
        self._segments: set[Path] = set()
        # Digest -> segment, row, width and height of the image in the file.
        self._places: dict[
            bytes, tuple[Path, int, tuple[int, int]]
        ] = {}  # digest -> segment, row, size of the file's image
        self._start = len(npy_header(0, size))
        self._find_segments()

    def missing(self, digests: Sequence[str]) -> list[int]:
        """The positions in `digests` of pictures that are not here."""
        return [position for position, digest in enumerate(digests) if bytes.fromhex(digest) not in self._places]

    def read(self, digest: str) -> Pixels:
        """A fresh, writable (size, size, 3) array. Raises StorageError when the picture is not here any more."""
        path, row, _ = self._places.get(bytes.fromhex(digest), (self.folder / "no segment", 0, (0, 0)))
        pixels = np.empty((self.size, self.size, 3), np.uint8)
        try:
            # Read, not mapped: touched pages of a mapping count as the process's memory, which would grow with the
            # data set. Opened at every read: no descriptor has to survive fork, spawn, threads or eviction.
            with path.open("rb", buffering=0) as file:
                file.seek(self._start + row * pixels.nbytes)
                if file.readinto(pixels.data) != pixels.nbytes:
                    raise OSError("cut short")
        except OSError as error:
            hint = f"Delete {self.folder} and run again, or set `data.cache: off`."
            raise StorageError(f"{path}: {error.strerror or error}; picture {digest} was in it", hint=hint) from error
        return pixels

    def fill(
        self,
        paths: Sequence[Path],
        digests: Sequence[str],
        *,
        max_pixels: int,
        threads: int,
        memo: DigestMemo | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_bad: Callable[[int, ImageError], None] | None = None,
    ) -> list[str]:
        """Decode what is missing and add it. Each file is read once: its digest and its pixels are of the same bytes.

        Args:
            digests: of each file; "" where it is not known yet.
            memo: told the digests that were not known.
            on_progress: told (done, total) of the files that have to be read.
            max_pixels: a larger image is bad, also one that is here already.
            on_bad: told (position, error) of a bad image, or of one whose file no longer has its digest, which is then
                skipped; not given: it raises. What was decoded before an error is kept.

        Returns:
            All digests; "" for a file that cannot be read.

        Raises:
            ImageError: see `on_bad`. StorageError: the disk refuses.
        """
        digests = list(digests)
        self._find_segments()
        self._remove_leftovers()
        todo = self.missing(digests)
        for position in sorted(set(range(len(digests))).difference(todo)):
            if error := self._too_large(paths[position], digests[position], max_pixels):
                _tell(on_bad, position, error)
        read = partial(self._read_new, paths, tuple(digests), max_pixels)
        if on_progress and todo:
            on_progress(0, len(todo))
        # Not the generator's own: one that is left after an error would end its threads when the garbage is collected,
        # in whatever thread that is, and a thread that waits for itself waits for ever.
        with ThreadPoolExecutor(threads) as pool:
            results = enumerate(_read_ahead(pool, todo, read, at_most=2 * threads), start=1)
            done = 0
            while done < len(todo):
                with Segment(self.folder, self.size) as segment:
                    for done, (position, future) in results:
                        new = future.result()
                        digests[position] = new.digest or digests[position]
                        if memo:
                            memo.note(paths[position], new.digest, new.state)
                        if new.pixels is not None:
                            segment.add(new.digest, new.pixels, new.file_size)
                        if new.error is not None:
                            _tell(on_bad, position, new.error)
                        if on_progress:
                            on_progress(done, len(todo))
                        if len(segment.digests) == _IMAGES_PER_SEGMENT:
                            break
                self._find_segments()
        return digests

    @contextmanager
    def adding(self) -> Iterator[Adding]:
        """Takes pictures that somebody else has decoded and fitted. Leaving the `with` block keeps them, also after an
        error. Raises StorageError when the disk refuses."""
        with ExitStack() as open_segment:
            segment: Segment | None = None

            def add(digest: str, pixels: Pixels, file_size: tuple[int, int]) -> None:
                nonlocal segment
                if segment is None or len(segment.digests) == _IMAGES_PER_SEGMENT:
                    open_segment.close()
                    segment = open_segment.enter_context(Segment(self.folder, self.size))
                if bytes.fromhex(digest) not in self._places:
                    segment.add(digest, pixels, file_size)

            yield add
        self._find_segments()

    def _read_new(self, paths: Sequence[Path], digests: Sequence[str], max_pixels: int, position: int) -> _New:
        """One file, read and hashed, and decoded unless its picture is here. Raises nothing for a bad image."""
        path, digest, state = paths[position], "", None
        try:
            content, digest, state = read_file(path)
            if digests[position] and digest != digests[position]:
                digest, state = "", None
                raise ImageError(f"{path}: not the same file as when its digest was taken")
            if bytes.fromhex(digest) in self._places:
                return _New(digest, state, None, (0, 0), self._too_large(path, digest, max_pixels))
            picture = decode(path, content, max_pixels=max_pixels, depth=self.depth)
        except ImageError as error:
            return _New(digest, state, None, (0, 0), error)
        size = picture.shape[1], picture.shape[0]
        return _New(digest, state, fit(picture, self.size, self.resize), size, None)

    def _too_large(self, path: Path, digest: str, max_pixels: int) -> ImageError | None:
        """For a picture that is here: what is wrong with its file under this limit."""
        try:
            refuse_large(path, self._places[bytes.fromhex(digest)][2], max_pixels)
        except ImageError as error:
            return error
        return None

    def _find_segments(self) -> None:
        """Adds the segments that appeared since the last look. One that does not fit its index is ignored."""
        for index in sorted(self.folder.glob("*.json")):
            path = index.with_suffix(".npy")
            if path in self._segments:
                continue
            self._segments.add(path)
            with suppress(OSError, ValueError, TypeError, AttributeError, OverflowError):
                rows = parse_json(regular(index).read_bytes()).items()
                found = [(bytes.fromhex(digest), (int(width), int(height))) for digest, (width, height) in rows]
                if is_whole(path, len(found), self.size):
                    self._places.update((digest, (path, row, size)) for row, (digest, size) in enumerate(found))

    def _remove_leftovers(self) -> None:
        """Files of a fill that was killed: no index names them. A day's grace, for they may be another's work."""
        for path in (*self.folder.glob("*.tmp"), *self.folder.glob("*.npy")):
            with suppress(OSError):
                if not path.with_suffix(".json").exists() and path.stat().st_mtime < time.time() - _STALE_SECONDS:
                    path.unlink()


class _New(NamedTuple):
    """A file that was read."""

    digest: str
    """"" where it could not be read."""
    state: State | None
    pixels: Pixels | None
    """None: they are here already, or there is an error."""
    file_size: tuple[int, int]
    """Width and height of the file's image."""
    error: ImageError | None


def _tell(on_bad: Callable[[int, ImageError], None] | None, position: int, error: ImageError) -> None:
    if on_bad is None:
        raise error
    on_bad(position, error)


def _read_ahead(
    pool: ThreadPoolExecutor, todo: Sequence[int], read: Callable[[int], _New], *, at_most: int
) -> Iterator[tuple[int, Future[_New]]]:
    """Each position with what was read there, in order, `at_most` so many in memory."""
    waiting: deque[tuple[int, Future[_New]]] = deque()
    for position in todo:
        waiting.append((position, pool.submit(read, position)))
        if len(waiting) == at_most:
            yield waiting.popleft()
    yield from waiting


def default_cache_folder() -> Path:
    """$SSLMASK_CACHE, else $XDG_CACHE_HOME/sslmask, else ~/.cache/sslmask.

    A user without a home (a container run with a number as its user) has one among the temporary files.

    Raises:
        StorageError: that one belongs to somebody else, who could put other pictures into it.
    """
    if chosen := os.environ.get("SSLMASK_CACHE"):
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 - Path's raises where there is no home
    home = os.path.expanduser("~")  # noqa: PTH111
    if caches := os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home != "~" else ""):
        return Path(caches) / "sslmask"
    folder = Path(tempfile.gettempdir()) / f"sslmask-{os.getuid()}"
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise StorageError(f"{folder} belongs to another user.", hint="Set SSLMASK_CACHE to a folder of yours.")
    return folder
