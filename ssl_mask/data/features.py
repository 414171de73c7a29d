"""Features of images kept on disk: what a frozen network says of an image is computed once, whoever asks for it.

    <cache>/features/3f9c…-plain/
    ├── 5f0c….npy     one record an image: SHA-256 of its file, checksum, values
    └── 5f0c….json    how many records it has

The folder's name says which network looked at which view of the images; `ssl_mask.inference.features` makes it.
Segments are only ever added, and one without its json does not exist: the json comes last, and both appear by an atomic
rename. So there are no locks; two processes that compute the same features waste a little time, nothing else. A record
whose checksum does not fit is as good as absent. Every file may be deleted at any time.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.files import atomic_path, write_text
from ssl_mask.reading import parse_json, regular

Values = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureRows:
    """Features in the place of pixels, by position."""

    values: Values
    """(n, d), or (n, views, d) for training."""

    def __len__(self) -> int:
        return len(self.values)

    def read(self, position: int) -> Values:
        row: Values = self.values[position]
        return row


def random_view(image: Values, seed: Sequence[int], classes: Collection[str] = ()) -> Values:  # noqa: ARG001
    """(views, d) -> (d,) one of the views. It depends on nothing but the arguments.

    Args:
        seed: any integers ≥ 0, such as the run's seed and the number of the draw.
    """
    view: Values = image[np.random.default_rng(tuple(seed)).integers(len(image))]
    return view


def recall(folder: Path, digests: Sequence[str]) -> dict[str, Values]:
    """Digest -> (d,) values of those images whose features are in the folder."""
    wanted, found = set(digests), dict[str, Values]()
    for index in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):  # deleted or damaged is as good as absent
            count = int(parse_json(regular(index).read_bytes()))
            records = _load(index.with_suffix(".npy"))
            names = [bytes(d).hex() for d in records["digest"]] if len(records) == count else []
            found |= {n: r["values"] for n, r in zip(names, records, strict=False) if n in wanted and _is_whole(r)}
    widths = {len(v) for v in found.values()}
    return found if len(widths) <= 1 else {}


def add(folder: Path, features: Mapping[str, Values]) -> None:
    """Keep the features of some images, of equal width. Raises StorageError when the disk refuses."""
    if not features:
        return
    values = np.stack(list(features.values()))
    records = np.empty(len(values), _record(values.shape[1]))
    records["digest"] = np.frombuffer(bytes.fromhex("".join(features)), np.uint8).reshape(-1, 32)
    records["values"] = values
    records["checksum"] = [_checksum(r) for r in records]
    path = folder / f"{uuid.uuid4().hex}.npy"
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, records, allow_pickle=False)
    write_text(path.with_suffix(".json"), json.dumps(len(records)))


def _record(width: int) -> np.dtype[np.void]:
    return np.dtype([("digest", "u1", (32,)), ("checksum", "<u4"), ("values", "<f4", (width,))])


def _checksum(record: Any) -> int:
    return zlib.crc32(record["values"].tobytes(), zlib.crc32(record["digest"].tobytes()))


def _is_whole(record: Any) -> bool:
    return _checksum(record) == int(record["checksum"])


def _load(path: Path) -> NDArray[np.void]:
    """The records of a segment, in memory. Raises OSError or ValueError when the file holds no such thing."""
    try:
        # Mapped first: a header that says more than the file holds is noticed before memory is taken.
        records = np.array(np.load(regular(path), mmap_mode="r", allow_pickle=False))
    except OSError:
        raise
    except Exception as error:  # numpy raises many kinds for a damaged header
        raise ValueError("no table") from error
    if records.ndim != 1 or records.dtype.names is None or records.dtype != _record(records.dtype["values"].shape[0]):
        raise ValueError("another kind of table")
    return records
