"""The seen-file: small, the same whatever the order, and harmless when it is damaged or hostile."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from textures import texture, write

from ssl_mask.errors import ModelError
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.matching import match
from ssl_mask.guard.seen import load_seen, save_seen


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "images", [texture(seed) for seed in range(20)])


def test_what_is_saved_is_what_was_seen(files: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    prints = fingerprint([*files, bad, files[0]], cache=None)
    path = tmp_path / "runs" / "seen.npz"
    save_seen(path, prints)
    seen = load_seen(path)
    assert path.stat().st_size < 20 * 6000
    assert seen.digests == tuple(sorted(prints.digests[:20])) and seen.unreadable == {}
    for row, digest in enumerate(seen.digests):
        original = prints.digests.index(digest)
        assert seen.pixels[row] == prints.pixels[original]
        assert np.array_equal(seen.pdq[row], prints.pdq[original])
        assert np.abs(seen.thumbs[row].astype(int) - prints.thumbs[original]).mean() < 3
        ours, theirs = (hog.astype(float) for hog in (seen.hog[row], prints.hog[original]))
        assert ((ours * theirs).sum(axis=1) / (ours**2).sum(axis=1)).min() > 0.99


def test_the_order_of_the_files_does_not_change_the_bytes(files: list[Path], tmp_path: Path) -> None:
    prints = fingerprint(files, cache=None)
    save_seen(tmp_path / "a.npz", prints)
    save_seen(tmp_path / "b.npz", prints.at([3, *range(19, -1, -1)]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_copies_of_seen_pictures_are_found(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    save_seen(tmp_path / "seen.npz", fingerprint(files, cache=cache))
    seen = load_seen(tmp_path / "seen.npz")
    pool = [texture(7)[10:150, 15:155], texture(300), texture(9)[:, ::-1]]
    others = fingerprint([*write(tmp_path / "pool", pool), files[4]], cache=cache)
    for _ in range(2):
        found = match(others, seen, cache=cache)
        assert [(m.first, m.kind) for m in found] == [(0, "near"), (2, "near"), (3, "bytes")]
    places = [[path.name for path in files].index(f"00{n}.png") for n in (7, 9, 4)]
    digests = fingerprint(files, cache=cache).digests
    assert [seen.digests[m.second] for m in found] == [digests[place] for place in places]


def test_nothing_seen_is_a_file_too(tmp_path: Path) -> None:
    save_seen(tmp_path / "seen.npz", fingerprint([], cache=None))
    assert len(load_seen(tmp_path / "seen.npz")) == 0


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_one_clear_error(files: list[Path], tmp_path: Path, share: float) -> None:
    path = tmp_path / "seen.npz"
    save_seen(path, fingerprint(files, cache=None))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"seen\.npz is damaged: "):
        load_seen(path)


def test_every_damaged_byte_is_noticed_or_harmless(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    save_seen(path, fingerprint(files[:2], cache=None))
    whole, expected = path.read_bytes(), load_seen(path)
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            seen = load_seen(path)
        except ModelError:
            continue
        assert seen.digests == expected.digests and np.array_equal(seen.thumbs, expected.thumbs)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("code from a file was run",))


def test_other_files_are_refused_and_no_code_is_run(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    save_seen(path, fingerprint(files[:2], cache=None))
    parts = dict(np.load(path))

    def refuse() -> None:
        with pytest.raises(ModelError, match=r"seen\.npz"):
            load_seen(path)

    path.write_bytes(pickle.dumps(Evil()))
    refuse()
    np.savez(path, **{**parts, "pdq": np.array([Evil()], object)}, allow_pickle=True)
    refuse()
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    refuse()
    changes = {
        "format": np.array("another"),
        "digests": parts["digests"][:1],
        "lengths": parts["lengths"] + 1,
        "jpegs": np.frombuffer(bytes(cv2.imencode(".jpg", texture(0))[1]), np.uint8),
    }
    for name, part in changes.items():
        np.savez(path, **{**parts, name: part})
        refuse()
    path.unlink()
    refuse()
