"""The store of features: what is whole is found again with the same bits, what is not does not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_mask.data.features import add, recall
from ssl_mask.errors import StorageError

VALUES = np.random.default_rng(0).standard_normal((6, 5), dtype=np.float32)


def digest(number: int) -> str:
    return bytes([number] * 32).hex()


def numbered(*numbers: int) -> dict[str, np.ndarray]:
    return {digest(n): VALUES[n] for n in numbers}


def found(folder: Path, *numbers: int) -> set[int]:
    """The numbers whose features are there; each must have its own bits."""
    known = recall(folder, [digest(n) for n in numbers])
    for number in numbers:
        if digest(number) in known:
            assert known[digest(number)].tobytes() == VALUES[number].tobytes()
    return {n for n in numbers if digest(n) in known}


def test_what_was_added_is_recalled_whatever_the_order(tmp_path: Path) -> None:
    assert found(tmp_path / "none", 1) == set()
    add(tmp_path, numbered(1, 2, 3))
    add(tmp_path, numbered(4, 2))  # a process that computed the same at the same time
    add(tmp_path, {})
    assert found(tmp_path, 4, 0, 2, 1) == {1, 2, 4}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "other kind", "no index", "broken index", "other index"])
def test_a_damaged_segment_does_not_exist(tmp_path: Path, damage: str) -> None:
    add(tmp_path, numbered(1, 2, 3))
    (data,), (index,) = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    match damage:
        case "cut":
            data.write_bytes(data.read_bytes()[:-7])
        case "empty":
            data.write_bytes(b"")
        case "gone":
            data.unlink()
        case "other kind":
            np.save(data, VALUES)
        case "no index":
            index.unlink()
        case "broken index":
            index.write_text("[")
        case "other index":
            index.write_text("2")
    add(tmp_path, numbered(4))
    assert found(tmp_path, 1, 2, 3, 4) == {4}


def test_a_single_changed_bit_costs_only_its_image(tmp_path: Path) -> None:
    add(tmp_path, numbered(1, 2, 3))
    (data,) = tmp_path.glob("*.npy")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1  # the last value of the last record
    data.write_bytes(bytes(content))
    assert found(tmp_path, 1, 2, 3) == {1, 2}


def test_a_disk_that_refuses_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        add(tmp_path / "file" / "inside", numbered(1))
