"""The parts of fingerprints that are read where they lie, only when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import StorageError
from ssl_mask.guard.copies.memory import release
from ssl_mask.guard.copies.store import RECORD, Segment, Stored
from ssl_mask.guard.copies.verification import SIDE

_QUALITY = 85  # 2.8 kB a face; the scores of copies are lower by at most 0.002


class Rows(Protocol):
    """An array, or a column: the values of some rows."""

    def __getitem__(self, rows: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


class Kept(NamedTuple):
    """A (128, 128) grey picture as it is kept; where it is looked at is where it is decoded."""

    content: bytes
    where: str = ""
    """The file that has it as JPEG; "" where the content is its grey values."""

    @property
    def thumb(self) -> NDArray[np.uint8]:
        """Raises StorageError for what is no such picture."""
        if self.where:
            return decoded(self.content, self.where)
        return np.frombuffer(self.content, np.uint8).reshape(SIDE, SIDE)


class Column:
    """One field of the records of some images, or their pictures ("thumb"): like an array that is indexed by rows.

    Args:
        segments: where they are kept.
        places: (n, 2) of each image the number of its segment, and its row there; -1 for none, which reads as zeros.
    """

    def __init__(self, name: str, segments: Sequence[Segment | Stored], places: NDArray[np.int64]) -> None:
        self._name, self._segments, self._places = name, segments, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        places = self._places[rows]
        values = self._values(places.reshape(-1, 2))
        return values.reshape(*places.shape[:-1], *values.shape[1:])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def at(self, rows: NDArray[np.int64]) -> Column:
        """That of some images, in a new order, without reading it."""
        return Column(self._name, self._segments, self._places[rows])

    def after(self, segment: Segment) -> Column:
        """All images of a segment, and after them these, without reading them."""
        moved = np.where(self._places < 0, -1, self._places + np.array([1, 0]))
        places = np.concatenate([_all_of(segment), moved])
        return Column(self._name, [segment, *self._segments], places)

    def kept(self, rows: NDArray[np.int64]) -> list[Kept]:
        """Some pictures, of which none is decoded."""
        places = self._places[rows]
        found = [Kept(b"", "no file")] * len(places)
        for kept, where in self._by_segment(places[:, 0]):
            segment, name = kept.open(), _name(kept)
            for place in where.tolist():
                found[place] = Kept(segment.thumb(int(places[place, 1])), name)
            release(segment.thumbs)
        return found

    def _values(self, places: NDArray[np.int64]) -> NDArray[Any]:
        is_thumb = self._name == "thumb"
        kind = np.dtype((np.uint8, (SIDE, SIDE))) if is_thumb else RECORD[self._name]
        values = np.zeros((len(places), *kind.shape), kind.base)
        for kept, where in self._by_segment(places[:, 0]):
            segment, rows = kept.open(), places[where, 1]
            if is_thumb:
                values[where] = [decoded(segment.thumb(row), _name(kept)) for row in rows.tolist()]
            else:
                values[where] = segment.records[self._name][rows]
            release(segment.records)
            release(segment.thumbs)
        return values

    def _by_segment(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Segment | Stored, NDArray[np.int64]]]:
        order = np.argsort(numbers, kind="stable")
        for where in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            if len(where) and numbers[where[0]] >= 0:
                yield self._segments[numbers[where[0]]], where


def some(rows: Rows, places: NDArray[np.int64]) -> Rows:
    """Those at some places; of a column without reading it."""
    found: Rows = rows.at(places) if isinstance(rows, Column) else rows[places]
    return found


def kept(thumbs: Rows, places: NDArray[np.int64]) -> list[Kept]:
    """Some pictures as they are kept."""
    if isinstance(thumbs, Column):
        return thumbs.kept(places)
    return [Kept(thumb.tobytes()) for thumb in thumbs[places]]


def after(segment: Segment, name: str, rows: Rows) -> Rows:
    """One field of a segment, and after it that of other images; of a column without reading it."""
    if isinstance(rows, Column):
        return rows.after(segment)
    return np.concatenate([Column(name, [segment], _all_of(segment))[:], rows[:]])


def _all_of(segment: Segment) -> NDArray[np.int64]:
    rows = np.arange(len(segment.records))
    return np.stack([np.zeros_like(rows), rows], axis=1)


def encoded(thumb: NDArray[np.uint8]) -> bytes:
    """A (128, 128) grey picture as JPEG."""
    return bytes(cv2.imencode(".jpg", thumb, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def _name(kept: Segment | Stored) -> str:
    """Where its pictures are."""
    return str(kept.path.with_suffix(".thumbs")) if isinstance(kept, Stored) else "the memory of this process"


def decoded(jpeg: bytes, where: str) -> NDArray[np.uint8]:
    """Raises StorageError for what is no such picture, and names `where` it is kept."""
    thumb = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) if jpeg else None
    if thumb is None or thumb.shape != (SIDE, SIDE):
        raise StorageError(
            f"A picture in {where}, in the cache of the leakage guard, is damaged.",
            hint="Delete that file; its fingerprints are then made anew.",
        )
    return np.asarray(thumb, np.uint8)
