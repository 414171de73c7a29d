"""What a run writes about itself is checked when it is read: damage is one clear error, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from made_records import SCHEMA, best_score, data_record, metadata, selection_record
from pydantic import ValidationError
from safetensors.numpy import save_file
from torch import nn

from ssl_mask.errors import DataError, ModelError
from ssl_mask.runs.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from ssl_mask.runs.records import leakage_of
from ssl_mask.runs.run import RunDir

STATUS = {
    "verb": "uda", "name": "a", "status": "running", "started": "2026-01-01", "step": 0, "best": None,
    "leakage": "not-checked",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "a")
    made.update(**STATUS)
    return made


def test_a_status_is_written_with_the_keys_that_were_set_and_read_back(run: RunDir) -> None:
    assert json.loads(run.status_file.read_text()).keys() == {*STATUS, "updated"}
    run.update(best=best_score(), data=data_record(), step=4)
    content = json.loads(run.status_file.read_text())
    assert content.keys() == {*STATUS, "updated", "data"}
    assert content["best"]["temperatures"] == {"kind": 1.25}
    assert (run.scores(), run.data(), run.status().step) == (best_score(), data_record(), 4)
    assert run.status().verb == "uda"


def test_what_is_not_there_yet_is_told(run: RunDir) -> None:
    with pytest.raises(DataError, match="has not been evaluated yet"):
        run.scores()
    with pytest.raises(DataError, match="does not say what the run was trained on"):
        run.data()


def test_a_wrong_change_is_not_written(run: RunDir) -> None:
    before = run.status_file.read_text()
    for wrong in ({"status": "done"}, {"stepp": 3}, {"best": {"macro_f1": 1.0}}):
        with pytest.raises(ValidationError):
            run.update(**wrong)
    assert run.status_file.read_text() == before


def test_a_comparison_keeps_what_was_not_reached_and_leaves_out_what_was_not_asked(run: RunDir) -> None:
    score = {"macro_f1": 0.5, "accuracy": 0.6, "step": 3, "weights": "live", "cpu_seconds": 1.5}
    alone = {"rows": [{"seed": 0, "ours": score}]}
    with_baseline = {"rows": [{"seed": 0, "ours": score, "labels_only": score, "ours_at_equal_cpu": None}]}
    for content in (alone, with_baseline):
        run.update(comparison=content)
        assert json.loads(run.status_file.read_text())["comparison"] == content
    with pytest.raises(ValidationError):
        run.update(comparison={"rows": [{"seed": 0}]})


DAMAGE: list[tuple[dict[str, Any], str]] = [
    ({"status": "done"}, r"run\.json is damaged: status: .*'running', 'interrupted', 'failed' or 'finished'"),
    ({"step": None}, r"run\.json is damaged: step: "),
    ({"stray": 1}, r"run\.json is damaged: stray: "),
    ({"best": {"macro_f1": 0.5}}, r"run\.json is damaged: best\.step: Field required \(and 7 more problems\)"),
    ({"step": -1}, r"run\.json is damaged: step: "),
    ({"step": 10**30}, r"run\.json is damaged: step: "),
    ({"seconds": float("nan")}, r"run\.json is damaged: seconds: "),
    ({"updated": float("inf")}, r"run\.json is damaged: updated: "),
    ({"name": "a\0b"}, r"run\.json is damaged: it holds a text with a NUL"),
    ({"marks": {"ab": "spotless"}}, r"run\.json is damaged: marks\.ab: "),
]


@pytest.mark.parametrize(("change", "message"), DAMAGE)
def test_a_damaged_status_is_one_error(run: RunDir, change: dict[str, Any], message: str) -> None:
    content = json.loads(run.status_file.read_text())
    run.status_file.write_text(json.dumps({**content, **change}))
    with pytest.raises(DataError, match=message) as found:
        run.status()
    assert "Restore it" in found.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"verb": "uda"', "\x00"])
def test_a_status_that_is_no_json_object_is_one_error(run: RunDir, text: str) -> None:
    run.status_file.write_text(text)
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        run.status()


def test_a_missing_status_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run"):
        RunDir(tmp_path).status()


def test_a_selection_is_read_back_and_damage_is_one_error(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.selection.write_text(json.dumps(selection_record().to_json()))
    assert run.selection_record() == selection_record()
    content = selection_record().to_json()
    del content["heads"]["joint"]["classes"]
    run.selection.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"selection\.json is damaged: heads\.joint\.classes: Field required") as found:
        run.selection_record()
    assert "resume its study" in found.value.hint
    run.selection.unlink()
    with pytest.raises(DataError, match=r"There is no .*selection\.json"):
        run.selection_record()


# ---- checkpoints ----


def test_metadata_survives_a_checkpoint(tmp_path: Path) -> None:
    path, model = tmp_path / "best.safetensors", nn.Linear(2, 3)
    save_checkpoint(path, model, metadata())
    loaded = load_checkpoint(path)
    assert read_metadata(path) == loaded.metadata == metadata()
    assert loaded.metadata.label_schema == SCHEMA
    assert loaded.metadata.submission == metadata().submission
    assert torch.equal(loaded.weights["weight"], model.weight)


def test_the_guards_part_of_a_record_is_the_same_in_status_and_checkpoint(run: RunDir) -> None:
    run.update(**dict(leakage_of(metadata())))
    assert leakage_of(run.status()) == leakage_of(metadata())
    assert set(dict(leakage_of(metadata()))) >= {"leakage", "marks", "declaration", "seen", "ancestors"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": [{"name": "kind"}]}, "schema: Value error, not a label schema"),
        ({"schema": None}, "schema: Value error, not a label schema"),
        ({"submission": {"answers": "names"}}, "submission: Value error, not a submission format"),
        ({"temperatures": {"kind": "warm"}}, r"temperatures\.kind: "),
        ({"model": {"backbon": "x"}}, r"model\.backbon: "),
        ({"prior": None}, "prior: "),
        ({"temperatures": {"kind": 0.0, "cover": 1.0}}, r"temperatures\.kind: Input should be greater than 0"),
        (
            {"temperatures": {"kind": float("nan"), "cover": 1.0}},
            r"temperatures\.kind: Input should be a finite number",
        ),
        ({"temperatures": {"kind": -1.0, "cover": 1.0}}, r"temperatures\.kind: "),
        ({"temperatures": {"kind": float("inf"), "cover": 1.0}}, r"temperatures\.kind: "),
        ({"temperatures": {"kind": 1.0}}, "the temperatures are not those of the heads"),
        ({"temperatures": {"joint": 1.0}}, "the temperatures are not those of the heads"),
        ({"prior": [1, 2]}, "the prior does not fit the classes"),
        ({"prior": [0, 0, 0, 0]}, "the prior does not fit the classes"),
        ({"prior": [1, 2, 0, -1]}, r"prior\.3: "),
        ({"image_size": 0}, "image_size: "),
        ({"image_size": 10**9}, "image_size: "),
        ({"best": best_score(step=1).to_json() | {"macro_f1": 1.5}}, r"best\.macro_f1: "),
        ({"best": best_score(step=1).to_json() | {"nll": float("nan")}}, r"best\.nll: "),
        ({"schema": []}, "a label schema without factors"),
        ({"schema": [{"name": "kind", "classes": ["a", "a"]}]}, "names a factor or a class twice"),
        ({"schema": [{"name": "kind", "classes": ["a"]}] * 2}, "names a factor or a class twice"),
        ({"schema": [{"name": f"f{i}", "classes": ["a", "b"]} for i in range(64)]}, "more than 1,000,000 classes"),
        ({"submission": {"id_column": "i", "answer_columns": ["a", "b"], "answers": "joint index"}}, "answer columns"),
    ],
)
def test_damaged_metadata_is_one_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "best.safetensors"
    write_header(path, json.dumps({**metadata().to_json(), **change}))
    with pytest.raises(ModelError, match=rf"best\.safetensors is damaged: .*{message}"):
        read_metadata(path)


def test_a_damaged_foreign_or_missing_checkpoint_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    with pytest.raises(ModelError, match="No checkpoint"):
        read_metadata(path)
    save_file({"w": torch.zeros(2).numpy()}, path)
    with pytest.raises(ModelError, match="not written by sslmask"):
        read_metadata(path)
    write_header(path, "{")
    with pytest.raises(ModelError, match="is damaged"):
        read_metadata(path)
    write_header(path, json.dumps(metadata().to_json()))
    whole = path.read_bytes()
    for cut in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match="is damaged"):
            read_metadata(path)


def write_header(path: Path, text: str) -> None:
    save_file({"w": torch.zeros(2).numpy()}, path, metadata={"format": "1", "sslmask": text})


def test_reading_runs_and_metadata_imports_no_torch(run: RunDir) -> None:
    save_checkpoint(run.best, nn.Linear(2, 3), metadata())
    code = (
        "import sys; from pathlib import Path\n"
        "from ssl_mask.runs.checkpoint import read_metadata\n"
        "from ssl_mask.runs.find import list_runs\n"
        f"for run in list_runs(Path({str(run.path.parent)!r})):\n"
        "    print(run.status().verb, read_metadata(run.best).run, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["uda", "train-001", "False"]
