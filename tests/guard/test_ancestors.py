"""Weights and pseudo-labels are traced to the run that made them, and its photos are met again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_records import metadata, selection_record
from safetensors.torch import load_file, save_file
from textures import texture, write
from torch import nn

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import MismatchError, UndeclaredError
from ssl_mask.guard.ancestors import Ancestor, labels_ancestors, run_ancestor, weights_ancestor
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.sketches import sketched
from ssl_mask.guard.findings import Pool, Role
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.lineage import inherited
from ssl_mask.guard.policy import judge
from ssl_mask.runs.checkpoint import save_checkpoint
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest, sealed

QUIET = Console(quiet=True)


@pytest.fixture
def teacher(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "teacher")
    save_checkpoint(run.best, nn.Linear(2, 3), metadata(run="teacher"))
    return run


@pytest.fixture
def made(tmp_path: Path, teacher: RunDir) -> RunDir:
    """A round of pseudo-labels."""
    run = RunDir(tmp_path / "made")
    run.path.mkdir()
    run.pseudo_labels.write_text("image,label\na,b\n")
    taught = [{"run": str(teacher.path), "checkpoint_sha256": file_digest(teacher.best)}]
    record = selection_record(teachers=taught, labels_sha256=file_digest(run.pseudo_labels))
    run.selection.write_text(json.dumps(sealed(record.to_json())))
    return run


def test_pseudo_labels_come_from_their_teacher(teacher: RunDir, made: RunDir) -> None:
    (found,) = labels_ancestors(made.pseudo_labels)
    assert found == run_ancestor(teacher)
    assert (found.name, found.unknown) == (str(teacher.path), "")


def test_each_of_several_teachers_is_an_ancestor(teacher: RunDir, made: RunDir, tmp_path: Path) -> None:
    """One that is gone is unknown; one that has other weights now is refused, whichever it is."""
    second = RunDir(tmp_path / "second")
    save_checkpoint(second.best, nn.Linear(2, 3), metadata(run="second"))
    taught = [{"run": str(t.path), "checkpoint_sha256": file_digest(t.best)} for t in (teacher, second)]
    record = selection_record(teachers=taught, labels_sha256=file_digest(made.pseudo_labels))
    made.selection.write_text(json.dumps(sealed(record.to_json())))
    assert labels_ancestors(made.pseudo_labels) == (run_ancestor(teacher), run_ancestor(second))
    second.best.rename(tmp_path / "away")
    known, unknown = labels_ancestors(made.pseudo_labels)
    assert (known, unknown.name) == (run_ancestor(teacher), "unknown")
    save_checkpoint(second.best, nn.Linear(2, 3), metadata(run="second"))
    with pytest.raises(MismatchError, match="second are not those that made"):
        labels_ancestors(made.pseudo_labels)


def edit_table(made: RunDir, _: RunDir) -> None:
    made.pseudo_labels.write_text(made.pseudo_labels.read_text() + "c,d\n")


def lose_selection(made: RunDir, _: RunDir) -> None:
    made.selection.unlink()


def lose_teacher(_: RunDir, teacher: RunDir) -> None:
    shutil.rmtree(teacher.path)


def edit_selection(made: RunDir, _: RunDir) -> None:
    made.selection.write_text(made.selection.read_text().replace('"ef"', '"00"'))


def retrain_teacher(_: RunDir, teacher: RunDir) -> None:
    save_checkpoint(teacher.best, nn.Linear(2, 3), metadata(run="teacher"))


@pytest.mark.parametrize(
    ("change", "why"),
    [(edit_table, "was changed since it was selected"), (lose_selection, "nobody knows which run made"),
     (lose_teacher, "is not there any more")],
)  # fmt: skip
def test_of_pseudo_labels_that_cannot_be_traced_nothing_is_known(
    change: Callable[[RunDir, RunDir], None], why: str, made: RunDir, teacher: RunDir
) -> None:
    change(made, teacher)
    (found,) = labels_ancestors(made.pseudo_labels)
    assert (found.name, found.metadata) == ("unknown", None)
    assert why in found.unknown


@pytest.mark.parametrize(
    ("change", "message"), [(edit_selection, "selection.json has changed"), (retrain_teacher, "not those that made")]
)
def test_what_does_not_fit_is_refused(
    change: Callable[[RunDir, RunDir], None], message: str, made: RunDir, teacher: RunDir
) -> None:
    change(made, teacher)
    with pytest.raises(MismatchError, match=message):
        labels_ancestors(made.pseudo_labels)


def test_whose_weights_a_file_holds(teacher: RunDir, tmp_path: Path) -> None:
    assert weights_ancestor(teacher.best) == run_ancestor(teacher)
    (tmp_path / "link.safetensors").symlink_to(teacher.best)
    assert weights_ancestor(tmp_path / "link.safetensors") == run_ancestor(teacher)
    copied = weights_ancestor(Path(shutil.copy(teacher.best, tmp_path / "copy.safetensors")))
    assert copied.metadata is not None and "is a copy of the weights of teacher" in copied.unknown
    save_file(load_file(teacher.best), tmp_path / "bare.safetensors")
    torch.save(load_file(teacher.best), tmp_path / "bare.pth")
    for name in ("bare.safetensors", "bare.pth"):
        found = weights_ancestor(tmp_path / name)
        assert (found.name, found.metadata) == ("unknown", None)
        assert f"{name} were trained on" in found.unknown


def pool(folder: Path, role: Role, *seeds: int) -> Pool:
    paths = write(folder / role, [texture(seed) for seed in seeds])
    names = tuple(p.name for p in paths)
    return Pool(role, role, folder / role, names, tuple(f"{role}{n}" for n in names), ("",) * len(names))


@pytest.mark.parametrize(
    ("seen_as", "status"), [("train", "leaked-declared"), ("unlabeled", "transductive-val"), ("val", "clean")]
)
def test_validation_images_that_the_weights_have_seen(
    seen_as: Role, status: str, tmp_path: Path, tiny: Callable[..., RunConfig]
) -> None:
    """Another fold's training images are this one's validation images; to be validated on twice is no leak."""
    pools = (pool(tmp_path, "val", 1, 2, 3), pool(tmp_path, "train", 4, 5, 6))
    prints = {p.name: fingerprint([p.root / name for name in p.paths], cache=None) for p in pools}
    findings = check(pools, cache=None, known=prints)
    gate = GateResult(pools, findings, judge(findings), None, prints)
    assert {m.status for m in gate.marks.values()} == {"clean"}
    other: Role = "train" if seen_as != "train" else "unlabeled"
    before = {seen_as: sketched(prints["val"], [1]), other: sketched(prints["train"])}
    ancestor = Ancestor("runs/a", metadata(marks={}), None, "")
    if status == "leaked-declared":
        with pytest.raises(UndeclaredError, match="with the labels of 1 images of the validation set") as refused:
            inherited(gate, [ancestor], [before], tiny(), QUIET)
        assert "--leaked" in refused.value.hint
    declared = tiny(guard={"leaked": True, "reason": "to measure", "allowed_by": "this test"})
    (mark,) = inherited(gate, [ancestor], [before], declared, QUIET).values()
    assert mark.status == status
    assert ("runs/a" in mark.reason and "1 images of the validation set" in mark.reason) == (status != "clean")


def test_marks_are_inherited_with_the_guard_off_too(tiny: Callable[..., RunConfig]) -> None:
    leaking = metadata(leakage="transductive-test", marks={"ab": "transductive-test"})
    ancestor = Ancestor("runs/a", leaking, None, "nobody knows")
    marks = inherited(GateResult(), [ancestor], [None], tiny(), QUIET)
    assert {digest: mark.status for digest, mark in marks.items()} == {"ab": "transductive-test"}
