"""Pictures as they are kept, handed on without being decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textures import texture, write

from ssl_mask.errors import StorageError
from ssl_mask.guard.copies.columns import kept
from ssl_mask.guard.copies.fingerprints import fingerprint


def test_they_are_those_of_the_column_in_any_order_and_from_any_segment(tmp_path: Path) -> None:
    files = write(tmp_path / "photos", [texture(seed) for seed in range(5)])
    for some in (files[:2], files[2:]):  # two segments
        fingerprint(some, cache=tmp_path / "cache")
    thumbs = fingerprint(files, cache=tmp_path / "cache").thumbs
    rows = np.array([4, 0, 3, 0, 1])
    for rows_of in (thumbs, np.asarray(thumbs[:])):
        found = kept(rows_of, rows)
        assert np.array_equal(np.stack([each.thumb for each in found]), thumbs[rows])
        assert found[1] == found[3] and len(set(found)) == 4  # each is made ready once
    assert {each.where for each in kept(thumbs, rows)} == {str(p) for p in tmp_path.rglob("*.thumbs")}
    assert max(len(each.content) for each in kept(thumbs, rows)) < 128 * 128 / 2


def test_an_unreadable_file_has_no_picture(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (picture,) = kept(fingerprint([tmp_path / "broken.png"], cache=None).thumbs, np.array([0]))
    with pytest.raises(StorageError, match="no file"):
        _ = picture.thumb
