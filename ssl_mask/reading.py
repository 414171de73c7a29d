"""Read files that others wrote: whatever is in one, or stands in its place, becomes one clear error that names it.

`files.py` is the door for what is written, this is the one for what is read. A reader opens its file and lets a parser
work inside of `reading`; what the content means it checks outside, where a mistake of ours is not taken for a damaged
file.
"""

from __future__ import annotations

import errno
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_mask.errors import InputError, SslMaskError
from ssl_mask.text import shown

DEEPEST = 64
"""Levels of lists and mappings in a text file; ours have at most 10."""
_MOST_NODES = 10_000_000
_LONGEST = 100_000
_SHOWN = 300  # characters of a parser's message
_REASONS = {
    errno.EACCES: "no permission",
    errno.EISDIR: "it is a folder",
    errno.EINVAL: "it is a pipe or a device, not a file",
    errno.ELOOP: "it is a link that leads back to itself",
}


@contextmanager
def reading(path: Path, error: type[InputError], *, hint: str = "") -> Iterator[None]:
    """Turn whatever a parser raises into one error that names the file.

    Raises:
        InputError: of the type `error`.
    """
    try:
        yield
    except SslMaskError:
        raise
    except FileNotFoundError as found:
        raise error(f"There is no {path}.", hint=hint) from found
    except MemoryError as found:
        raise error(f"Cannot read {path}: it needs more memory than there is.", hint=hint) from found
    except RecursionError as found:
        raise error(f"{path} is damaged: it is nested too deeply.", hint=hint) from found
    except OSError as found:
        reason = _REASONS.get(found.errno or 0) or one_line(found.strerror or found)
        raise error(f"Cannot read {path}: {reason}.", hint=hint) from found
    except KeyError as found:
        raise error(f"{path} is damaged: it has no {one_line(found)}.", hint=hint) from found
    except Exception as found:  # parsers of foreign formats raise many kinds
        raise error(f"{path} is damaged: {one_line(found)}.", hint=hint) from found


def one_line(said: BaseException | str) -> str:
    """The first line of a message without its full stop, shortened: parsers quote what they read."""
    text = shown(next((line.strip() for line in str(said).splitlines() if line.strip()), type(said).__name__))
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…").rstrip(".")


def regular(path: Path) -> Path:
    """The path of a regular file: to open a pipe waits for ever, and a device may have no end.

    Raises:
        OSError: missing, a folder, a pipe or a device.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, _REASONS[number], str(path))
    return path


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        OSError: as `regular`. ValueError: not UTF-8.
    """
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from error


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text.

    Raises:
        ValueError: not JSON, a key twice, nested too deeply, or text that nothing of ours can hold.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_doubles)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    refuse_odd(content)
    return content


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} is in it twice")
    return content


_NOT_TEXT = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # half characters; \udc80-\udcff are bytes of file names


def refuse_odd(content: Any, most: int = _MOST_NODES, longest: int = _LONGEST) -> None:
    """Refuse what is well-formed, but no content of ours.

    Args:
        content: lists, mappings and single values.
        most: values in it, each counted as often as it is in it.
        longest: characters of a text.

    Raises:
        ValueError: nested more than `DEEPEST` levels, more than `most` values, a text that is longer, or one with a NUL
            or half a character.
    """
    level: list[Any] = [content]
    seen = 0
    for _ in range(DEEPEST):
        seen += len(level)
        if seen > most:
            raise ValueError(f"it holds more than {most:,} values")
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if len(value) > longest:
                    raise ValueError(f"it holds a text of {len(value):,} characters")
                if _NOT_TEXT.search(value):
                    raise ValueError("it holds a text with a NUL or half a character")
            elif isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            if len(below) > most:
                raise ValueError(f"it holds more than {most:,} values")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def refuse_inflated(path: Path) -> None:
    """Refuse an archive (.npz, .pth) whose parts need more room than they take in the file.

    Ours are stored as they are. A part that unpacks to a thousand times its size fills the memory before anybody can
    look at it.

    Raises:
        ValueError: there is a compressed part, or one that is larger than the file.
    """
    if not zipfile.is_zipfile(path):
        return
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED or part.file_size > size:
                raise ValueError(f"its part {part.filename!r} is compressed, or larger than the file")
