"""Damaged and hostile tables, weights, arrays and pictures: what `damage.py` does for text, for binary files."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from damage import DEEP, Evil, Variant, Variants, archive, changed, json_texts, paths_in, places, put, raw, shown


def parquet_file(content: bytes, rng: random.Random, flag: Path) -> Variants:
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield from raw(content, rng, flag)
    yield from places()
    table = pq.read_table(io.BytesIO(content))

    def made(name: str, changed: pa.Table, **how: Any) -> Variant:
        out = io.BytesIO()
        pq.write_table(changed, out, **how)
        return Variant(name, out.getvalue())

    count = len(table)
    others: dict[str, Callable[[], pa.Array]] = {
        "words": lambda: pa.array(["x"] * count),
        "bytes": lambda: pa.array([b"\xff\x00"] * count, pa.binary()),
        "nulls": lambda: pa.nulls(count, pa.float32()),
        "no type": lambda: pa.nulls(count),
        "NaN": lambda: pa.array([float("nan")] * count),
        "infinite": lambda: pa.array([float("inf")] * count),
        "minus one": lambda: pa.array([-1.0] * count),
        "two": lambda: pa.array([2] * count),
        "large": lambda: pa.array([2**62] * count),
        "lists": lambda: pa.array([[1]] * count),
        "structs": lambda: pa.array([{"a": 1}] * count),
        "truths": lambda: pa.array([True] * count),
        "dates": lambda: pa.array([0] * count, pa.timestamp("s")),
        "half of it null": lambda: pa.array([None if i % 2 else 0.5 for i in range(count)]),
        "long words": lambda: pa.array(["y" * 100_000] * count),
        "decimals": lambda: pa.array([0] * count, pa.int64()).cast(pa.decimal128(20)),
    }
    names = table.column_names
    chosen = names if len(names) <= 12 else [*names[:8], *rng.sample(names[8:], 4)]
    for i, name in enumerate(chosen):
        yield made(f"no column {name}", table.drop_columns([name]))
        yield made(f"column {name} twice", table.append_column(name, table.column(name)))
        for how in [*others][i % 2 :: 2]:
            yield made(f"{name} = {how}", table.set_column(names.index(name), name, others[how]()))
    yield made("no rows", table.slice(0, 0))
    yield made("one row", table.slice(0, 1))
    yield made("rows twice", pa.concat_tables([table, table]))
    yield made("no columns", table.select([]))
    yield made("another order", table.select(names[::-1]))
    yield made("a foreign column", table.append_column("zzz", pa.array([{"a": [1]}] * count)))
    yield made("compressed", table, compression="gzip")
    yield made("a million equal rows", pa.concat_tables([table.slice(0, 1)] * 1).take(pa.array(np.zeros(10**6, int))))


# ---- weights and arrays ----


TENSOR_FIELDS: tuple[tuple[str, Any], ...] = (
    ("dtype", "F64"),
    ("dtype", "X9"),
    ("dtype", None),
    ("shape", [10**12]),
    ("shape", [-1]),
    ("shape", []),
    ("shape", "x"),
    ("data_offsets", [0, 10**15]),
    ("data_offsets", [4, 0]),
    ("data_offsets", []),
)


def safetensors_file(content: bytes, rng: random.Random, flag: Path, *, each: int = 1) -> Variants:
    yield from raw(content, rng, flag)
    yield from places()
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]

    def made(name: str, head: Any, size: int | None = None, data: bytes = body) -> Variant:
        coded = (head if isinstance(head, str) else json.dumps(head)).encode("utf-8", "surrogatepass")
        return Variant(name, struct.pack("<Q", len(coded) if size is None else size) + coded + data)

    for size in (0, 1, 2**31, 2**63, 2**64 - 1, length - 1, length + 1):
        yield made(f"header of {size} bytes", header, size)
    meta = header.pop("__metadata__", None)
    tensors = [k for k in header if "weight" in k][:2]
    for tensor in tensors:
        for key, wrong in TENSOR_FIELDS:
            one = {**header[tensor], key: wrong}
            yield made(f"{tensor}.{key} = {wrong}", {"__metadata__": meta, **header, tensor: one})
        yield made(f"no {tensor}", {"__metadata__": meta, **{k: v for k, v in header.items() if k != tensor}})
    first = header[tensors[0]]["data_offsets"]
    for name, value in (("NaN", float("nan")), ("inf", float("inf"))):
        part = np.full((first[1] - first[0]) // 4, value, np.float32).tobytes()
        yield made(
            f"{tensors[0]} is {name}",
            {"__metadata__": meta, **header},
            None,
            body[: first[0]] + part + body[first[1] :],
        )
    yield made("no tensors", {"__metadata__": meta}, None, b"")
    yield made("no metadata", header)
    yield made("nested header", "[" * DEEP)
    if meta is not None and "sslmask" in meta:
        for name, other in (("a number", 1), ("a list", [1]), ("null", None)):
            yield made(f"metadata is {name}", {"__metadata__": {**meta, "sslmask": other}, **header})
        yield made("another format", {"__metadata__": {**meta, "format": "99"}, **header})
        for name, told in json_texts(json.loads(meta["sslmask"]), rng, each=each):
            yield made(f"says {name}", {"__metadata__": {**meta, "sslmask": told}, **header})


def onnx_file(content: bytes, rng: random.Random, flag: Path, *, each: int = 1) -> Variants:
    """Records that say something else, sealed again as an attacker would; and other graphs under a record that fits."""
    import onnx
    from onnx import TensorProto, helper

    from ssl_mask.runs import exported
    from ssl_mask.runs.seal import sealed, unsealed

    yield from raw(content, rng, flag)
    yield from places()
    at = content.rfind(exported._KEY)
    size, start = exported._read_varint(content, at + len(exported._KEY))
    record = unsealed(json.loads(content[start : start + size]))
    whole = content[: record["graph_bytes"]]

    def made(name: str, told: str, graph: bytes = whole) -> Variant:
        text = told.encode("utf-8", "surrogatepass")
        entry = exported._KEY + exported._varint(len(text)) + text
        return Variant(name, graph + exported._METADATA + exported._varint(len(entry)) + entry)

    for name, told in json_texts(record, rng, each=each):
        yield made(f"says {name}", told)
        with suppress(ValueError, TypeError, RecursionError):
            if isinstance(other := json.loads(told), dict):
                yield made(f"says {name}, sealed", json.dumps(sealed(other)))

    def graph_of(nodes: list[Any], *, out: str = exported.JOINT, constants: Sequence[Any] = ()) -> bytes:
        photos = helper.make_tensor_value_info(exported.PHOTOS, TensorProto.UINT8, ["n", "h", "w", 3])
        given = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "g", [photos], [given], [*constants])
        return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())

    shape = helper.make_tensor("", TensorProto.INT64, [2], [10**6, 10**6])
    elsewhere = onnx.TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    elsewhere.external_data.add(key="location", value="../../tiny.yaml")
    cast = helper.make_node("Cast", [exported.PHOTOS], ["numbers"], to=TensorProto.FLOAT)
    sums = helper.make_node("ReduceSum", ["numbers"], [exported.JOINT], keepdims=0)
    graphs = {
        "nothing": b"",
        "noise": rng.randbytes(1000),
        "an unknown operator": graph_of([helper.make_node("Evil", [exported.PHOTOS], [exported.JOINT])]),
        "an operator of another domain": graph_of([
            helper.make_node("Evil", [exported.PHOTOS], [exported.JOINT], domain="evil.org")
        ]),
        "another output": graph_of([helper.make_node("Cast", [exported.PHOTOS], ["x"], to=1)], out="x"),
        "photos, not probabilities": graph_of([helper.make_node("Cast", [exported.PHOTOS], [exported.JOINT], to=1)]),
        "one number": graph_of([cast, sums]),
        "a file elsewhere": graph_of([helper.make_node("Identity", ["far"], [exported.JOINT])], constants=[elsewhere]),
        "too much memory": graph_of([
            helper.make_node("Constant", [], ["shape"], value=shape),
            helper.make_node("ConstantOfShape", ["shape"], [exported.JOINT]),
        ]),
    }  # fmt: skip
    for name, graph in graphs.items():
        digest = {"graph_bytes": len(graph), "graph_sha256": hashlib.sha256(graph).hexdigest()}
        yield made(f"the graph is {name}", json.dumps(sealed({**record, **digest})), graph)


def torch_file(content: bytes, rng: random.Random, flag: Path, *, each: int = 1) -> Variants:
    import torch

    yield from raw(content, rng, flag)
    yield from places()

    def made(name: str, state: Any, **how: Any) -> Variant:
        out = io.BytesIO()
        torch.save(state, out, **how)
        return Variant(name, out.getvalue())

    yield made("an object that runs code", {"model": Evil(flag)})
    yield made("an object that runs code, the old way", Evil(flag), _use_new_zipfile_serialization=False)
    yield made("a whole network", torch.nn.Linear(2, 2))
    yield made("a list", [1, 2])
    yield made("a number", 3)
    yield made("one tensor", torch.zeros(3))
    yield made("nothing", {})
    state = torch.load(io.BytesIO(content), weights_only=True)
    yield made("the old way", state, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    yield Variant("compressed", archive(parts, zipfile.ZIP_DEFLATED))
    bomb = {name: bytes(200_000_000) if name.endswith("/data/0") else part for name, part in parts.items()}
    yield Variant("a bomb", archive(bomb, zipfile.ZIP_DEFLATED))
    first = next((k for k in parts if k.endswith("/data/0")), "")
    yield Variant("a tensor missing", archive({k: v for k, v in parts.items() if k != first}))
    slim = {
        k: (dict(list(v.items())[:3]) if k in {"model", "ema"} and isinstance(v, dict) else v) for k, v in state.items()
    }
    yield made("most tensors missing", slim)
    wrong: tuple[Any, ...] = (
        None,
        [],
        {},
        "x",
        -1,
        10**30,
        float("nan"),
        float("inf"),
        True,
        [[[[]]]],
        torch.zeros(3, 3),
        torch.full((), float("nan")),
        torch.zeros(1).expand(10**12),
        torch.zeros(0),
        torch.zeros(2, dtype=torch.int64),
        -(2**63),
        1e308,
        b"x",
        (1, 2),
    )
    found = [p for p in paths_in(state) if not (len(p) == 2 and p[0] in {"model", "ema"} and rng.random() > 0.1)]
    found = [p for p in found if not (len(p) > 2 and p[:2] == ("optimizer", "state") and p[2] != 0)]
    for number, path in enumerate(found):
        where = ".".join(map(str, path))
        yield made(f"{where} removed", changed(state, path, lambda parent, key: parent.pop(key)))
        for step in range(each):
            value = wrong[(number + step * 5 + rng.randrange(len(wrong))) % len(wrong)]
            yield made(f"{where} = {shown(value)}", changed(state, path, partial(put, value)))


def npz_file(content: bytes, rng: random.Random, flag: Path) -> Variants:
    yield from raw(content, rng, flag)
    yield from places()
    parts = dict(np.load(io.BytesIO(content)))

    def made(name: str, arrays: dict[str, Any], save: Any = np.savez) -> Variant:
        out = io.BytesIO()
        save(out, **arrays)
        return Variant(name, out.getvalue())

    yield made("compressed", parts, np.savez_compressed)
    yield made("nothing", {"zzz": np.zeros(1)})
    evil = np.array([Evil(flag)], object)
    for name, part in parts.items():
        yield made(f"no {name}", {k: v for k, v in parts.items() if k != name})
        others = {
            "objects that run code": evil,
            "a word": np.array("x"),
            "NaN": np.full(part.shape, np.nan),
            "another type": part.astype(np.float64) if part.dtype.kind in "iuf" else np.zeros(3),
            "empty": part.reshape(-1)[:0],
            "one number": np.array(7),
            "another shape": part.reshape(-1),
            "more": np.concatenate([part.reshape(-1)] * 2),
            "large numbers": np.full(part.shape, 2**62),
            "minus one": np.full(part.shape, -1),
            "a record": np.zeros(2, "i4,f4"),
            "dates": np.zeros(2, "datetime64[s]"),
        }
        for how, other in others.items():
            yield made(f"{name} = {how}", {**parts, name: other})
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = {n: file.read(n) for n in file.namelist()}
        head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
        said = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }"
        for size in (10**10, 10**15):
            member = head + (said % size).ljust(117) + b"\n"
            yield Variant(f"{name} says {size:.0e} bytes", archive({**members, f"{name}.npy": member}))
    bomb = {**{f"{k}.npy": b"" for k in parts}, "jpegs.npy": bytes(300_000_000)}
    yield Variant("a bomb", archive(bomb, zipfile.ZIP_DEFLATED))


def npy_file(content: bytes, rng: random.Random, flag: Path) -> Variants:
    yield from raw(content, rng, flag)
    yield from places()
    out = io.BytesIO()
    np.save(out, np.array([Evil(flag)], object), allow_pickle=True)
    yield Variant("objects that run code", out.getvalue())
    for name, array in {"numbers": np.zeros(5), "no rows": np.zeros(0), "a word": np.array("x")}.items():
        out = io.BytesIO()
        np.save(out, array)
        yield Variant(name, out.getvalue())


def image_file(content: bytes, rng: random.Random, flag: Path) -> Variants:
    from PIL import Image

    yield from raw(content, rng, flag, flips=20)
    yield from places()

    def png(width: int, height: int, data: bytes, kind: int = 2, depth: int = 8) -> bytes:
        def chunk(name: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

        head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    for width, height in ((0, 0), (0, 5), (2**31 - 1, 2**31 - 1), (100_000, 100_000), (1, 10**8), (7000, 7000)):
        yield Variant(f"PNG of {width} x {height}", png(width, height, zlib.compress(bytes(1000))))
    yield Variant("PNG bomb", png(40_000, 40_000, zlib.compress(bytes(5 * 10**7))))
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F", "YCbCr"):
        for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"):
            out = io.BytesIO()
            try:
                Image.new(mode, (40, 40)).save(out, kind)
            except (OSError, KeyError, ValueError):
                continue
            yield Variant(f"{kind} in mode {mode}", out.getvalue())
            yield Variant(f"{kind} in mode {mode}, half", out.getvalue()[: len(out.getvalue()) // 2])
    for size in ((1, 1), (1, 5000), (5000, 1)):
        out = io.BytesIO()
        Image.new("RGB", size).save(out, "PNG")
        yield Variant(f"{size[0]} x {size[1]}", out.getvalue())
    yield Variant("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>')
    yield Variant("TIFF header only", b"II*\0\x08\0\0\0")
    yield Variant("TIFF in a circle", b"II*\0\x08\0\0\0\0\0\x08\0\0\0")
    yield Variant("GIF header only", b"GIF89a\x01\0\x01\0")
