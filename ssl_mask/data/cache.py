"""Decoded images kept on disk: each picture is decoded and resized once, whatever number of runs look at it.

    <cache>/112-crop-v1/
    ├── 5f0c….npy     uint8 (n, 112, 112, 3), open to anyone: np.load(path, mmap_mode="r")
    └── 5f0c….json    the n digests, row by row

A picture is found by the SHA-256 of its file, so renaming or moving a file costs nothing and changing it is seen.
Segments are only ever added, and a segment without its json does not exist: the json comes last, by an atomic rename.
So there are no locks. Two processes may decode the same picture at once; that wastes a little time and nothing else.
"""

from __future__ import annotations

import io
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.digests import digest_file
from ssl_mask.data.images import Resize, decode, fit
from ssl_mask.errors import ImageError, StorageError

Pixels = NDArray[np.uint8]

_IMAGES_PER_SEGMENT = 4096  # what a killed fill can lose
_STALE_SECONDS = 24 * 3600


class ImageSource(Protocol):
    """Pictures by position, each (size, size, 3) uint8 RGB. Picklable, so that DataLoader workers get a copy."""

    def __len__(self) -> int: ...

    def read(self, position: int) -> Pixels: ...


@dataclass(frozen=True)
class DecodedImages:
    """Decodes the file at every read: for `data.cache: off`. Raises ImageError."""

    paths: Sequence[Path]
    size: int
    resize: Resize
    max_pixels: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, position: int) -> Pixels:
        return fit(decode(self.paths[position], max_pixels=self.max_pixels), self.size, self.resize)


@dataclass(frozen=True)
class CachedImages:
    """Reads from a filled cache. Raises StorageError."""

    cache: ImageCache
    digests: Sequence[str]

    def __len__(self) -> int:
        return len(self.digests)

    def read(self, position: int) -> Pixels:
        return self.cache.read(self.digests[position])


@dataclass(frozen=True)
class ChosenImages:
    """Some pictures of another source, in a new order."""

    source: ImageSource
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, position: int) -> Pixels:
        return self.source.read(self.positions[position])


class ImageCache:
    """The pictures of one size and one way to resize. Holds an index (about 300 bytes a picture), never pixels."""

    def __init__(self, folder: Path, size: int, resize: Resize) -> None:
        self.folder = folder / f"{size}-{resize}-v1"
        self.size = size
        self.resize: Resize = resize
        self._segments: set[Path] = set()
        self._places: dict[bytes, tuple[Path, int]] = {}  # digest -> segment and row
        self._start = len(_header(0, size))
        self._find_segments()

    def missing(self, digests: Sequence[str]) -> list[int]:
        """The positions in `digests` of pictures that are not here."""
        return [position for position, digest in enumerate(digests) if bytes.fromhex(digest) not in self._places]

    def read(self, digest: str) -> Pixels:
        """A fresh, writable (size, size, 3) array. Raises StorageError when the picture is not here any more."""
        path, row = self._places.get(bytes.fromhex(digest), (self.folder / "no segment", 0))
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
        on_progress: Callable[[int, int], None] | None = None,
        on_bad: Callable[[int, ImageError], None] | None = None,
    ) -> None:
        """Decodes what is missing and adds it; `on_progress(done, total)` counts the missing positions.

        A bad image, or one whose file no longer has its digest, raises ImageError, or is given to `on_bad(position,
        error)` and skipped. What was decoded before an error is kept. Raises StorageError when the disk refuses.
        """
        self._find_segments()
        self._remove_leftovers()
        todo = self.missing(digests)
        source = DecodedImages(paths, self.size, self.resize, max_pixels)
        # Not the generator's own: one that is left after an error would end its threads when the garbage is collected,
        # in whatever thread that is, and a thread that waits for itself waits for ever.
        with ThreadPoolExecutor(threads) as pool:
            results = enumerate(_decode_ahead(pool, todo, source, digests, at_most=2 * threads), start=1)
            done = 0
            while done < len(todo):
                with _Segment(self.folder, self.size) as segment:
                    for done, (position, future) in results:
                        result = future.result()
                        if not isinstance(result, ImageError):
                            segment.add(digests[position], result)
                        elif on_bad:
                            on_bad(position, result)
                        else:
                            raise result
                        if on_progress:
                            on_progress(done, len(todo))
                        if len(segment.digests) == _IMAGES_PER_SEGMENT:
                            break
                self._find_segments()

    def _find_segments(self) -> None:
        """Adds the segments that appeared since the last look. One that does not fit its index is ignored."""
        for index in sorted(self.folder.glob("*.json")):
            path = index.with_suffix(".npy")
            if path in self._segments:
                continue
            self._segments.add(path)
            with suppress(OSError, ValueError, TypeError):
                digests = [bytes.fromhex(digest) for digest in json.loads(index.read_bytes())]
                if _is_whole(path, len(digests), self.size):
                    self._places.update((digest, (path, row)) for row, digest in enumerate(digests))

    def _remove_leftovers(self) -> None:
        """Files of a fill that was killed: no index names them. A day's grace, for they may be another's work."""
        for path in (*self.folder.glob("*.tmp"), *self.folder.glob("*.npy")):
            with suppress(OSError):
                if not path.with_suffix(".json").exists() and path.stat().st_mtime < time.time() - _STALE_SECONDS:
                    path.unlink()


def _decode_ahead(
    pool: ThreadPoolExecutor, todo: Sequence[int], source: DecodedImages, digests: Sequence[str], *, at_most: int
) -> Iterator[tuple[int, Future[Pixels | ImageError]]]:
    """Each position with its picture or what is wrong with it, in order, `at_most` so many in memory."""

    def decoded(position: int) -> Pixels | ImageError:
        try:
            pixels = source.read(position)
            # After decoding, and never from a memo: a wrong picture in here would be wrong for every later run.
            if digest_file(source.paths[position]) != digests[position]:
                raise ImageError(f"{source.paths[position]}: not the same file as when its digest was taken")
        except ImageError as error:
            return error
        return pixels

    waiting: deque[tuple[int, Future[Pixels | ImageError]]] = deque()
    for position in todo:
        waiting.append((position, pool.submit(decoded, position)))
        if len(waiting) == at_most:
            yield waiting.popleft()
    yield from waiting


class _Segment:
    """A segment being written. Leaving the `with` block publishes its whole rows, also after an error."""

    def __init__(self, folder: Path, size: int) -> None:
        self.digests: dict[str, None] = {}  # an ordered set
        self._size = size
        self._path = folder / f"{uuid.uuid4().hex}.npy"
        self._unfinished = self._path.with_suffix(".tmp")
        with _writing_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._unfinished.open("wb")
            self._file.write(_header(0, size))

    def add(self, digest: str, pixels: Pixels) -> None:
        if digest not in self.digests:
            with _writing_in(self._path.parent):
                self._file.write(pixels.data)
            self.digests[digest] = None

    def __enter__(self) -> _Segment:
        return self

    def __exit__(self, *_: object) -> None:
        header = _header(len(self.digests), self._size)
        try:
            with _writing_in(self._path.parent):
                with self._file as file:
                    file.seek(0)
                    file.write(header)
                    file.truncate(len(header) + len(self.digests) * self._size * self._size * 3)
                    os.fsync(file.fileno())  # else a power cut could leave an index beside a file of zeros
                if self.digests:
                    self._unfinished.rename(self._path)
                    self._unfinished.write_text(json.dumps(list(self.digests)), encoding="ascii")
                    self._unfinished.rename(self._path.with_suffix(".json"))
        finally:
            self._unfinished.unlink(missing_ok=True)


@contextmanager
def _writing_in(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "Free some space, or set `data.cache` to another folder or to `off`."
        raise StorageError(f"{folder}: cannot write the image cache ({error.strerror})", hint=hint) from error


def _header(count: int, size: int) -> bytes:
    """What a .npy file of `count` pictures begins with. Its length does not depend on `count`: numpy leaves room."""
    header = io.BytesIO()
    shape = (count, size, size, 3)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _is_whole(path: Path, count: int, size: int) -> bool:
    header = _header(count, size)
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        return length == len(header) + count * size * size * 3 and file.read(len(header)) == header


def default_cache_folder() -> Path:
    """$SSLMASK_CACHE, else $XDG_CACHE_HOME/sslmask, else ~/.cache/sslmask."""
    if chosen := os.environ.get("SSLMASK_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sslmask"
