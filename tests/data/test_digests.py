"""Digests against hashlib; the memo against everything that can happen to it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest

from ssl_mask.data import digests
from ssl_mask.data.digests import digest_file, digest_files
from ssl_mask.errors import ImageError, InputError


def files(folder: Path, count: int = 20) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i} ü.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * (i * 1000))
    return paths


def by_hand(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read."""
    seen: list[Path] = []
    real = digests.read_file

    def counted(path: Path) -> object:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(digests, "read_file", counted)
    return seen


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written a moment ago count as old: nobody can set a ctime back, so the clock moves instead."""
    monkeypatch.setattr(digests, "_RACY_NS", -1_000_000_000)


@pytest.mark.parametrize("threads", [1, 4])
def test_equal_to_hashlib_in_order(tmp_path: Path, threads: int) -> None:
    paths = files(tmp_path / "i")
    assert digest_files(paths, None, threads=threads) == by_hand(paths)
    assert digest_files([*paths[::-1], paths[3]], tmp_path / "m", threads=threads) == by_hand([*paths[::-1], paths[3]])
    assert digest_file(paths[5]) == by_hand(paths)[5]
    assert digest_files([], tmp_path / "m") == []


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_not_read_again(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path / "i")
    first = digest_files(paths, tmp_path / "m")
    assert len(reads) == 20
    monkeypatch.chdir(tmp_path / "i")
    assert digest_files([Path(path.name) for path in paths], tmp_path / "m") == first  # relative: the same files
    assert len(reads) == 20


@pytest.mark.usefixtures("settled")
def test_a_file_is_known_however_its_place_is_written(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest_files(paths := files(tmp_path / "i"), tmp_path / "m")
    reads.clear()
    monkeypatch.chdir(tmp_path)
    for folder in (Path("i"), Path("./m/../i"), tmp_path / "m" / ".." / "i", tmp_path / "i" / "..x" / ".."):
        assert digest_files([folder / path.name for path in paths], tmp_path / "m") == expected
        (tmp_path / "i" / "..x").mkdir(exist_ok=True)
    assert reads == []


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_read_again_even_if_its_mtime_is_set_back(tmp_path: Path, reads: list[Path]) -> None:
    paths = files(tmp_path / "i")
    digest_files(paths, tmp_path / "m")
    before = paths[7].stat()
    reads.clear()
    with paths[7].open("r+b") as file:
        file.write(b"other")
    os.utime(paths[7], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = paths[7].stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert digest_files(paths, tmp_path / "m") == by_hand(paths)
    assert reads == [paths[7]]


def test_a_file_written_just_now_is_not_memoised(tmp_path: Path, reads: list[Path]) -> None:
    paths = files(tmp_path / "i", 3)
    digest_files(paths, tmp_path / "m")
    digest_files(paths, tmp_path / "m")
    assert len(reads) == 6


@pytest.mark.usefixtures("settled")
def test_a_torn_memo_is_ignored_and_completed(tmp_path: Path, reads: list[Path]) -> None:
    """Cut at every length of its last line, as a kill in the middle of a write leaves it."""
    paths = files(tmp_path / "i", 4)
    digest_files(paths, tmp_path / "m")
    memo = next((tmp_path / "m").iterdir())
    whole = memo.read_bytes()
    last_line = len(whole.splitlines()[-1])
    for cut in range(2, last_line, 7):
        memo.write_bytes(whole[:-cut])
        reads.clear()
        assert digest_files(paths, tmp_path / "m") == by_hand(paths)
        assert len(reads) == 1
        assert digest_files(paths, tmp_path / "m") == by_hand(paths)
        assert len(reads) == 1


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("junk", [b"\x80\xff\0junk", b"00000000 []\n", b"\n\n \n", b"12345678 [1, 2\n"])
def test_junk_in_the_memo_is_never_trusted(tmp_path: Path, junk: bytes) -> None:
    paths = files(tmp_path / "i", 4)
    digest_files(paths, tmp_path / "m")
    memo = next((tmp_path / "m").iterdir())
    lie = memo.read_bytes().replace(by_hand(paths)[2].encode(), b"0" * 64)
    memo.write_bytes(junk + lie + junk)
    assert digest_files(paths, tmp_path / "m") == by_hand(paths)


def test_a_memo_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    paths = files(tmp_path / "i", 4)
    (tmp_path / "m").write_text("a file where the folder should be")
    assert digest_files(paths, tmp_path / "m") == by_hand(paths)


@pytest.mark.usefixtures("settled")
def test_three_processes_at_once(tmp_path: Path, reads: list[Path]) -> None:
    paths = files(tmp_path / "i", 60)
    code = (
        "import sys; from pathlib import Path; from ssl_mask.data import digests; digests._RACY_NS = -10**9;"
        "digests._FILES_PER_APPEND = 2;"
        "digests.digest_files(sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "i"), str(tmp_path / "m")]
    assert [process.wait() for process in [subprocess.Popen(command) for _ in range(3)]] == [0, 0, 0]
    assert digest_files(paths, tmp_path / "m") == by_hand(paths)
    assert reads == []


@pytest.mark.parametrize("name", ["missing.jpg", "folder.jpg", "pipe.jpg"])
def test_what_cannot_be_read_is_named_at_once(tmp_path: Path, name: str) -> None:
    paths = files(tmp_path / "i", 4)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    started = time.monotonic()
    with pytest.raises(ImageError, match=name):
        digest_files([*paths, tmp_path / name, *paths], tmp_path / "m")
    assert time.monotonic() - started < 2


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match=r"sparse\.jpg: 1024\.0 GiB"):
        digest_file(tmp_path / "sparse.jpg")


def test_too_little_memory_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--on-bad skip` would leave a good image out: it catches ImageError."""

    class Full(BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise MemoryError

        def fileno(self) -> int:
            return opened

    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(3 * 2**20))
    with path.open("rb") as file:
        opened = file.fileno()
        monkeypatch.setattr(digests, "open_regular", lambda _: Full())
        with pytest.raises(InputError, match=r"a\.jpg: too little memory to read its 3 MiB") as stopped:
            digest_file(path)
    assert not isinstance(stopped.value, ImageError)
