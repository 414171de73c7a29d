"""What is handed on names no place of this machine, and keeps every name that people chose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_exported import GRAPH, RECORD, RUN

from ssl_mask.errors import DataError, InputError
from ssl_mask.reports.model_card import model_card
from ssl_mask.reports.model_facts import facts_of_exported
from ssl_mask.runs.exported import ExportedModel, read_exported, write_exported
from ssl_mask.runs.handed_on import hand_on, hand_on_exported, refuse_places
from ssl_mask.runs.no_places import tree_without_places, without_places
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/me/runs/a", "a"),
        ("/home/Me And You/data", "data"),
        ("C:\\Users\\me\\data", "data"),
        ("~/data", "data"),
        ("/home/me/runs/a, which it builds on: 3 images of val/test", "a, which it builds on: 3 images of val/test"),
        ("see /a/b/c (/d/x/y.jpg), https://x.org/a/b", "see c (y.jpg), https://x.org/a/b"),
        ("'C:\\Users\\me\\a.jpg' is bad", "'a.jpg' is bad"),
        ("runs/a", "runs/a"),
        ("worn/male/<30", "worn/male/<30"),
        ("80 % / 20 %", "80 % / 20 %"),
    ],
)
def test_a_path_becomes_its_name(text: str, told: str) -> None:
    assert without_places(text) == told


def test_a_path_with_blanks_is_found_in_sentences_and_classes_stay() -> None:
    content = {
        "root": "/home/Me And You/data", "why": ["bad, in /home/Me And You/data: no"], "n": 3,
        "schema": [{"name": "kind", "classes": ["/m/01g317", "/m/04szw"]}], "heads": {"/m/01g317": 0.5},
    }  # fmt: skip
    assert tree_without_places(content) == {**content, "root": "data", "why": ["bad, in data: no"]}


def test_an_exported_network_keeps_its_graph_and_loses_its_places(tmp_path: Path) -> None:
    run = {**RUN, "run": "/home/me/runs/a", "ancestors": ("/home/me/runs/before",)}
    seen = tmp_path / "model-seen-train.npz"
    np.savez(seen, format=np.array("sslmask-seen-v2"), digests=np.zeros(1, np.uint8))
    record: dict[str, Any] = {
        **RECORD, "source": {"source": "/home/me/runs/a", "kind": "run", "weight": 1.0, "runs": (run,)},
        "data": RECORD["data"].model_copy(update={"root": Path("/home/me/faces")}),
        "ancestors": ("/home/me/runs/before",),
        "leakage_reason": "/home/me/runs/before, which it builds on: seen",
        "seen": {"train": {"images": 1, "sha256": file_digest(seen)}},
    }  # fmt: skip
    model = ExportedModel(tmp_path / "model.onnx")
    write_exported(model.path, GRAPH, record)
    hand_on_exported(model, tmp_path / "out")
    written = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert set(written) == {"model.onnx", "model.json", "model-seen-train.npz", "schema.json"}
    assert [name for name, content in written.items() if b"/home" in content] == []
    got = read_exported(tmp_path / "out/model.onnx")
    assert written["model.onnx"].startswith(GRAPH) and got.graph_sha256 == read_exported(model.path).graph_sha256
    assert got.source.runs[0].run == "a" and got.leakage_reason == "before, which it builds on: seen"
    assert got.label_schema == RECORD["schema"] and json.loads(written["schema.json"])[0]["classes"] == ["x", "y"]
    card = model_card(facts_of_exported(model))
    assert "onnx" in card and "/home" not in card and "Macro-F1 0.5000, validation" in card and "`before`" in card


def test_a_seen_set_with_pictures_is_not_handed_on(tmp_path: Path) -> None:
    seen = tmp_path / "model-seen-train.npz"
    np.savez(seen, format=np.array("sslmask-seen-v1"), digests=np.zeros(1, np.uint8), jpegs=np.zeros(9, np.uint8))
    bound = {"train": {"images": 1, "sha256": file_digest(seen)}}
    write_exported(tmp_path / "model.onnx", GRAPH, {**RECORD, "seen": bound})
    with pytest.raises(DataError, match="a grey picture of every photo"):
        hand_on_exported(ExportedModel(tmp_path / "model.onnx"), tmp_path / "out")


def test_an_export_of_a_study_has_no_score_of_photos_that_it_was_trained_on(tmp_path: Path) -> None:
    parity = {**RECORD["parity"], "held_out": False}
    write_exported(tmp_path / "model.onnx", GRAPH, {**RECORD, "parity": parity})
    assert facts_of_exported(ExportedModel(tmp_path / "model.onnx")).scores == ()


def test_a_gallery_and_a_factor_study_are_not_handed_on(tmp_path: Path) -> None:
    part = Source(tmp_path / "run", "run")
    for kind in ("gallery", "factors"):
        with pytest.raises(InputError) as refused:
            hand_on(Source(tmp_path / "x", kind, (part,)), tmp_path / "out")
        assert kind.removesuffix("s") in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_network_outside_of_its_study_is_refused(tmp_path: Path) -> None:
    elsewhere = Source(tmp_path / "other/fold-0", "run")
    with pytest.raises(DataError, match="does not lie in it"):
        hand_on(Source(tmp_path / "study", "folds", (elsewhere,)), tmp_path / "out")


def test_the_last_look_finds_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    (tmp_path / "a.bin").write_bytes(b"\0/home/somebody/faces\0")
    with pytest.raises(DataError, match=r"a\.bin would hand on /home/somebody"):
        refuse_places(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"\0/data/of/them\0")
    refuse_places(tmp_path)
    with pytest.raises(DataError, match="/data/of/them"):
        refuse_places(tmp_path, ("/data/of/them",))
