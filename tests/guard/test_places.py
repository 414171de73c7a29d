"""Where the photos were that a run has seen: by its own tables and by those of the runs that it builds on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_records import data_record, run_status

from ssl_mask.files import write_json
from ssl_mask.guard.places import places_of
from ssl_mask.runs.run import RunDir


def made(path: Path, manifest: str, root: str = "/photos", **fields: Any) -> RunDir:
    run = RunDir(path)
    path.mkdir(parents=True)
    run.manifest.write_text("path,sha256\n" + manifest)
    write_json(run.status_file, run_status(name=path.name, data=data_record(root=root), **fields).to_json())
    return run


def test_all_tables_of_a_run_and_its_ancestors_are_looked_at(tmp_path: Path) -> None:
    old = made(tmp_path / "old", "a.jpg,aa\n", root="/elsewhere", ancestors=(str(tmp_path / "loop"), "unknown"))
    made(tmp_path / "loop", "c.jpg,cc\n", ancestors=(str(tmp_path / "old"), str(tmp_path / "gone")))
    run = made(tmp_path / "run", "a.jpg,a1\nb/b.jpg,bb\n", ancestors=(str(old.path),), best_round=1)
    run.unlabeled.write_text("path,source,sha256,use\nu.jpg,extra,uu,used\nbad.jpg,,,left out: unreadable\n")
    best = made(run.path / "rounds/01", "a.jpg,a1\n")
    best.pseudo_labels.write_text("image,sha256,group\n/pool/p.jpg,pp,\n")
    places = {digest: str(place) for digest, place in places_of(run).items()}
    assert places == {
        "a1": "/photos/a.jpg", "bb": "/photos/b/b.jpg", "uu": "/photos/u.jpg", "pp": "/pool/p.jpg",
        "aa": "/elsewhere/a.jpg", "cc": "/photos/c.jpg",
    }  # fmt: skip


def test_damaged_tables_name_nothing(tmp_path: Path) -> None:
    run = made(tmp_path / "run", "a.jpg\n", ancestors=(str(tmp_path / "old"),))
    made(tmp_path / "old", "b.jpg,bb\n").status_file.write_text("{")
    assert places_of(run) == {}
