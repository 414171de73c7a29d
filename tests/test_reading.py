"""The door for what others wrote: whatever is in a file or in its place is one sentence."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_mask.errors import ConfigError, DataError, ModelError
from ssl_mask.reading import one_line, parse_json, read_text, reading, refuse_inflated, refuse_odd

PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (Path.exists, r"^There is no .*file\.json\."),
    "folder": (Path.mkdir, r"^Cannot read .*file\.json: it is a folder\."),
    "pipe": (os.mkfifo, r"^Cannot read .*file\.json: it is a pipe or a device, not a file\."),
    "device": (lambda path: path.symlink_to("/dev/zero"), r"^Cannot read .*file\.json: it is a pipe or a device"),
    "circle": (lambda path: path.symlink_to(path.name), r"^Cannot read .*file\.json: it is a link that leads back"),
    "dangling": (lambda path: path.symlink_to("nowhere"), r"^There is no .*file\.json\."),
    "Latin-1": (lambda path: path.write_bytes(b"\xe9"), r"file\.json is damaged: it is not UTF-8 text \(byte 0\)\."),
    "no JSON": (lambda path: path.write_text("{"), r"file\.json is damaged: Expecting property name [^.]*\.\n"),
    "deep": (lambda path: path.write_text("[" * 100_000), r"file\.json is damaged: it is nested too deeply\."),
    "rather deep": (lambda path: path.write_text("[" * 65 + "]" * 65), r"nested more than 64 levels deep\."),
    "a key twice": (lambda path: path.write_text('{"a": 1, "b": 2, "a": 1}'), "the key 'a' is in it twice"),
    "NUL": (lambda path: path.write_text('{"a": "b\\u0000"}'), "a text with a NUL or half a character"),
    "half a character": (lambda path: path.write_text('["\\ud800"]'), "a text with a NUL or half a character"),
    "a long number": (lambda path: path.write_text("9" * 5000), r"file\.json is damaged: Exceeds the limit"),
    "a long text": (lambda path: path.write_text(f'"{"x" * 200_000}"'), "it holds a text of 200,000 characters"),
}


@pytest.mark.parametrize("place", PLACES)
def test_whatever_stands_in_the_place_of_a_file_is_one_sentence(tmp_path: Path, place: str) -> None:
    make, message = PLACES[place]
    path = tmp_path / "file.json"
    make(path)
    with pytest.raises(DataError, match=message) as caught, reading(path, DataError, hint="Do this."):
        parse_json(read_text(path))
    assert (caught.value.hint, "\n" in caught.value.problem) == ("Do this.", False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "^Cannot read a: it needs more memory than there is.$"),
        (RecursionError(), "^a is damaged: it is nested too deeply.$"),
        (KeyError("size"), "^a is damaged: it has no 'size'.$"),
        (RuntimeError("first line.\nadvice of a library"), "^a is damaged: first line.$"),
        (RuntimeError("x" * 900), "^a is damaged: x{300}….$"),
        (RuntimeError("\x1b[31m"), "^a is damaged: \ufffd\\[31m.$"),
        (RuntimeError(), "^a is damaged: RuntimeError.$"),
    ],
)
def test_what_a_parser_raises_becomes_one_short_line(error: Exception, message: str) -> None:
    with pytest.raises(ModelError, match=message), reading(Path("a"), ModelError):
        raise error


def test_our_own_errors_go_through() -> None:
    with pytest.raises(ConfigError, match="ours"), reading(Path("a"), ModelError):
        raise ConfigError("ours")


def test_names_that_are_bytes_are_text() -> None:
    """A file name that is not UTF-8 is kept by the bytes that it has."""
    assert parse_json('{"a\\udcff": ["\\udc80"]}') == {"a\udcff": ["\udc80"]}


def test_values_that_are_in_it_several_times_count_each_time() -> None:
    level: list[object] = [1] * 10
    for _ in range(12):
        level = [level] * 10
    with pytest.raises(ValueError, match="more than 1,000 values"):
        refuse_odd(level, 1000)
    itself: list[object] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="nested more than 64 levels"):
        refuse_odd(itself)


def test_an_archive_cannot_be_larger_inside_than_outside(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("plain", b"0" * 1000)
    refuse_inflated(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"0" * 10_000_000)
    with pytest.raises(ValueError, match="its part 'bomb' is compressed, or larger than the file"):
        refuse_inflated(path)
    path.write_bytes(b"no archive")
    refuse_inflated(path)


def test_a_message_shows_the_ends_of_a_long_word() -> None:
    error = DataError(f"No class {'x' * 200_000}y.", hint="z" * 399)
    assert error.problem == f"No class {'x' * 150}…{'x' * 48}y."
    assert error.hint == "z" * 399
    assert one_line("a\tb\u202e") == "a\ufffdb\ufffd"
