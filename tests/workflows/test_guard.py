"""The guard inside the workflows: what is refused, and how a mark travels from pool to score."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from ssl_mask.cli.app import main
from ssl_mask.config import RunConfig, resolve
from ssl_mask.data import cache, digests
from ssl_mask.data.digests import FileRead, read_file
from ssl_mask.errors import ConfigError, IncompleteError, MismatchError, OverlapError, UndeclaredError
from ssl_mask.guard import ahead, gate
from ssl_mask.guard.copies import describe
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.view import Run
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]
ON: dict[str, Any] = {"mode": "on"}
DECLARED = {**ON, "transductive": True, "reason": "the organisers, for a talk", "allowed_by": "section 4 of the rules"}
UDA = {"name": "uda", "threshold": 0.2, "mu": 1}


@pytest.fixture
def clean_extra(faces: Path) -> Path:
    """The drawn data set without the eval photos that are planted among its extra ones."""
    truth = json.loads((faces / "truth.json").read_text())
    for leak in truth["leaked_extra"]:
        (faces / "extra" / leak["extra"]).unlink()
    return faces


def run_of(config: RunConfig) -> Run:
    run = train(config, quiet=True)
    assert run is not None
    return run


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sslmask", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_eval_photos_as_the_pool_stop_with_exit_code_4(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["uda", "--data", str(drawn), "--unlabeled", str(drawn / "eval/images"), "--runs", str(tmp_path / "runs")]
    words += ["--set", "preset=none", "--set", "model.backbone=test_efficientnet", "--set", "model.weights=none"]
    code = call(monkeypatch, *words, "--set", "model.image_size=32", "--set", "data.folds=2", "--steps", "2")
    said = capsys.readouterr().err
    assert code == 4
    assert "unlabeled overlaps test (42 bytes)" in said
    assert "--drop-overlap" in said and "--transductive --reason" in said and "Traceback" not in said
    assert not list((tmp_path / "runs").glob("*/run.json"))


def test_a_first_training_reads_each_image_once(
    clean_extra: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()

    def counted(path: Path) -> FileRead:
        read[path.relative_to(clean_extra).parts[0]] += 1
        return read_file(path)

    monkeypatch.setattr(digests, "_RACY_NS", -1_000_000_000)  # files written a moment ago count as old
    for module in (cache, describe):
        monkeypatch.setattr(module, "read_file", counted)
    for module in (ahead, gate):
        monkeypatch.setattr(module, "cores", lambda: 1)  # what another process reads is not counted
    data = {"root": str(clean_extra), "unlabeled": ["extra"], "cache": str(tmp_path / "cache")}
    run_of(tiny(guard={**ON, "cards": str(tmp_path / "cards")}, data=data, algorithm=UDA))
    there = Counter(p.relative_to(clean_extra).parts[0] for p in clean_extra.rglob("*.jpg"))
    assert read == {name: there[name] for name in ("train", "eval", "extra")}


def test_a_hidden_flipped_and_reencoded_copy_is_caught(clean_extra: Path, tiny: Tiny) -> None:
    photo = cv2.imread(str(next((clean_extra / "eval/images").iterdir())))
    cv2.imwrite(str(clean_extra / "extra/holiday.png"), cv2.flip(photo, 1))
    asked: dict[str, Any] = {"data": {"root": str(clean_extra), "unlabeled": ["extra"]}, "algorithm": UDA}
    with pytest.raises(UndeclaredError, match=r"holiday\.png"):
        train(tiny(guard=ON, **asked), quiet=True)
    run = run_of(tiny(guard={**ON, "drop_overlap": True}, **asked))
    used = {r["path"]: r["use"] for r in csv.DictReader((run.path / "unlabeled.csv").read_text().splitlines())}
    assert "overlaps" in used["holiday.png"]
    assert sum("left out" in use for use in used.values()) == 1


@pytest.mark.slow
def test_the_mark_of_declared_test_photos_reaches_every_file_and_score(drawn: Path, tiny: Tiny, tmp_path: Path) -> None:
    """Pool, two pseudo rounds, a run from their weights, an ensemble with a clean run, and a later prediction."""
    asked: dict[str, Any] = {"data": {"root": str(drawn), "unlabeled": ["eval/images"]}, "guard": DECLARED}
    series = pseudo(
        tiny(name="rounds", **asked, pseudo={"rounds": 2, "rule": "threshold", "threshold": 0.0, "labels": "soft"}),
        quiet=True,
    )
    clean = run_of(tiny(name="clean", guard=ON, train={"steps": 3}))
    heir = run_of(tiny(name="heir", guard=ON, init_from=str(series.path / "rounds/02"), train={"steps": 3}))
    for run in (series.path / "rounds/01", series.path / "rounds/02", heir.path):
        assert "transductive-test" in json.loads((run / "run.json").read_text())["leakage"], run
        assert "trained on test images" in (run / "run_card.md").read_text()
    assert "section 4 of the rules" in (series.path / "rounds/01/run_card.md").read_text()
    assert clean.status.leakage == "photos-clean"  # these test images name no persons
    for members in (["rounds/rounds/02"], ["heir"], ["clean", "heir"]):
        made = predict(members, runs_folder=tmp_path / "runs", quiet=True)
        scores = evaluate(drawn / "eval_answers.csv", made.path, read_metadata(clean.dir.best).label_schema)
        assert scores.leakage.status == "transductive-test", members
        assert len(scores.leakage.overlap) == len(made.manifest)
    alone = predict(["clean"], runs_folder=tmp_path / "runs", quiet=True)
    assert (
        evaluate(drawn / "eval_answers.csv", alone.path, read_metadata(clean.dir.best).label_schema).leakage.overlap
        == {}
    )


def test_a_new_pool_with_training_photos_in_it_is_reported(clean_extra: Path, tiny: Tiny, tmp_path: Path) -> None:
    run = run_of(tiny(guard=ON, data={"root": str(clean_extra)}))
    new = tmp_path / "new"
    new.mkdir()
    answers = [["image", "ans"]]
    fresh = sorted((clean_extra / "extra").iterdir())[:6]
    trained = [clean_extra / r["path"] for r in rows(run) if r["split"] == "train"][:4]
    for number, photo in enumerate([*fresh, *trained]):
        picture = cv2.imread(str(photo))
        cv2.imwrite(str(new / f"{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 70])
        answers.append([f"{number}.jpg", str(number % 3)])
    with (tmp_path / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows(answers)
    made = predict([run.path], images=new, quiet=True)
    scores = evaluate(tmp_path / "answers.csv", made.path, read_metadata(run.dir.best).label_schema)
    assert scores.leakage.status == "leaked-declared"
    assert sorted(scores.leakage.overlap) == [f"{i}.jpg" for i in range(6, 10)]
    assert all("trained on with its label" in how for how in scores.leakage.overlap.values())
    assert scores.new_images is not None and scores.new_images[0] == 6
    number = [int(Path(r.path).stem) for r in made.manifest.rows]
    right = [made.probs[i].argmax() == n % 3 for i, n in enumerate(number) if n < 6]
    assert scores.new_images[2].value == pytest.approx(sum(right) / 6)


def rows(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader((run.path / "manifest.csv").read_text().splitlines()))


def test_a_run_without_its_photos_knows_copies_as_review_and_says_so(
    clean_extra: Path, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where it was handed on: neither the cache nor the training photos are there."""
    cache = tmp_path / "cache"
    run = run_of(tiny(guard=ON, data={"root": str(clean_extra), "cache": str(cache)}))
    trained = [clean_extra / r["path"] for r in rows(run) if r["split"] == "train"][:4]
    new = tmp_path / "new"
    new.mkdir()
    for number, photo in enumerate(trained):
        cv2.imwrite(str(new / f"{number}.jpg"), cv2.imread(str(photo)), [cv2.IMWRITE_JPEG_QUALITY, 70])
    shutil.copy(next((clean_extra / "extra").iterdir()), new / "fresh.jpg")

    def predicted() -> tuple[str, dict[str, Any]]:
        made = predict([run.path], images=new)
        found = json.loads(made.path.with_name("predictions.provenance.json").read_text())["leakage"]
        return " ".join(capsys.readouterr().out.split()), found

    shutil.rmtree(clean_extra / "train")
    _, found = predicted()
    copies = {f"{number}.jpg" for number in range(4)}
    assert found["overlap"].keys() == copies and found["review"] == {}  # the cache knows the pictures
    shutil.rmtree(cache)
    said, found = predicted()
    assert (found["verdict"], found["overlap"], found["review"].keys()) == ("not-checked", {}, copies)
    assert "not-checked (4 images may be copies of images that were seen in training" in said and "(review)" in said


def test_whatever_has_changed_since_is_refused(faces: Path, tiny: Tiny, tmp_path: Path) -> None:
    run = run_of(tiny(guard=ON, data={"root": str(faces)}))
    made = predict([run.path], quiet=True)
    answers, schema = faces / "eval_answers.csv", read_metadata(run.dir.best).label_schema
    evaluate(answers, made.path, schema)

    before = made.path.read_bytes()
    made.path.write_bytes(before + b"\n")
    with pytest.raises(MismatchError, match="changed since it was predicted"):
        evaluate(answers, made.path, schema)
    made.path.write_bytes(before)

    photo = next((faces / "eval/images").iterdir())
    kept = photo.read_bytes()
    cv2.imwrite(str(photo), cv2.imread(str(photo)))
    with pytest.raises(MismatchError, match="not those that were predicted"):
        evaluate(answers, made.path, schema)
    photo.write_bytes(kept)

    seen = run.dir.seen("train")
    shutil.copy(seen, tmp_path / "seen")
    seen.write_bytes(seen.read_bytes() + b"\0")
    with pytest.raises(MismatchError, match=r"seen-train\.npz"):
        predict([run.path], quiet=True)
    shutil.copy(tmp_path / "seen", seen)
    evaluate(answers, made.path, schema)

    shutil.copy(run_of(tiny(guard=ON, seed=5, data={"root": str(faces)})).dir.best, run.dir.best)
    with pytest.raises(MismatchError, match="changed since it predicted"):
        evaluate(answers, made.path, schema)


def test_off_means_not_checked_downstream(drawn: Path, tiny: Tiny, tmp_path: Path) -> None:
    run_of(tiny(name="off", train={"steps": 3}))
    heir = run_of(tiny(name="heir", guard=ON, init_from="off", train={"steps": 3}))
    assert set(heir.status.marks.values()) == {"not-checked"}
    assert "trained with the guard off" in (heir.path / "run_card.md").read_text()
    made = predict(["heir"], runs_folder=tmp_path / "runs", quiet=True)
    scores = evaluate(drawn / "eval_answers.csv", made.path, read_metadata(heir.dir.best).label_schema)
    assert scores.leakage.status == "not-checked"
    assert "its guard was off" in " ".join(scores.leakage.why)


def test_pseudo_labels_of_unknown_origin_are_never_clean(clean_extra: Path, tiny: Tiny, tmp_path: Path) -> None:
    """Whoever made them may have seen the test photos: a copied table must not wash that away."""
    (clean_extra / "eval/info.csv").unlink()  # without test photos, whose persons are not named, marks can be clean
    data = {"root": str(clean_extra), "labeled_groups": 4, "min_groups": 1}
    asked: dict[str, Any] = {"data": data, "guard": ON}
    series = pseudo(tiny(**asked, pseudo={"rounds": 1, "rule": "threshold", "threshold": 0.0}), quiet=True)
    made = series.path / "rounds/01"
    shutil.copy(made / "pseudo_labels.csv", tmp_path / "found.csv")
    marks = [set(json.loads((made / "run.json").read_text())["marks"].values())]
    copied = run_of(tiny(guard=ON, data={**data, "pseudo_labels": str(tmp_path / "found.csv")}))
    marks.append(set(copied.status.marks.values()))
    assert marks == [{"clean"}, {"not-checked"}]
    assert copied.status.ancestors == ("unknown",) and copied.status.seen is None
    assert "nobody knows which run made the pseudo-labels" in copied.status.leakage_reason
    assert "nobody knows where its weights or its pseudo-labels come from" in (copied.path / "run_card.md").read_text()


def test_a_training_photo_among_the_protected_ones_is_refused(faces: Path, tiny: Tiny) -> None:
    photo = next((faces / "train/images").rglob("normal.jpg"))
    shutil.copy(photo, faces / "eval/images/secret.jpg")
    with (faces / "eval/info.csv").open("a") as table:
        table.write("secret.jpg,0\n")
    with pytest.raises(OverlapError, match=r"secret\.jpg") as refused:
        train(tiny(guard=ON, data={"root": str(faces)}), quiet=True)
    assert refused.value.exit_code == 3
    (faces / "allow.csv").write_text(
        f"first,second,reason\neval/images/secret.jpg,{photo.relative_to(faces).as_posix()},a planted copy\n"
    )
    run = run_of(tiny(guard={**ON, "allow": str(faces / "allow.csv")}, data={"root": str(faces)}))
    assert "leaked-declared" in run.status.marks.values()
    dropped = run_of(tiny(guard={**ON, "drop_overlap": True}, data={"root": str(faces)}))
    assert dropped.status.data.train_images + dropped.status.data.val_images == 83


def test_an_unreadable_test_image_makes_the_check_incomplete(faces: Path, tiny: Tiny) -> None:
    next((faces / "eval/images").iterdir()).write_bytes(b"no image")
    with pytest.raises(IncompleteError, match="Check incomplete") as refused:
        train(tiny(guard=ON, data={"root": str(faces)}), quiet=True)
    assert refused.value.exit_code == 6


def test_cards_stand_in_the_run_and_in_the_working_folder(drawn: Path, tiny: Tiny, tmp_path: Path) -> None:
    run = run_of(tiny(guard=ON, data={"root": str(drawn)}, runs=str(tmp_path / "deep/down/runs")))
    for folder in (run.path / "data_cards", tmp_path / "data_cards"):
        assert {p.name for p in folder.glob("*.md")} == {"train.md", "val.md", "test.md"}
    found = json.loads((run.path / "data_cards/findings.json").read_text())
    assert {p["role"] for p in found["findings"]["pools"]} == {"train", "val", "test"}


def test_declaring_needs_words() -> None:
    with pytest.raises(ConfigError, match="--reason"):
        resolve([{"preset": "none", "guard": {"transductive": True}}], has_gpu=lambda: False)
