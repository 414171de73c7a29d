"""Runs from before seen-sets were without pictures: read as they are, and written anew when they are resumed."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from old_seen import write_old_seen
from PIL import Image

from ssl_mask.config import RunConfig
from ssl_mask.errors import DataError
from ssl_mask.guard import lineage
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.sketches import Sketches
from ssl_mask.guard.lineage import read_seen
from ssl_mask.runs.checkpoint import load_checkpoint, read_metadata, write_checkpoint
from ssl_mask.runs.run import RunDir
from ssl_mask.workflows import resume
from ssl_mask.workflows import train as workflow
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]


def holds_pictures(run: RunDir) -> bool:
    files = sorted(run.best.parent.glob("seen-*.npz"))
    assert [file.name for file in files] == ["seen-train.npz", "seen-val.npz"]
    parts = [set(np.load(file)) for file in files]
    assert parts[0] == parts[1]
    return "jpegs" in parts[0]


@pytest.fixture
def old_run(drawn: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run that was killed at its end, with seen-sets of the first format."""
    photos = fingerprint(sorted(drawn.rglob("*.jpg")), cache=None)

    def save_old(path: Path, seen: Sketches) -> None:
        write_old_seen(path, photos.at([photos.digests.index(digest) for digest in seen.digests]))

    with monkeypatch.context() as patch:
        patch.setattr(lineage, "save_seen", save_old)
        run = train(tiny(guard={"mode": "on"}, train={"steps": 2, "keep": "all"}), quiet=True)
    assert run is not None and holds_pictures(run.dir)
    run.dir.card.unlink()
    return run.dir


def test_an_old_run_is_read_and_a_resumed_one_has_no_pictures(old_run: RunDir) -> None:
    asked, old = old_run.config(), read_metadata(old_run.best)
    before = read_seen(old_run, old)
    assert before is not None and before["train"].digests == photos_of(old_run, "train")
    foreign, best = old_run.all_kept / "000001-foreign.safetensors", load_checkpoint(old_run.best)
    write_checkpoint(foreign, replace(best, metadata=best.metadata.model_copy(update={"seen": {}})))
    train(asked, resume=old_run.path, quiet=True)
    assert read_metadata(foreign).seen == {}  # nobody vouches for weights from elsewhere
    foreign.unlink()
    bound_to_digests(old_run)
    assert old_run.status().seen != old.seen
    after = read_seen(old_run, read_metadata(old_run.best))
    assert after is not None and after["train"].digests == before["train"].digests
    longer = train(asked, resume=old_run.path, length={"steps": 3}, quiet=True)  # its state is bound to them too
    assert longer is not None and longer.status.step == 3


def test_killed_at_any_write_of_the_resume_it_is_resumed_again(
    old_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the seen-sets, the weights, run.json and config.yaml are written, and when all of them are."""
    asked = old_run.config()
    places = ((lineage, "save_seen"), (resume, "write_checkpoint"), (RunDir, "update"), (resume, "write_text"),
              (workflow, "fit"))  # fmt: skip
    for place, name in places:
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(place, name, killed)
            train(asked, resume=old_run.path, quiet=True)
    bound_to_digests(old_run)
    train(asked, resume=old_run.path, length={"steps": 3}, quiet=True)
    bound_to_digests(old_run)
    assert old_run.status().step == 3 and old_run.status().status == "finished"
    train(asked, resume=old_run.path, length={"steps": 4}, quiet=True)
    assert old_run.status().step == 4


def test_where_what_it_builds_on_was_replaced_nothing_goes_on(tiny: Tiny, drawn: Path, tmp_path: Path) -> None:
    """A base run that was trained anew under the same name: the image that it sees no more is in the heir's weights."""
    other = tmp_path / "other"
    shutil.copytree(drawn, other)
    base = train(tiny(name="base", guard={"mode": "on"}, train={"steps": 2}), quiet=True)
    heir = train(tiny(name="heir", guard={"mode": "on"}, train={"steps": 2}, init_from="base"), quiet=True)
    assert base is not None and heir is not None
    changed = next(row["path"] for row in csv.DictReader(base.dir.manifest.read_text().splitlines())
                   if row["split"] == "train")  # fmt: skip
    Image.new("RGB", (64, 64), "teal").save(other / changed)
    base.dir.path.rename(tmp_path / "kept")
    train(tiny(name="base", guard={"mode": "on"}, train={"steps": 2}, data={"root": str(other)}), quiet=True)
    before = {file: file.read_bytes() for file in heir.path.rglob("*") if file.is_file()}
    with pytest.raises(DataError, match=r"heir and what it builds on have not seen the images") as refused:
        train(heir.dir.config(), resume=heir.path, length={"steps": 3}, quiet=True)
    assert f"Restore what it builds on ({base.path})" in str(refused.value.hint)
    assert before == {file: file.read_bytes() for file in heir.path.rglob("*") if file.is_file()}
    shutil.rmtree(base.path)
    (tmp_path / "kept").rename(base.path)
    longer = train(heir.dir.config(), resume=heir.path, length={"steps": 3}, quiet=True)
    assert longer is not None and longer.status.step == 3


def test_a_record_says_nothing_of_earlier_formats_where_there_was_none(tiny: Tiny) -> None:
    run = train(tiny(guard={"mode": "on"}, train={"steps": 2}), quiet=True)
    assert run is not None
    names = set(json.loads(run.dir.status_file.read_text()))
    train(run.dir.config(), resume=run.path, length={"steps": 3}, quiet=True)
    assert set(json.loads(run.dir.status_file.read_text())) == names


class KilledError(Exception):
    """Where a process would have ended without a word."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


def bound_to_digests(run: RunDir) -> None:
    """All that was saved is bound to seen-sets without pictures."""
    assert not holds_pictures(run)
    weights = [run.best, *run.all_kept.glob("*.safetensors")]
    assert len(weights) > 1
    for file in weights:
        metadata = read_metadata(file)
        assert metadata.seen == run.status().seen and read_seen(run, metadata) is not None


def photos_of(run: RunDir, split: str) -> tuple[str, ...]:
    rows = csv.DictReader(run.manifest.read_text().splitlines())
    return tuple(sorted({row["sha256"] for row in rows if row["split"] == split}))
