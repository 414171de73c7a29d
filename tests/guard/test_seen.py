"""The seen-file: small, without pictures, the same whatever the order, and harmless when it is damaged or hostile."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from old_seen import write_old_seen
from textures import texture, write

from ssl_mask.errors import ModelError
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.sketches import samples_of, sketched
from ssl_mask.guard.seen import load_seen, merge_seen, save_seen, seen_digests


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "images", [texture(seed) for seed in range(20)])


def save(path: Path, files: list[Path]) -> None:
    save_seen(path, sketched(fingerprint(files, cache=None)))


def test_what_is_saved_is_what_was_seen(files: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    prints = fingerprint([*files, bad, files[0]], cache=None)
    path = tmp_path / "runs" / "seen.npz"
    save_seen(path, sketched(prints))
    seen = load_seen(path)
    assert seen.digests == tuple(sorted(prints.digests[:20])) and seen_digests(path) == set(seen.digests)
    for row, digest in enumerate(seen.digests):
        original = prints.digests.index(digest)
        assert seen.pixels[row] == prints.pixels[original]
        assert np.array_equal(seen.samples[row], samples_of(prints.thumbs[original : original + 1])[0])


def test_a_seen_file_holds_digests_and_nothing_else(files: list[Path], tmp_path: Path) -> None:
    save(tmp_path / "seen.npz", files)
    with np.load(tmp_path / "seen.npz") as parts:
        assert set(parts) == {"format", "digests", "pixels", "samples"}
    assert (tmp_path / "seen.npz").stat().st_size < 1500 + 20 * 900


def test_the_order_of_the_files_does_not_change_the_bytes(files: list[Path], tmp_path: Path) -> None:
    prints = sketched(fingerprint(files, cache=None))
    save_seen(tmp_path / "a.npz", prints)
    save_seen(tmp_path / "b.npz", prints.at([3, *range(19, -1, -1)]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_parts_are_merged_to_what_one_file_would_hold(files: list[Path], tmp_path: Path) -> None:
    save(tmp_path / "a.npz", files[:12])
    save(tmp_path / "b.npz", files[8:])
    save(tmp_path / "whole.npz", files[:15])
    keep = seen_digests(tmp_path / "whole.npz")
    assert merge_seen(tmp_path / "merged.npz", [tmp_path / "a.npz", tmp_path / "b.npz"], keep) == 15
    assert (tmp_path / "merged.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_a_file_of_the_first_format_is_read_and_written_anew(files: list[Path], tmp_path: Path) -> None:
    prints = fingerprint(files, cache=None)
    write_old_seen(tmp_path / "old.npz", prints)
    old, new = load_seen(tmp_path / "old.npz"), sketched(prints)
    assert (old.digests, old.pixels) == (new.digests, new.pixels)
    assert (old.samples == new.samples).all(axis=2).mean() > 0.5  # JPEG moves a few of the signs
    merge_seen(tmp_path / "new.npz", [tmp_path / "old.npz"], old.digests)
    with np.load(tmp_path / "new.npz") as parts:
        assert "jpegs" not in parts
    assert np.array_equal(load_seen(tmp_path / "new.npz").samples, old.samples)


def test_nothing_seen_is_a_file_too(tmp_path: Path) -> None:
    save(tmp_path / "seen.npz", [])
    assert len(load_seen(tmp_path / "seen.npz")) == 0


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_one_clear_error(files: list[Path], tmp_path: Path, share: float) -> None:
    path = tmp_path / "seen.npz"
    save(path, files)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"seen\.npz is damaged: "):
        load_seen(path)


def test_every_damaged_byte_is_noticed_or_harmless(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    save(path, files[:2])
    whole, expected = path.read_bytes(), load_seen(path)
    for place in range(0, len(whole), 29):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            seen = load_seen(path)
        except ModelError:
            continue
        assert seen.digests == expected.digests and np.array_equal(seen.samples, expected.samples)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("code from a file was run",))


def refuse(path: Path) -> None:
    with pytest.raises(ModelError, match=r"seen\.npz"):
        load_seen(path)


def test_other_files_are_refused_and_no_code_is_run(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    save(path, files[:2])
    parts = dict(np.load(path))
    path.write_bytes(pickle.dumps(Evil()))
    refuse(path)
    np.savez(path, **{**parts, "samples": np.array([Evil()], object)}, allow_pickle=True)
    refuse(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    refuse(path)
    changes = {
        "format": np.array("another"),
        "digests": parts["digests"][:1],
        "pixels": np.array(7),
        "samples": parts["samples"][:, :-1],
    }
    for name, part in changes.items():
        np.savez(path, **{**parts, name: part})
        refuse(path)
    path.unlink()
    refuse(path)


def test_damaged_files_of_the_first_format_are_refused(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    write_old_seen(path, fingerprint(files[:2], cache=None))
    parts = dict(np.load(path))
    changes = {
        "lengths": parts["lengths"] + 1,
        "digests": parts["digests"][:1],
        "jpegs": np.frombuffer(bytes(cv2.imencode(".jpg", texture(0))[1]), np.uint8),
    }
    for name, part in changes.items():
        np.savez(path, **{**parts, name: part})
        refuse(path)
