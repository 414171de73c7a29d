"""Damaged and hostile contents of a file, by systematic change of a good one: the same seed gives the same variants."""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Variant(NamedTuple):
    name: str
    content: bytes | None
    """None: `place` says what stands in the file's place."""
    place: str = ""


Variants = Iterator[Variant]
DEEP = 100_000
WRONG: tuple[Any, ...] = (
    None,
    [],
    {},
    "x",
    "",
    -1,
    0,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    True,
    "a\0b",
    "[bold red]x[/]",
    [[[[]]]],
    "x" * 200_000,
    "../../../../etc/passwd",
    [1, "a", None],
    {"a": 1},
    -(2**63),
    "NaN",
    "\x1b[31m",
    "\ud800",
    "é" * 300,
)
"""Values of another kind, out of range, or made to break whoever prints them."""
PLACES = ("missing", "folder", "pipe", "device", "loop", "dangling")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


class Evil:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.flag), "w")


def places() -> Variants:
    yield from (Variant(f"{place} in its place", None, place) for place in PLACES)


def raw(content: bytes, rng: random.Random, flag: Path, *, flips: int = 12) -> Variants:
    """Cut, flipped, overwritten, doubled, or something else entirely."""
    size = len(content)
    for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        yield Variant(f"cut at {share:.0%}", content[: int(size * share)])
    yield Variant("last byte missing", content[:-1])
    for _ in range(flips):
        place = rng.randrange(max(size, 1))
        flipped = bytearray(content)
        flipped[place : place + 1] = bytes([flipped[place] ^ rng.randrange(1, 256)])
        yield Variant(f"byte {place} flipped", bytes(flipped))
    for place in sorted({0, size // 3, max(size - 64, 0)}):
        yield Variant(f"zeros from {place}", content[:place] + bytes(min(64, size - place)) + content[place + 64 :])
    yield Variant("empty", b"")
    yield Variant("one byte", b"\x80")
    yield Variant("twice", content * 2)
    yield Variant("random tail", content + rng.randbytes(300))
    yield Variant("random bytes", rng.randbytes(2000))
    yield Variant("text", b"hello\n")
    yield Variant("a web page", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n")
    yield Variant("Git LFS pointer", LFS)
    yield Variant("pickle that runs code", pickle.dumps(Evil(flag)))
    yield Variant("old pickle that runs code", pickle.dumps(Evil(flag), protocol=0))
    yield Variant("an archive", archive({"a.txt": b"x"}))


def text(content: str) -> Variants:
    """The same text as other programs save it."""
    yield Variant("UTF-16", content.encode("utf-16"))
    yield Variant("UTF-32", content.encode("utf-32"))
    yield Variant("byte order mark", content.encode("utf-8-sig"))
    yield Variant("Latin-1", content.replace("e", "é").encode("latin-1"))
    yield Variant("CRLF", content.replace("\n", "\r\n").encode())
    yield Variant("CR", content.replace("\n", "\r").encode())
    yield Variant("NUL inside", content.replace("\n", "\0\n", 1).encode())
    yield Variant("NUL first", b"\0" + content.encode())
    yield Variant("only spaces", b"   \n\n\t\n")
    yield Variant("a line of 3 MB", content.encode() + b"x" * 3_000_000)


def archive(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return out.getvalue()


# ---- trees: JSON, YAML, what torch saves ----


def paths_in(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value is; of a list its first item stands for all."""
    if above:
        yield above
    items = tree.items() if isinstance(tree, dict) else list(enumerate(tree))[:1] if isinstance(tree, list) else ()
    for key, value in items:
        yield from paths_in(value, (*above, key))


def changed(tree: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy of a tree in which `change(parent, key)` was made."""
    made = copy.deepcopy(tree)
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return made


def put(value: Any, parent: Any, key: Any) -> None:
    parent[key] = value


def trees(tree: Any, rng: random.Random, *, each: int, wrong: tuple[Any, ...] = WRONG) -> Iterator[tuple[str, Any]]:
    """Each key removed, and `each` wrong values in its place; then a key too many."""
    found = list(paths_in(tree))
    for number, path in enumerate(found):
        where = ".".join(map(str, path))
        yield f"{where} removed", changed(tree, path, lambda parent, key: parent.pop(key))
        for step in range(each):
            value = wrong[(number * each + step * 7 + rng.randrange(len(wrong))) % len(wrong)]
            yield f"{where} = {shown(value)}", changed(tree, path, partial(put, value))
    if isinstance(tree, dict):
        yield "a key too many", {**tree, "zzz": 1}


def shown(value: Any) -> str:
    """A value in few characters."""
    text = type(value).__name__ if hasattr(value, "shape") else repr(value)
    return text if len(text) < 30 else f"{text[:12]}… ({len(text)} characters)"


def json_texts(tree: Any, rng: random.Random, *, each: int) -> Iterator[tuple[str, str]]:
    """A JSON document changed key by key, and what is no document of ours at all."""
    for name, made in trees(tree, rng, each=each):
        yield name, json.dumps(made)
    for whole in (
        "null",
        "[]",
        "{}",
        '"x"',
        "3",
        "NaN",
        "[" * DEEP,
        "[" * DEEP + "]" * DEEP,
        '{"a":' * 900 + "1" + "}" * 900,
        "9" * 5000,
    ):
        yield f"whole = {whole[:8]} ({len(whole)} characters)", whole
    text = json.dumps(tree)
    if text.startswith("{") and len(text) > 2:
        first = json.dumps(next(iter(tree)))
        yield "a key twice", f"{{{first}: 1, {text[1:]}"
        yield "trailing comma", f"{text[:-1]},}}"
        yield "single quotes", text.replace('"', "'")
        yield "half a character", text.replace('": "', '": "\\ud800', 1)


def json_file(content: bytes, rng: random.Random, flag: Path, *, each: int = 2) -> Variants:
    yield from raw(content, rng, flag, flips=6)
    yield from text(content.decode())
    yield from places()
    for name, made in json_texts(json.loads(content), rng, each=each):
        yield Variant(name, made.encode("utf-8", "surrogatepass"))


YAML_TEXTS = {
    "a key twice": "seed: 1\nseed: 2\n",
    "a key twice in a section": "train: {steps: 1, steps: 2}\n",
    "a list": "- a\n- b\n",
    "one word": "hello\n",
    "a tab": "train:\n\tsteps: 1\n",
    "deep": "[" * 5000,
    "deep and closed": "a: " + "[" * 400 + "]" * 400 + "\n",
    "laughs": "a: &a [1,1,1,1,1,1,1,1,1]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)),
    "in itself": "a: &a [*a]\n",
    "in itself as a mapping": "train: &a\n  steps: *a\n",
    "an unknown alias": "seed: *nowhere\n",
    "runs code": "seed: !!python/object/apply:os.system ['touch {flag}']\n",
    "runs code too": "!!python/object/new:os.system ['touch {flag}']\n",
    "a number as key": "1: 2\n",
    "a list as key": "? [1, 2]\n: 3\n",
    "a mapping as key": "? {a: 1}\n: 3\n",
    "a date": "name: 2020-01-01\n",
    "a date as number": "seed: 2020-01-01\n",
    "Norway": "data: {corrections: no}\n",
    "a huge number": f"seed: {'9' * 5000}\n",
    "a large number": f"seed: {10**30}\n",
    "large steps": f"train: {{steps: {10**25}}}\n",
    "a large embedding": "model: {embedding_size: 1000000000000}\n",
    "a large image": "model: {image_size: 1000000000}\n",
    "a large batch": f"train: {{batch_size: {10**15}}}\n",
    "many workers": "train: {workers: 100000000}\n",
    "sixty": "seed: 1:30\n",
    "nothing": "train:\nmodel:\n",
    "preset of itself": "preset: tiny.yaml\n",
    "preset of nothing": "preset: nowhere\n",
    "preset a list": "preset: [1]\n",
    "preset a folder": "preset: faces/x.yaml\n",
    "algorithm a word": "algorithm: uda\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "a folder with NUL": 'runs: "a\\0b"\n',
    "a folder too long": f"runs: {'x' * 5000}\n",
    "markup": 'data: {root: "[bold red]x[/]"}\n',
    "an escape": 'data: {root: "\\e[31mx"}\n',
    "not a number": "optim: {lr: .nan}\n",
    "infinite": "optim: {lr: .inf}\n",
    "merge of a word": "<<: x\n",
    "an odd merge": "a: &a {seed: 1}\n<<: [*a, *a]\n",
}


def yaml_file(content: bytes, rng: random.Random, flag: Path, *, each: int = 2) -> Variants:
    yield from raw(content, rng, flag, flips=6)
    yield from text(content.decode())
    yield from places()
    for name, made in YAML_TEXTS.items():
        yield Variant(name, made.replace("{flag}", str(flag)).encode())
        yield Variant(f"{name}, after the rest", content + made.replace("{flag}", str(flag)).encode())
    for name, made in trees(yaml.safe_load(content), rng, each=each):
        yield Variant(name, yaml.dump(made, allow_unicode=False).encode("utf-8", "surrogatepass"))


# ---- tables ----

CELLS = (
    "",
    "x",
    "-1",
    "NaN",
    "1e400",
    "9" * 400,
    "a\0b",
    '"',
    "a\nb",
    "a\r",
    "../../../../etc/passwd",
    "/dev/zero",
    "=1+1",
    "[bold red]x[/]",
    "x" * 200_000,
    "\x1b[31m",
    "０",
    "1.5",
    " ",
    "true",
    "e" * 64,
    "🙂",
    "\u202e",
    "a,b",
    "~",
    ".",
    "/",
)


def csv_file(content: bytes, rng: random.Random, flag: Path, *, each: int = 8) -> Variants:
    yield from raw(content, rng, flag, flips=6)
    yield from text(content.decode())
    yield from places()
    rows = list(csv.reader(io.StringIO(content.decode())))
    header, body = rows[0], rows[1:]

    def made(name: str, table: list[list[str]], **how: Any) -> Variant:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n", **how).writerows(table)
        return Variant(name, out.getvalue().encode("utf-8", "surrogatepass"))

    for i, column in enumerate(header):
        yield made(f"no column {column}", [[c for k, c in enumerate(r) if k != i] for r in rows])
        yield made(f"column {column} twice", [[*r, r[i]] for r in rows])
        yield made(f"column {column} without name", [["" if k == i else c for k, c in enumerate(header)], *body])
        yield made(f"column {column} empty", [header, *([*r[:i], "", *r[i + 1 :]] for r in body)])
        for step in range(each):
            cell = CELLS[(i * each + step + rng.randrange(len(CELLS))) % len(CELLS)]
            first = [*body[0][:i], cell, *body[0][i + 1 :]]
            yield made(f"{column} = {shown(cell)}", [header, first, *body[1:]])
    yield made("header only", [header])
    yield made("no header", body)
    yield made("a row twice", [*rows, body[0]])
    yield made("a cell less", [header, body[0][:-1], *body[1:]])
    yield made("a cell more", [header, [*body[0], "x"], *body[1:]])
    yield made("half of the rows", [header, *body[: len(body) // 2]])
    yield made("semicolons", rows, delimiter=";")
    yield made("tabs", rows, delimiter="\t")
    yield made("2,000 columns", [[*r, *map(str, range(2000))] for r in rows[:3]])
    yield Variant("an open quote", content + b'"never closed\n')


def lines_file(content: bytes, rng: random.Random, flag: Path) -> Variants:
    """One JSON document a line."""
    yield from raw(content, rng, flag)
    yield from text(content.decode())
    yield from places()
    lines = content.decode().splitlines()
    for number in {0, len(lines) // 2, len(lines) - 1}:
        try:
            tree = json.loads(lines[number])
        except ValueError:
            continue
        for name, made in json_texts(tree, rng, each=1):
            changed = [*lines[:number], made, *lines[number + 1 :], ""]
            yield Variant(f"line {number}: {name}", "\n".join(changed).encode("utf-8", "surrogatepass"))
