"""The stores of fingerprints and of pairs: what is whole is found again, what is not does not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_mask.errors import StorageError
from ssl_mask.guard.copies.candidates import Hits
from ssl_mask.guard.copies.pair_store import Scores, hits_name, load_hits, pair_keys, save_hits
from ssl_mask.guard.copies.store import RECORD, Segment, add, held, made, recall, segments


def segment(*numbers: int) -> Segment:
    """Record n has bytes n as its digest and n everywhere else; its picture is n times the letter n."""
    records = np.zeros(len(numbers), RECORD)
    for row, number in enumerate(numbers):
        for name in RECORD.names or ():
            records[name][row] = number
    return made(records, [bytes([number]) * number for number in numbers])


def digest(number: int) -> str:
    return bytes([number] * 32).hex()


def known(folder: Path, *numbers: int) -> dict[int, int]:
    """Position to the number of the record that was found for it."""
    found = {}
    for part in recall(folder, [digest(number) for number in numbers]):
        for position, row, pixels in zip(part.positions.tolist(), part.rows.tolist(), part.pixels, strict=True):
            segment = part.segment.open()
            number = int(segment.records["digest"][row][0])
            assert (segment.records["hog"][row] == number).all() and pixels == digest(number)
            assert segment.thumb(row) == bytes([number]) * number
            found[position] = number
    return found


def test_what_was_added_is_recalled_whatever_the_order(tmp_path: Path) -> None:
    assert known(tmp_path / "none", 1) == {}
    for numbers in ((1, 2, 3), (4,)):
        kept = add(tmp_path, segment(*numbers)).open()
        assert np.array_equal(kept.records, segment(*numbers).records) and kept.thumb(0) == segment(*numbers).thumb(0)
    assert known(tmp_path, 4, 9, 2, 2, 1) == {0: 4, 2: 2, 3: 2, 4: 1}
    assert len(list(tmp_path.iterdir())) == 6
    assert held(segments(tmp_path)) == {digest(number) for number in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    "damage",
    ["cut", "empty", "gone", "other rows", "other kind", "no index", "broken index", "short index", "old index",
     "no pictures", "cut pictures"],
)  # fmt: skip
def test_a_damaged_segment_does_not_exist(tmp_path: Path, damage: str) -> None:
    add(tmp_path, segment(1, 2, 3))
    (data,), (index,), (thumbs,) = (tmp_path.glob(f"*.{suffix}") for suffix in ("npy", "json", "thumbs"))
    match damage:
        case "cut":
            data.write_bytes(data.read_bytes()[:5_000])
        case "empty":
            data.write_bytes(b"")
        case "gone":
            data.unlink()
        case "other rows":
            np.save(data, segment(3, 2, 1).records)
        case "other kind":
            np.save(data, np.zeros(3))
        case "no index":
            index.unlink()
        case "broken index":
            index.write_text('["01', encoding="ascii")
        case "short index":
            index.write_text(f'{{"digest": ["{digest(1)}"], "pixels": ["{digest(1)}"]}}', encoding="ascii")
        case "old index":
            index.write_text(f'["{digest(1)}", "{digest(2)}", "{digest(3)}"]', encoding="ascii")
        case "no pictures":
            thumbs.unlink()
        case "cut pictures":
            thumbs.write_bytes(b"123")
    add(tmp_path, segment(3, 4))
    assert known(tmp_path, 1, 3, 4) == {1: 3, 2: 4}
    assert {digest(3), digest(4)} <= held(segments(tmp_path))


def test_a_disk_that_refuses_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        add(tmp_path / "file", segment(1))


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
