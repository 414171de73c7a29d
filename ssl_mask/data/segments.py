"""Files of the image cache: many images of one size in one .npy file, and a .json that says which."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import StorageError
from ssl_mask.reading import regular

Pixels = NDArray[np.uint8]


class Segment:
    """Images that are being written to a new file in `folder`.

    Leaving the `with` block publishes all complete ones, also after an error.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.digests: dict[str, tuple[int, int]] = {}  # row by row: digest -> width and height of the file's image
        self._size = size
        self._path = folder / f"{uuid.uuid4().hex}.npy"
        self._unfinished = self._path.with_suffix(".tmp")
        with _writing_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._unfinished.open("wb")
            self._file.write(npy_header(0, size))

    def add(self, digest: str, pixels: Pixels, file_size: tuple[int, int]) -> None:
        if digest not in self.digests:
            with _writing_in(self._path.parent):
                self._file.write(pixels.data)
            self.digests[digest] = file_size

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        header = npy_header(len(self.digests), self._size)
        try:
            with _writing_in(self._path.parent):
                with self._file as file:
                    file.seek(0)
                    file.write(header)
                    file.truncate(len(header) + len(self.digests) * self._size * self._size * 3)
                    os.fsync(file.fileno())  # else a power cut could leave an index next to a file of zeros
                if self.digests:
                    self._unfinished.rename(self._path)
                    self._unfinished.write_text(json.dumps(self.digests), encoding="ascii")
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


def npy_header(count: int, size: int) -> bytes:
    """The header of a .npy file of `count` images. Its length does not depend on `count`: numpy leaves room."""
    header = io.BytesIO()
    shape = (count, size, size, 3)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def is_whole(path: Path, count: int, size: int) -> bool:
    """Whether a file is a complete segment of `count` images, `size` pixels wide and high."""
    header = npy_header(count, size)
    with regular(path).open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        return length == len(header) + count * size * size * 3 and file.read(len(header)) == header
