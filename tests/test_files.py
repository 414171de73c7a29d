"""Files are whole or not there, whatever happens to their writer; what killed writers left goes away."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_mask.errors import StorageError
from ssl_mask.files import atomic_path, storage, write_text

WRITER = """
import sys, time
from pathlib import Path
from ssl_mask.files import atomic_path
with atomic_path(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "a.json")], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer, writer.stdout:
        assert writer.stdout.readline() == b"writing\n"
        (half,) = hidden(tmp_path)
        write_text(tmp_path / "b.json", "whole")
        assert hidden(tmp_path) == [half]  # another process works on it
        writer.send_signal(signal.SIGKILL)
    write_text(tmp_path / "c.json", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.json", "c.json"]


def test_a_file_being_written_survives_writes_beside_it(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as outer:
        outer.write_text("outer")
        write_text(tmp_path / "b", "inner")
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("outer", "inner")


def test_hidden_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in (".notes.tmp", ".a.b.tmp", "a.12345678.tmp", ".a.1234567g.tmp"):
        (tmp_path / name).touch()
    (tmp_path / ".a.json.0123abcd.tmp").touch()
    write_text(tmp_path / "a.json", "whole")
    assert len(list(tmp_path.iterdir())) == 5
    assert not (tmp_path / ".a.json.0123abcd.tmp").exists()


def test_an_error_leaves_what_was_there_before(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "before")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full", "Free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk quota is used up", "Free some space"),
        (OSError("100 requested and 40 written"), "the disk took only a part of it", "Free some space"),
        (OSError(errno.EFBIG, "File too large"), "it grows beyond the largest file", "Choose another folder"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", "Choose another folder"),
    ],
)
def test_a_refusing_disk_is_one_error_with_a_next_step(tmp_path: Path, error: OSError, reason: str, hint: str) -> None:
    with pytest.raises(StorageError) as refused, storage(tmp_path / "x"):
        raise error
    assert refused.value.problem.startswith(f"Cannot write {tmp_path / 'x'}: {reason}")
    assert refused.value.hint.startswith(hint)
    assert refused.value.exit_code == 3
