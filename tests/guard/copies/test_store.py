"""The stores of fingerprints and of pairs: what is whole is found again, what is not does not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_mask.errors import StorageError
from ssl_mask.guard.copies.candidates import Hits
from ssl_mask.guard.copies.pair_store import Scores, hits_name, load_hits, pair_keys, save_hits
from ssl_mask.guard.copies.store import RECORD, Records, add, recall


def records(*numbers: int) -> Records:
    """Record n has bytes n as its digest and n everywhere else."""
    made = np.zeros(len(numbers), RECORD)
    for row, number in enumerate(numbers):
        for name in RECORD.names or ():
            made[name][row] = number
    return made


def digest(number: int) -> str:
    return bytes([number] * 32).hex()


def known(folder: Path, *numbers: int) -> dict[int, int]:
    """Position to the number of the record that was found for it."""
    found = {}
    for positions, held in recall(folder, [digest(number) for number in numbers]):
        for position, record in zip(positions.tolist(), held, strict=True):
            assert (record["thumb"] == record["digest"][0]).all() and (record["hog"] == record["digest"][0]).all()
            found[position] = int(record["digest"][0])
    return found


def test_what_was_added_is_recalled_whatever_the_order(tmp_path: Path) -> None:
    assert known(tmp_path / "none", 1) == {}
    add(tmp_path, records(1, 2, 3))
    add(tmp_path, records(4))
    add(tmp_path, records())
    assert known(tmp_path, 4, 9, 2, 2, 1) == {0: 4, 2: 2, 3: 2, 4: 1}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "other rows", "other kind", "no index", "broken index"])
def test_a_damaged_segment_does_not_exist(tmp_path: Path, damage: str) -> None:
    add(tmp_path, records(1, 2, 3))
    (data,), (index,) = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    match damage:
        case "cut":
            data.write_bytes(data.read_bytes()[:30_000])
        case "empty":
            data.write_bytes(b"")
        case "gone":
            data.unlink()
        case "other rows":
            np.save(data, records(3, 2, 1))
        case "other kind":
            np.save(data, np.zeros(3))
        case "no index":
            index.unlink()
        case "broken index":
            index.write_text('["01', encoding="ascii")
    add(tmp_path, records(3, 4))
    assert known(tmp_path, 1, 3, 4) == {1: 3, 2: 4}


def test_a_disk_that_refuses_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        add(tmp_path / "file", records(1))


def random_digests(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def test_scores_are_found_by_both_digests_and_the_variants(tmp_path: Path) -> None:
    first, second = random_digests(500, 0), random_digests(500, 1)
    variants = np.full(500, 17, np.uint8)
    keys = pair_keys(first, second, variants)
    assert len(np.unique(keys[:, 0])) == 500
    values = np.random.default_rng(2).random(500).astype(np.float32)
    assert np.isnan(Scores(tmp_path).find(keys)).all()
    Scores(tmp_path).add(keys[:200], values[:200])
    Scores(tmp_path).add(keys[200:400], values[200:400])
    Scores(None).add(keys, values)
    assert np.isnan(Scores(None).find(keys)).all()

    order = np.random.default_rng(3).permutation(500)
    found = Scores(tmp_path).find(keys[order])
    assert np.array_equal(found[order < 400], values[order[order < 400]])
    assert np.isnan(found[order >= 400]).all()
    for other in (pair_keys(second, first, variants), pair_keys(first, second, variants + np.uint8(1))):
        assert np.isnan(Scores(tmp_path).find(other)).all()

    damaged = sorted(tmp_path.glob("*.npy"))[0]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert np.isnan(Scores(tmp_path).find(keys)).sum() == 300


def test_hits_are_kept_for_the_pools_they_belong_to(tmp_path: Path) -> None:
    hits = Hits(np.array([0, 5]), np.array([7, 2]), np.array([17, 19], np.uint8))
    save_hits(tmp_path / "a.npy", hits)
    loaded = load_hits(tmp_path / "a.npy")
    assert loaded is not None
    assert all(np.array_equal(old, new) and old.dtype == new.dtype for old, new in zip(hits, loaded, strict=True))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    assert load_hits(tmp_path / "a.npy") is None and load_hits(tmp_path / "b.npy") is None

    one, two = random_digests(3, 0), random_digests(3, 1)
    pools = ([one, two], [two, one], [one], [np.concatenate([one, two])], [one[:2], np.concatenate([one[2:], two])])
    assert len({hits_name(pool) for pool in pools}) == 5
