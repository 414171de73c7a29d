"""Names as a reader sees them: one Unicode form, splits in any case, classes in one total order."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Literal

Split = Literal["train", "val", "test", "unlabeled"]

SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "unlabeled": "unlabeled", "unlabelled": "unlabeled",
}  # fmt: skip
"""What a split column may hold, and how split folders are called; upper and lower case are the same."""

_POOL_WORDS = ("extra", "pool")
_OUR_FOLDERS = {"runs", "data_cards", "predictions"}
_FILLERS = r"(?:images?|imgs?|photos?|pictures?|pics|jpe?g|png|dataset|data|set|folder|files)"
_SPLIT_FOLDER = re.compile(
    rf"(?:{_FILLERS}[ _.-]*)*({'|'.join([*SPLIT_WORDS, *_POOL_WORDS])})(?:[ _.-]*{_FILLERS})*", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def plain(name: str) -> str:
    """The name in Unicode's composed form (NFC), without spaces around it: names that look alike are equal."""
    return unicodedata.normalize("NFC", name).strip()


def alike(name: str) -> str:
    """What names have in common that differ only in upper and lower case or in Unicode form."""
    return plain(plain(name).casefold())


def split_of(word: str) -> Split | None:
    """The split that a word of a split column names, or None."""
    return SPLIT_WORDS.get(alike(word))


def split_of_folder(name: str) -> Split | None:
    """The split that a folder or file name says: `Training`, `valid`, `test_images`; None for any other name."""
    match = _SPLIT_FOLDER.fullmatch(plain(name))
    word = match[1].lower() if match else ""
    return "unlabeled" if word in _POOL_WORDS else SPLIT_WORDS.get(word)


def is_never_a_class(folder: str) -> bool:
    """Whether a folder's name says that it is a split or a pool, or what sslmask itself writes."""
    return split_of_folder(folder) is not None or alike(folder) in _OUR_FOLDERS


def class_order(name: str) -> tuple[int, float, str]:
    """Sort key of class names: finite numbers by value, then words (`nan` and `inf` too); different names never tie."""
    value = float(name) if _NUMBER.fullmatch(name) else math.inf
    return (0, value, name) if math.isfinite(value) else (1, 0.0, name)
