"""The drawn demo: layout, known truth, planted faults, and that it is drawn whole or not at all."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ssl_mask.config import RunConfig
from ssl_mask.demo_data import draw as demo
from ssl_mask.demo_data import plan as demo_plan
from ssl_mask.demo_data.avatar import make_look
from ssl_mask.demo_data.draw import DemoSummary, draw_demo
from ssl_mask.demo_data.photo import CROP, take_photo
from ssl_mask.errors import DataError, StorageError
from ssl_mask.workflows import demo as workflow

PERSONS, SEED = 24, 2  # a seed whose one label error swaps two files
FILES = {*(f"mask{i}.jpg" for i in range(1, 6)), "incorrect_mask.jpg", "normal.jpg"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return draw_demo(tmp_path_factory.mktemp("demo") / "deep" / "demo", persons=PERSONS, seed=SEED)


@pytest.fixture(scope="module")
def truth(summary: DemoSummary) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((summary.root / "truth.json").read_text(encoding="utf-8"))
    return loaded


def test_layout_and_counts(summary: DemoSummary, truth: dict[str, Any]) -> None:
    root = summary.root
    assert {p.name for p in root.iterdir()} == {"train", "eval", "extra", "eval_answers.csv", "truth.json"}
    train = rows_of(root / "train/train.csv")
    assert list(train[0]) == ["id", "gender", "race", "age", "path"]
    assert [row["id"] for row in train] == [f"{i:06d}" for i in range(1, PERSONS + 1)]
    assert {p.name for p in (root / "train/images").iterdir()} == {row["path"] for row in train}
    for row in train:
        assert row["path"] == f"{row['id']}_{row['gender']}_Drawn_{row['age']}" and row["race"] == "Drawn"
        assert {p.name for p in (root / "train/images" / row["path"]).iterdir()} == FILES
    info, answers = rows_of(root / "eval/info.csv"), rows_of(root / "eval_answers.csv")
    assert {row["ans"] for row in info} == {"0"}
    assert [row["ImageID"] for row in info] == [row["ImageID"] for row in answers]
    names = {p.name for p in (root / "eval/images").iterdir()}
    assert names == {row["ImageID"] for row in info} and len(names) == len(info) == 7 * PERSONS // 3
    extra = {p.name for p in (root / "extra").iterdir()}
    assert extra == set(truth["extra_answers"]) and not extra & names
    assert summary == DemoSummary(root, PERSONS, 7 * PERSONS, len(info), len(extra), 1, len(truth["leaked_extra"]))
    assert abs(len(extra) - 4 * PERSONS) < 10 and len(truth["leaked_extra"]) / len(extra) < 0.08


def test_rows_of_the_evaluation_are_shuffled(summary: DemoSummary, truth: dict[str, Any]) -> None:
    persons = [truth["eval_persons"][row["ImageID"]] for row in rows_of(summary.root / "eval/info.csv")]
    assert persons != sorted(persons) and set(np.bincount(persons)) == {0, 7}
    names = [row["ImageID"] for row in rows_of(summary.root / "eval/info.csv")]
    assert names != sorted(names)


def test_images_are_160_pixel_jpegs_and_all_differ(summary: DemoSummary, truth: dict[str, Any]) -> None:
    files = [p for p in summary.root.rglob("*.jpg") if p.name not in {leak["extra"] for leak in truth["leaked_extra"]}]
    assert all(cv2.imread(str(p)).shape == (160, 160, 3) for p in files)
    assert len({p.read_bytes() for p in files}) == len(files)


def test_classes_follow_from_the_table_once_label_errors_are_undone(
    summary: DemoSummary, truth: dict[str, Any]
) -> None:
    errors = {error["path"]: error for error in truth["label_errors"]}
    assert len(errors) == 1
    wrong = 0
    for row in rows_of(summary.root / "train/train.csv"):
        undone = errors.get(row["path"], {"fields": [], "true": {}})
        fixed = {**row, **{field: str(undone["true"][field]) for field in undone["fields"] if field != "mask"}}
        for name in FILES:
            shown = undone["true"][name] if "mask" in undone["fields"] and name in undone["true"] else Path(name).stem
            mask = {"incorrect_mask": 1, "normal": 2}.get(shown, 0)
            cells = [18, 30, 60, 80]
            band = next(i for i in range(3) if cells[i] <= int(fixed["age"]) < cells[i + 1])
            answer = mask * 6 + ["male", "female"].index(fixed["gender"]) * 3 + band
            assert truth["train_answers"][f"{row['path']}/{name}"] == answer
            wrong += shown != Path(name).stem
    assert wrong == 2  # the fixture's seed swaps two files, so the loop above has tested it


def test_swapped_files_show_what_the_truth_says(summary: DemoSummary, truth: dict[str, Any]) -> None:
    """The lower face: a cloth shows no mouth, so the file called normal must not be the one that is `normal`."""
    (error,) = truth["label_errors"]
    rows = rows_of(summary.root / "train/train.csv")
    number = next(int(row["id"]) for row in rows if row["path"] == error["path"])
    row = rows[number - 1]
    look = make_look(demo_plan.seeded(SEED, 0, number), squarish=row["gender"] == "female", age=int(row["age"]))
    for name, shot, state in (("incorrect_mask.jpg", 6, 2), ("normal.jpg", 5, 1)):
        redrawn = take_photo(look, state, demo_plan.seeded(SEED, 0, number, 1 + shot))
        assert (summary.root / "train/images" / error["path"] / name).read_bytes() == redrawn


@pytest.mark.parametrize("persons", [12, 13, 24, 30, 60, 101])
def test_every_class_has_two_rightly_labeled_persons(persons: int) -> None:
    for seed in range(5):
        plan = demo_plan.make_plan(persons, seed)
        wrong = {error["path"] for error in plan.truth["label_errors"]}
        people: dict[int, set[str]] = {}
        for file, answer in plan.truth["train_answers"].items():
            path = file.partition("/")[0]
            if path not in wrong:
                people.setdefault(answer, set()).add(path)
        assert sorted(people) == list(range(18)) and min(len(p) for p in people.values()) >= 2
        assert set(plan.eval_answers.values()) == set(range(18))
        old = {row["id"] for row in plan.train_rows if int(row["age"]) >= 60}
        assert len(old) <= max(4, 0.12 * persons) + 2


@pytest.mark.parametrize("persons", [30, 60, 100])
def test_label_errors_of_each_kind(persons: int) -> None:
    plan = demo_plan.make_plan(persons, seed=3)
    errors, rows = plan.truth["label_errors"], {row["path"]: row for row in plan.train_rows}
    assert {error["fields"][0] for error in errors} == {"gender", "age", "mask"}
    assert len(errors) == len({error["id"] for error in errors}) == max(3, round(0.04 * persons))
    for error in errors:
        said, field = rows[error["path"]], error["fields"][0]
        if field == "gender":
            assert said["gender"] != error["true"]["gender"]
        elif field == "age":
            assert np.digitize(int(said["age"]), [30, 60]) != np.digitize(error["true"]["age"], [30, 60])
        else:
            assert error["true"] == {"incorrect_mask.jpg": "normal", "normal.jpg": "incorrect_mask"}


def test_persons_are_disjoint(truth: dict[str, Any]) -> None:
    train = set(range(1, PERSONS + 1))
    evals = set(truth["eval_persons"].values())
    leaked = {leak["extra"] for leak in truth["leaked_extra"]}
    extra = {person for name, person in truth["extra_persons"].items() if name not in leaked}
    assert len(evals) == PERSONS // 3 and len(extra) == round(PERSONS * 4 / 7)
    assert not train & evals and not train & extra and not evals & extra
    plan = demo_plan.make_plan(PERSONS, SEED)
    looks = {make_look(demo_plan.seeded(SEED, p.role, p.number), squarish=False, age=30) for p in people_of(plan)}
    assert len(looks) == len(train) + len(evals) + len(extra)


def people_of(plan: demo_plan.Plan) -> set[demo_plan.Person]:
    return {photo.person for photo in plan.photos}


def grey(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(np.asarray(image), (160, 160), interpolation=cv2.INTER_AREA).astype(np.float32)


def standardised(images: list[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows of zero mean and unit length from 160 x 160 images, at 40 x 40: their products are correlations."""
    flat = np.stack([cv2.resize(image, (40, 40), interpolation=cv2.INTER_AREA).ravel() for image in images])
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_leaked_images_are_altered_copies_and_no_others_are(summary: DemoSummary, truth: dict[str, Any]) -> None:
    """Best correlation of an extra image, as it is and flipped, with each evaluation image, whole and cropped."""
    cut = round(CROP * 160)
    evals = list(truth["eval_persons"])
    whole = [grey(summary.root / "eval/images" / name) for name in evals]
    targets = [standardised(whole), standardised([image[cut:-cut, cut:-cut] for image in whole])]
    leaks = {leak["extra"]: leak for leak in truth["leaked_extra"]}
    for path in (summary.root / "extra").iterdir():
        image = grey(path)
        plain, flipped = (
            np.max([t @ standardised([i])[0] for t in targets], axis=0)
            for i in (image, np.ascontiguousarray(image[:, ::-1]))
        )
        if path.name in leaks:
            leak = leaks[path.name]
            original = evals.index(leak["eval"])
            undone = flipped if leak["alteration"] == "flip" else plain
            assert undone[original] > 0.97 and np.argmax(undone) == original
            assert path.read_bytes() != (summary.root / "eval/images" / leak["eval"]).read_bytes()
            assert truth["extra_answers"][path.name] == answer_of(summary.root, leak["eval"])
        else:
            assert max(plain.max(), flipped.max()) < 0.9


def answer_of(root: Path, name: str) -> int:
    return next(int(row["ans"]) for row in rows_of(root / "eval_answers.csv") if row["ImageID"] == name)


def test_every_alteration_is_planted() -> None:
    leaks = demo_plan.make_plan(60, 0).truth["leaked_extra"]
    assert {leak["alteration"] for leak in leaks} == {"reencode", "resize", "flip", "crop", "brighten"}
    assert len({leak["eval"] for leak in leaks}) == len(leaks) == 14


def test_same_seed_same_bytes_in_another_process(summary: DemoSummary, tmp_path: Path) -> None:
    code = (
        "import os, sys; os.cpu_count = lambda: 1\n"
        "from pathlib import Path; from ssl_mask.demo_data.draw import draw_demo\n"
        f"draw_demo(Path(sys.argv[1]), persons={PERSONS}, seed={SEED})"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again")], check=True, cwd=Path(demo.__file__).parents[2]
    )
    assert contents(tmp_path / "again") == contents(summary.root)


def test_another_seed_draws_other_pictures(summary: DemoSummary, tmp_path: Path) -> None:
    other = draw_demo(tmp_path / "other", persons=12, seed=SEED + 1)
    here = {p.read_bytes() for p in summary.root.rglob("*.jpg")}
    assert not here & {p.read_bytes() for p in other.root.rglob("*.jpg")}


def test_an_existing_demo_is_not_drawn_again(summary: DemoSummary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "take_photo", None)
    assert draw_demo(summary.root, persons=PERSONS, seed=SEED) == summary
    for persons, seed in ((PERSONS + 1, SEED), (PERSONS, SEED + 1)):
        with pytest.raises(DataError, match="another demo"):
            draw_demo(summary.root, persons=persons, seed=seed)


def test_an_existing_demo_with_missing_images_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_draw", lambda *_: b"jpeg")
    draw_demo(tmp_path, persons=12)  # an empty folder may be filled
    next((tmp_path / "extra").iterdir()).unlink()
    with pytest.raises(DataError, match="of its"):
        draw_demo(tmp_path, persons=12)


@pytest.mark.parametrize("name", ["notes.txt", "truth.json"])
def test_a_folder_with_other_content_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="holds no demo") as caught:
        draw_demo(tmp_path, persons=12)
    assert caught.value.hint and [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(DataError, match="is a file"):
        draw_demo(tmp_path / name, persons=12)


@pytest.mark.parametrize("exists", [False, True])
def test_a_kill_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    into = tmp_path / "demo"
    if exists:
        into.mkdir()

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_demo(into, persons=12, on_progress=stop)
    assert list(tmp_path.iterdir()) == ([into] if exists else []) and not list(into.glob("*"))


def test_leftovers_of_a_hard_kill_do_not_stand_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_draw", lambda *_: b"jpeg")
    (tmp_path / f"{demo.PARTIAL}left").mkdir()
    assert draw_demo(tmp_path, persons=12).train_persons == 12


def test_progress_counts_every_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_draw", lambda *_: b"jpeg")
    seen: list[tuple[int, int]] = []
    made = draw_demo(tmp_path / "demo", persons=12, on_progress=lambda *at: seen.append(at))
    total = made.train_images + made.eval_images + made.extra_images
    assert seen == [(i, total) for i in range(1, total + 1)]


def test_too_few_persons_or_a_negative_seed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 12 persons") as caught:
        draw_demo(tmp_path / "demo", persons=11)
    assert "--persons" in caught.value.hint
    with pytest.raises(DataError, match="seed is -1"):
        draw_demo(tmp_path / "demo", seed=-1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="could not be written"):
        draw_demo(tmp_path / "file" / "demo", persons=12)


def redraw(state: int, *, squarish: bool = False, age: int = 40) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One photo whose person and photo generators are always the same."""
    look = make_look(np.random.default_rng(1), squarish=squarish, age=age)
    image = cv2.imdecode(np.frombuffer(take_photo(look, state, np.random.default_rng(2)), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image, np.float64)


def test_each_cue_is_visible_in_its_own_place() -> None:
    """Changing one factor changes the picture where its cue is drawn, and hardly anything else."""
    base = redraw(2)
    for other, top, bottom in (
        (redraw(0), 55, 112),
        (redraw(2, squarish=True), 105, 160),
        (redraw(2, age=70), 100, 160),
    ):
        change = np.abs(other - base).mean(axis=2)
        assert change[top:bottom].max() > 40
        rest = np.delete(change, np.s_[top - 12 : bottom + 6], axis=0)
        assert rest.mean() < 6


def test_needs_no_network_on_a_machine_with_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset of such a machine downloads its backbone."""

    def asked(config: RunConfig, **_: Any) -> None:
        assert config.model.backbone == "embedded"
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(workflow, "train", asked)
    with pytest.raises(KeyboardInterrupt):
        workflow.demo(tmp_path / "demo", persons=12, quiet=True)
