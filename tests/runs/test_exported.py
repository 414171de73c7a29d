"""The record of an exported network: read without ONNX, bound to its graph, and whatever is changed is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import DataConfig
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError, MismatchError, ModelError
from ssl_mask.runs.exported import ExportedModel, read_exported, write_exported
from ssl_mask.runs.find import is_exported
from ssl_mask.runs.sources import find_source

GRAPH = bytes(range(256)) * 9
RUN = {
    "run": "runs/a", "checkpoint_sha256": "0" * 64, "step": 3, "weights": "live", "validation_macro_f1": 0.5,
    "trained_on": "1" * 64, "code": "1", "leakage": "photos-clean", "declaration": None, "ancestors": (),
}  # fmt: skip
RECORD: dict[str, Any] = {
    "format": 1, "name": "a ümlaut\n", "leakage": "photos-clean", "tta": ("plain",), "code": "1", "made": "now",
    "source": {"source": "runs/a", "kind": "run", "weight": 1.0, "runs": (RUN,)},
    "schema": LabelSchema((Factor("kind", ("x", "y")),)), "submission": Submission("id", ("kind",), "names"),
    "prior": (0.25, 0.75), "data": DataConfig(), "squares": ({"size": 32, "resize": "pad"},),
    "parameters": 10, "macs": 100,
    "parity": {"images": 4, "content_hash": "2" * 64, "held_out": True, "largest": 1e-7, "limit": 1e-4,
               "other_class": 0, "macro_f1_run": 0.5, "macro_f1_exported": 0.5, "versions": {}},
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_exported(tmp_path / "model.onnx", GRAPH, RECORD)
    return tmp_path / "model.onnx"


def test_what_is_written_is_read(model: Path) -> None:
    record = read_exported(model)
    assert record.name == "a ümlaut\n" and record.prior == (0.25, 0.75) and record.squares[0].resize == "pad"
    assert record.label_schema.joint_classes == ("x", "y") and record.graph_bytes == len(GRAPH)
    assert model.read_bytes().startswith(GRAPH)


def test_onnx_reads_the_record_as_metadata(tmp_path: Path) -> None:
    """The two messages in the file are one: checked with the library for such files."""
    import json

    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value], [other])
    write_exported(tmp_path / "m.onnx", helper.make_model(graph).SerializeToString(), RECORD)
    read = onnx.load(tmp_path / "m.onnx")
    assert [node.op_type for node in read.graph.node] == ["Neg"]
    (entry,) = read.metadata_props
    assert entry.key == "sslmask" and json.loads(entry.value)["schema"] == [{"name": "kind", "classes": ["x", "y"]}]


@pytest.mark.parametrize("at", [0, 1000, -1, -2000])
def test_a_changed_byte_is_noticed(model: Path, at: int) -> None:
    content = bytearray(model.read_bytes())
    content[at] ^= 1
    model.write_bytes(content)
    with pytest.raises((ModelError, MismatchError), match=r"model\.onnx"):
        read_exported(model)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.replace(b'"photos-clean"', b'"clean"       '), "has changed since it was exported"),
        (lambda c: c.replace(GRAPH, GRAPH[:-1] + b"\0"), "has changed since it was exported"),
        (lambda c: c + b"\x72\x00", "has changed since it was exported"),
        (lambda c: c[len(GRAPH) :], "has changed since it was exported"),
        (lambda c: c[:-40], "is damaged"),
        (lambda c: GRAPH, "was not written by sslmask export"),  # noqa: ARG005
        (lambda c: b"", "was not written by sslmask export"),  # noqa: ARG005
        (lambda c: c[: c.rfind(b"sslmask\x12") + 8], "is damaged: its record ends too early"),
        (lambda c: c.replace(b'"format": 1', b'"format": 7'), "is damaged: format"),
    ],
)
def test_what_is_not_whole_is_refused(model: Path, change: Any, problem: str) -> None:
    model.write_bytes(change(model.read_bytes()))
    with pytest.raises((ModelError, MismatchError), match=problem):
        read_exported(model)


def test_a_missing_one_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no .*none\.onnx"):
        read_exported(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match=r"folder\.onnx: it is a folder"):
        read_exported(tmp_path / "folder.onnx")


def test_files_beside_it_are_named_after_it_and_other_verbs_refuse_it(tmp_path: Path) -> None:
    model = ExportedModel(tmp_path / "m.onnx")
    assert model.seen("val") == tmp_path / "m-seen-val.npz" and model.told == tmp_path / "m.json"
    assert model.predictions("test") == tmp_path / "predictions" / "m-test"
    assert is_exported("a/b.onnx") and not is_exported("b")
    with pytest.raises(DataError, match=r"m\.onnx is an exported network"):
        find_source(model.path, tmp_path)
