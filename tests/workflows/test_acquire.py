"""What to label next as a user meets it: chosen, filled in, trained on; and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_runs import TINY

from ssl_mask.cli.app import main
from ssl_mask.config import merge, resolve
from ssl_mask.data.embeddings import read_embeddings
from ssl_mask.data.predictions import read_validation
from ssl_mask.errors import DataError, InputError, OverlapError
from ssl_mask.runs.acquired import AcquireDir
from ssl_mask.runs.run import RunDir
from ssl_mask.studies.fold_checks import refuse_changed_data
from ssl_mask.text import csv_text
from ssl_mask.workflows.acquire import Acquisition, acquire
from ssl_mask.workflows.embed import embed
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import train

LABELS = {"mask": "worn", "gender": "female", "age": ">=60"}
PERSONS = 5


@pytest.fixture(scope="module")
def work(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Path:  # noqa: ARG001
    """`runs/one`, a run, and `pool/`: five persons of three images; the first one has a name like a formula. Two of
    three chosen persons are labeled in `filled.csv`, and trained on in `runs/two`."""
    folder = tmp_path_factory.mktemp("acquire")
    for i, image in enumerate(sorted((drawn / "extra").iterdir())[: 3 * PERSONS]):
        person = folder / "pool" / ("=1+1" if i < 3 else f"p{i // 3}")
        person.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, person)
    made("one", folder, drawn)
    table = fill(ask(folder, budget=3, name="first"), folder / "filled.csv", persons=2)
    made("two", folder, drawn, data={"extra_labels": str(table), "outside_root": "allow"})
    return folder


def made(name: str, folder: Path, root: Path, **sections: Any) -> None:
    own = {"runs": str(folder / "runs"), "name": name, "data": {"root": str(root)}, "train": {"steps": 2}}
    config = resolve([merge(merge(TINY, own), sections)], has_gpu=lambda: False)
    assert train(config, quiet=True) is not None


def ask(work: Path, *runs: str, pool: str = "pool", **more: Any) -> Acquisition:
    known = {"runs_folder": work / "runs", "group_regex": r"([^/]+)/[^/]+$", "quiet": True}
    return acquire(runs or ("one",), pool=[str(work / pool)], **{**known, **more})


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def fill(found: Acquisition, out: Path, *, persons: int) -> Path:
    """Label the first persons of a table."""
    rows = rows_of(found.table)
    for row in rows:
        row.update(LABELS if int(row["rank"]) <= persons else {})
    out.write_text(csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    return out


def persons_of(found: Acquisition | AcquireDir) -> list[str]:
    """The chosen persons in order."""
    return list(dict.fromkeys(Path(row["image"]).parent.name for row in rows_of(found.table)))


def by_person(images: Sequence[Path], values: Any) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for image, value in zip(images, values, strict=True):
        found.setdefault(Path(image).parent.name, []).append(value)
    return {person: np.mean(own, axis=0) for person, own in found.items()}


def test_persons_are_chosen_by_the_mean_of_their_images(work: Path) -> None:
    """Each rule against a loop over what `predict` and `embed` say."""
    said = [predict([run], runs_folder=work / "runs", images=work / "pool", guard="off", write=False, quiet=True)
            for run in ("one", "two")]  # fmt: skip
    known = {row["group"] for row in rows_of(RunDir(work / "runs/two").manifest)}
    schema, files = said[0].manifest.schema, said[0].manifest.files
    members = [schema.marginals(each.probs) for each in said]

    def entropy(p: Any) -> Any:
        return -(p * np.log(p)).sum(axis=1) / np.log(p.shape[1])

    alone = {f: entropy(members[0][f].astype(float)) for f in schema.sizes}
    both = {f: (members[0][f].astype(float) + members[1][f]) / 2 for f in schema.sizes}
    apart = [entropy(both[f]) - np.mean([entropy(m[f].astype(float)) for m in members], axis=0) for f in both]
    for rule, runs, values in (
        ("uncertainty", ("one",), np.mean(list(alone.values()), axis=0)),
        ("disagreement", ("one", "two"), np.mean(apart, axis=0)),
    ):
        expected = {p: v for p, v in by_person(files, values).items() if len(runs) == 1 or p not in known}
        found = ask(work, *runs, by=rule, budget=len(expected))
        assert persons_of(found) == sorted(expected, key=lambda person: -expected[person])
        for row in rows_of(found.table):
            assert float(row["score"]) == pytest.approx(expected[Path(row["image"]).parent.name], abs=2e-6)


@pytest.mark.slow
def test_the_first_of_coverage_is_farthest_from_all_labeled_persons(work: Path) -> None:
    labeled = read_embeddings(embed("one", runs_folder=work / "runs", quiet=True))
    out = work / "pool.parquet"
    pool = read_embeddings(embed("one", runs_folder=work / "runs", images=work / "pool", out=out, quiet=True))

    def means(names: Any, vectors: Any) -> dict[str, Any]:
        found = {name: vectors[names == name].mean(axis=0) for name in set(names.tolist())}
        return {name: mean / np.linalg.norm(mean) for name, mean in found.items()}

    known = means(labeled.group, labeled.vectors)
    asked = means(np.asarray([Path(p).parent.name for p in pool.path.tolist()]), pool.vectors)
    far = {p: min(float(np.linalg.norm(v - k)) for k in known.values()) for p, v in asked.items()}
    found = ask(work, by="coverage", budget=2)
    assert persons_of(found)[0] == max(far, key=lambda person: far[person])
    assert float(rows_of(found.table)[0]["score"]) == pytest.approx(max(far.values()), abs=1e-4)


def test_what_comes_back_trains_and_no_validation_image_moves(work: Path) -> None:
    table, first = work / "filled.csv", AcquireDir(work / "runs/first")
    record = first.record()
    assert record.by == "mixed" and (record.groups, record.images) == (3, 9)
    assert all(not row[name] for row in rows_of(first.table) for name in LABELS)
    before, after = (rows_of(RunDir(work / "runs" / name).manifest) for name in ("one", "two"))
    new = [row for row in after if row["source"].startswith(f"{table}:")]
    assert [row for row in after if row not in new] == before and len(new) == 6
    assert {(row["split"], *(row[name] for name in LABELS)) for row in new} == {("train", *LABELS.values())}
    labeled = {row["group"] for row in new}
    assert labeled == set(persons_of(first)[:2])
    again = ask(work, "two", budget=PERSONS - 2, by="rare")
    assert set(persons_of(again)) == {"=1+1", "p1", "p2", "p3", "p4"} - labeled
    assert again.record.left_out == 6 and rows_of(again.table)[0]["reason"].startswith("likely ")


def test_its_files_say_what_chose_and_no_spreadsheet_runs_a_name(work: Path) -> None:
    found = ask(work, "one", "one", budget=PERSONS, by="random", seed=3)
    record = AcquireDir(found.path).record()
    assert record == found.record and record.seed == 3 and len(record.members) == 2
    assert record.pool_groups == PERSONS and not record.checked and record.leakage == "not-checked"
    assert {row["group"] for row in rows_of(found.table)} == {"'=1+1", "p1", "p2", "p3", "p4"}
    with Image.open(found.sheet) as sheet:
        assert sheet.height > PERSONS * 110 > sheet.width > 3 * 110


def test_without_groups_each_image_is_one(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(work, budget=4, by="random", group_regex=None, quiet=False)
    assert found.record.pool_groups == 3 * PERSONS and found.record.images == 4
    assert "15 images have no known group: each is a group of its own" in " ".join(capsys.readouterr().out.split())
    table = work / "persons.csv"
    names = sorted(p.relative_to(work).as_posix() for p in (work / "pool").rglob("*.*"))
    table.write_text(csv_text([["image", "person"], *([n, n.split("/")[1]] for n in names)]))
    assert ask(work, pool="persons.csv", budget=2, by="random", group_regex=None).record.images == 6


def test_what_cannot_be_chosen_is_refused(work: Path) -> None:
    with pytest.raises(InputError, match="--budget is 6, but the pool has only 5 groups"):
        ask(work, budget=6)
    with pytest.raises(InputError, match="--by disagreement needs several models"):
        ask(work, budget=1, by="disagreement")
    with pytest.raises(InputError, match="is not a regular expression"):
        ask(work, budget=1, group_regex="(")
    with pytest.raises(InputError, match="is no run"):
        ask(work, budget=1, by="random", name="first")
    with pytest.raises(DataError, match="no folder or file"):
        ask(work, budget=1, pool="gone")


@pytest.mark.slow
def test_an_image_of_the_test_set_is_no_candidate(work: Path, drawn: Path, tmp_path: Path) -> None:
    """The demo has put an altered one into the pool by itself."""
    shutil.copytree(work / "pool", tmp_path / "pool")
    shutil.copy(sorted((drawn / "eval/images").iterdir())[0], tmp_path / "pool/p1/test.jpg")
    pool = {"pool": str(tmp_path / "pool"), "budget": PERSONS, "by": "random", "guard": "on"}
    with pytest.raises(OverlapError, match="pool overlaps test"):
        ask(work, **pool)
    found = ask(work, **pool, drop_overlap=True)
    assert found.record.checked and (found.record.images, found.record.left_out) == (14, 2)


@pytest.mark.slow
def test_a_study_of_folds_trains_on_extra_labels_in_every_fold(work: Path, drawn: Path, tmp_path: Path) -> None:
    """Those of a person whom a fold validates are left out of it; a table that changes stops the study."""
    table, rows = tmp_path / "extra.csv", rows_of(work / "filled.csv")
    person = rows_of(RunDir(work / "runs/one").manifest)[0]["group"]
    rows[0] |= {"group": person}
    table.write_text(csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    own = {"runs": str(tmp_path / "runs"), "name": "study", "train": {"steps": 2, "eval_every": 1}}
    data = {"root": str(drawn), "min_groups": 1}
    configs = [
        resolve([merge(TINY, {**own, "name": name, "data": {**data, **more}})], has_gpu=lambda: False)
        for name, more in (("plain", {}), ("study", {"extra_labels": [str(table)], "outside_root": "allow"}))
    ]
    plain, study = (train_folds(config, folds=2, quiet=True) for config in configs)
    assert plain is not None and study is not None
    tables = [read_validation(each.oof) for each in (plain, study)]
    assert tables[0].sha256.tolist() == tables[1].sha256.tolist()
    assert tables[0].fold.tolist() == tables[1].fold.tolist()
    for run in study.members():
        trained = rows_of(run.manifest)
        new = [row for row in trained if row["source"].startswith(f"{table}:")]
        validating = {row["group"] for row in trained if row["split"] == "val"}
        assert {row["split"] for row in new} == {"train"} and len(new) == 6 - (person in validating)
        if person in validating:
            assert f"group {person} is in validation" in run.left_out.read_text()
    refuse_changed_data(study, configs[1])
    table.write_text(table.read_text().replace("female", "male"))
    with pytest.raises(DataError, match=r"is new or another"):
        refuse_changed_data(study, configs[1])


def test_the_command(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["acquire", "--run", "one", "--pool", str(work / "pool"), "--budget", "3", "--by", "rare", "--json"]
    monkeypatch.setattr(sys, "argv", ["sslmask", *words, "--runs", str(work / "runs"), "--name", "asked"])
    with pytest.raises(SystemExit) as left:
        main()
    answer = json.loads(capsys.readouterr().out)
    assert not left.value.code and answer["table"] == str(work / "runs/asked/acquire.csv") and answer["groups"] == 3
