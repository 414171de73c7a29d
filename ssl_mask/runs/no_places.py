"""Text without the places of this machine: what is handed on names files and folders, never where they were."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

_SENTENCE = re.compile(r"[,:;]\s")
_PART = r"[^\s/\\'\"`,;:()<>|]"
_PLACE = re.compile(rf"(?<![\w.\-/\\:*])(?:~|[A-Za-z]:|\\)?[/\\](?:{_PART}+[/\\])+({_PART}*)")

NAMES = {"schema", "submission", "classes", "grid_shuffle_classes"}
"""Keys of classes and columns: a class such as `/m/01g317` is no path."""


def is_place(text: str) -> bool:
    """Whether a text as a whole is an absolute path. One with a comma, a colon or a line break is a sentence."""
    return (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith("~/")) and (
        _SENTENCE.search(text) is None and "\n" not in text
    )


def without_places(text: str, known: tuple[str, ...] = ()) -> str:
    """A text in which each absolute path is its last part only.

    Args:
        known: absolute paths that may stand in it with blanks in them; each becomes its last part.
    """
    if is_place(text):
        return _name(text)
    for place in sorted(known, key=len, reverse=True):
        text = text.replace(place, _name(place))
    return _PLACE.sub(lambda found: found[1] or _name(found[0]), text)


def tree_without_places(content: Any) -> Any:
    """The same for all values in what JSON or YAML can hold, but what keys of `NAMES` hold: names that people chose."""
    return _replaced(content, tuple(_places(content)))


def places_of_this_machine() -> tuple[str, ...]:
    """Absolute paths that nothing which is handed on may hold: the home and the working folder."""
    return tuple(str(p) for p in dict.fromkeys((Path.home(), Path.cwd(), Path.cwd().resolve())) if len(p.parts) > 1)


def _replaced(content: Any, known: tuple[str, ...]) -> Any:
    if isinstance(content, str):
        return without_places(content, known)
    if isinstance(content, dict):
        return {k: v if k in NAMES else _replaced(v, known) for k, v in content.items()}
    if isinstance(content, list | tuple):
        return [_replaced(value, known) for value in content]
    return content


def _places(content: Any) -> list[str]:
    """All texts that are absolute paths as a whole."""
    if isinstance(content, str):
        return [content] if is_place(content) and len(PurePosixPath(content).parts) > 2 else []
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list | tuple) else ()
    return [place for part in parts for place in _places(part)]


def _name(place: str) -> str:
    """The last part; of a root alone nothing is left but a dot."""
    windows = PureWindowsPath(place)
    return (windows if "\\" in place else PurePosixPath(place)).name or "."
