"""Where pictures come from, by position: decoded at every read, from the cache, or some of another source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ssl_mask.data.cache import ImageCache
from ssl_mask.data.depth import FULL
from ssl_mask.data.digests import read_file
from ssl_mask.data.images import Resize, decode, fit
from ssl_mask.data.segments import Pixels
from ssl_mask.errors import ImageError


class ImageSource(Protocol):
    """Pictures by position, each (size, size, 3) uint8 RGB; or features in their place, see `data/features.py`.

    Picklable, so that DataLoader workers get a copy.
    """

    def __len__(self) -> int: ...

    def read(self, position: int) -> NDArray[Any]: ...


@dataclass(frozen=True)
class DecodedImages:
    """Decodes the file at every read: for `data.cache: off`. Raises ImageError, also for a file that has changed."""

    paths: Sequence[Path]
    size: int
    resize: Resize
    max_pixels: int
    depth: int = FULL
    digests: Sequence[str] = ()
    """Of each file; not given: nothing is compared."""

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, position: int) -> Pixels:
        path = self.paths[position]
        content, digest, _ = read_file(path)
        if self.digests and digest != self.digests[position]:
            raise ImageError(f"{path}: it has changed since this run began", hint="Restore it, or start a new run.")
        picture = decode(path, content, max_pixels=self.max_pixels, depth=self.depth)
        return fit(picture, self.size, self.resize)


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

    def read(self, position: int) -> NDArray[Any]:
        return self.source.read(self.positions[position])
