"""Runs from before seen-sets were without pictures: read as they are, and written anew when they are resumed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from old_seen import write_old_seen

from ssl_mask.config import RunConfig
from ssl_mask.guard import lineage
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.sketches import Sketches
from ssl_mask.guard.lineage import read_seen
from ssl_mask.runs.checkpoint import load_checkpoint, read_metadata, write_checkpoint
from ssl_mask.runs.run import RunDir
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]


def holds_pictures(run: RunDir) -> bool:
    files = sorted(run.best.parent.glob("seen-*.npz"))
    assert [file.name for file in files] == ["seen-train.npz", "seen-val.npz"]
    parts = [set(np.load(file)) for file in files]
    assert parts[0] == parts[1]
    return "jpegs" in parts[0]


def test_an_old_run_is_read_and_a_resumed_one_has_no_pictures(
    drawn: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = fingerprint(sorted(drawn.rglob("*.jpg")), cache=None)

    def save_old(path: Path, seen: Sketches) -> None:
        write_old_seen(path, photos.at([photos.digests.index(digest) for digest in seen.digests]))

    with monkeypatch.context() as patch:
        patch.setattr(lineage, "save_seen", save_old)
        run = train(tiny(guard={"mode": "on"}, train={"steps": 2, "keep": "all"}), quiet=True)
    assert run is not None and holds_pictures(run.dir)
    asked, old = run.dir.config(), read_metadata(run.dir.best)
    before = read_seen(run.dir, old)
    assert before is not None and before["train"].digests == photos_of(run.dir, "train")
    foreign, best = run.dir.all_kept / "000001-foreign.safetensors", load_checkpoint(run.dir.best)
    write_checkpoint(foreign, replace(best, metadata=best.metadata.model_copy(update={"seen": {}})))
    run.dir.card.unlink()  # as where it was killed in the end
    train(asked, resume=run.path, quiet=True)
    assert not holds_pictures(run.dir)
    assert read_metadata(foreign).seen == {}  # nobody vouches for weights from elsewhere
    foreign.unlink()
    for weights in (run.dir.best, *run.dir.all_kept.glob("*.safetensors")):
        new = read_metadata(weights)
        assert new.seen == run.dir.status().seen and new.seen != old.seen
        after = read_seen(run.dir, new)  # they are those that it was saved with
        assert after is not None and after["train"].digests == before["train"].digests
    longer = train(asked, resume=run.path, length={"steps": 3}, quiet=True)  # its state is bound to them too
    assert longer is not None and longer.status.step == 3


def photos_of(run: RunDir, split: str) -> tuple[str, ...]:
    rows = csv.DictReader(run.manifest.read_text().splitlines())
    return tuple(sorted({row["sha256"] for row in rows if row["split"] == split}))
