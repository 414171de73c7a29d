"""What is removed is gone as a whole; what another builds on, or a process works on, stays. Runs are made by hand."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_records import best_score, data_record, run_status, selection_record
from test_exported import GRAPH, RECORD, RUN

from ssl_mask.config import RunConfig, load_config, to_yaml
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError, InputError, Interrupted
from ssl_mask.files import hidden_beside, holding, write_json, write_text
from ssl_mask.runs.create import create_run
from ssl_mask.runs.exported import write_exported
from ssl_mask.runs.find import list_runs
from ssl_mask.runs.gallery import GalleryPart, GalleryRecord, list_galleries
from ssl_mask.runs.garbage import find_garbage, remove_garbage
from ssl_mask.runs.listing import list_entries
from ssl_mask.runs.removal import find_entries, in_order, remove, size_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import sealed
from ssl_mask.runs.study import create_study
from ssl_mask.runs.uses import builds_on, users_of

Make = Callable[..., RunDir]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return Path("runs")


@pytest.fixture
def make(runs: Path) -> Make:
    """A finished run in the folder; keyword arguments are sections of its configuration, `status` is of run.json."""

    def make(name: str, *, status: dict[str, Any] | None = None, **sections: Any) -> RunDir:
        run = RunDir(runs / name)
        write_text(run.config_file, to_yaml(load_config(sections, preset="laptop")))
        write_text(run.last, "state" * 100)
        write_text(run.best, "weights")
        write_text(run.card, "# card")
        fields = {"status": "finished", "best": best_score(), "step": 4, **(status or {})}
        write_json(run.status_file, run_status(**fields).to_json())
        return run

    return make


def make_gallery(path: Path, source: Path) -> None:
    part = GalleryPart(
        number=0, name="", classes=(), images=5, data="", code="1", checked=True, leakage="clean", leakage_reason="",
        marks={},
    )  # fmt: skip
    record = GalleryRecord.model_validate({
        "source": str(source), "members": [{"run": str(source), "checkpoint_sha256": "0" * 64, "width": 4}],
        "base": LabelSchema((Factor("kind", ("a", "b")),)), "base_submission": Submission("id", ("kind",), "names"),
        "k": 3, "temperature": 0.1, "parts": [part], "images": 5, "rows_sha256": "0" * 64, "seen_file": None,
        "validation_sha256": None, "leakage": "clean",
    })  # fmt: skip
    write_json(path / "gallery.json", sealed(record.to_json()))


def study_at(path: Path, settings: dict[str, Any], config: RunConfig | None = None) -> None:
    create_study(path, "train", "folds", config or RunConfig(), settings)


# ---- who builds on whom ----


def by_ancestor(make: Make, base: RunDir) -> None:
    make("user", status={"ancestors": (str(base.path.absolute()), "unknown")})


def by_start(make: Make, base: RunDir) -> None:
    make("user", init_from=base.name)


def by_weights(make: Make, base: RunDir) -> None:
    make("user", model={"weights": str(base.best)})


def by_pseudo_labels(make: Make, base: RunDir) -> None:
    table = {"table": str(base.path / "rounds/01/pseudo_labels.csv"), "images": 1, "sha256": "ab"}
    make("user", status={"data": data_record(pseudo=table)})


def by_teacher(make: Make, base: RunDir) -> None:
    make("user", pseudo={"teachers": [base.name], "rounds": 1})


def by_selection(make: Make, base: RunDir) -> None:
    inside = make("user/rounds/01")
    make("user")
    record = selection_record(teachers=[{"run": f"runs/{base.name}/fold-0", "checkpoint_sha256": "aa"}])
    write_json(inside.selection, sealed(record.to_json()))


def by_settings_of_a_factor(make: Make, base: RunDir) -> None:
    make("user", factors={"mask": {"init_from": base.name}})


def by_a_member_of_a_study(make: Make, base: RunDir) -> None:
    study_at(Path("runs/user"), {"folds": 2, "repeats": 1, "refit": False})
    make("user/fold-0", init_from=str(base.path))


def by_round_zero(make: Make, base: RunDir) -> None:  # noqa: ARG001
    study_at(Path("runs/user"), {"folds": 2, "rounds": 1, "round_zero": str(base.path)})


def by_gallery(make: Make, base: RunDir) -> None:  # noqa: ARG001
    make_gallery(Path("runs/user"), base.path.absolute() / "refit")


def by_corrections(make: Make, base: RunDir) -> None:
    make("user", data={"corrections": str(base.path / "corrections.csv")})


def by_a_path_of_before_a_move(make: Make, base: RunDir) -> None:
    make("user", status={"ancestors": (f"/gone/elsewhere/{base.name}/fold-0",)})


WAYS = [by_ancestor, by_start, by_weights, by_pseudo_labels, by_teacher, by_selection, by_settings_of_a_factor,
        by_a_member_of_a_study, by_round_zero, by_gallery, by_corrections, by_a_path_of_before_a_move]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_what_another_one_builds_on_stays(runs: Path, make: Make, way: Callable[[Make, RunDir], None]) -> None:
    base, other = make("base"), make("other")
    way(make, base)
    assert builds_on(runs)["user"] == {"base"} and users_of("base", builds_on(runs)) == ["user"]
    with pytest.raises(InputError, match="base stays: user builds on it") as refused:
        in_order(find_entries(["base", "other"], runs), runs)
    assert refused.value.hint == "Remove both: sslmask runs rm user base"
    assert in_order([other.path], runs) == [other.path]
    both = find_entries(["base", "user"], runs)
    assert [path.name for path in in_order(both, runs)] == ["user", "base"]  # the one that needs it goes first


@pytest.mark.parametrize("place", ["model.onnx", "runs/model.onnx", "runs/other/export/model.onnx"])
def test_what_an_exported_network_was_made_from_stays(runs: Path, make: Make, place: str) -> None:
    base = make("base")
    make("other")
    source = {**RECORD["source"], "source": str(base.path.absolute()), "runs": ({**RUN, "run": "x"},)}
    write_exported(Path(place), GRAPH, {**RECORD, "source": source})
    user = "other" if "other" in place else place
    with pytest.raises(InputError, match=f"base stays: {user} builds on it"):
        in_order([base.path], runs)
    Path(place).unlink()
    (base.path / "export").mkdir()
    write_exported(base.path / "export/model.onnx", GRAPH, {**RECORD, "source": source})  # goes with it
    assert in_order([base.path], runs) == [base.path]


def test_a_name_of_a_setting_is_no_run(runs: Path, make: Make) -> None:
    make("laptop")
    make("none")
    make("user", model={"weights": "none"})
    assert builds_on(runs)["user"] == set()


def test_where_a_record_is_damaged_nothing_else_is_removed(runs: Path, make: Make) -> None:
    base, bad = make("base"), make("bad")
    bad.status_file.write_text("{")
    with pytest.raises(DataError, match=r"bad/run\.json.* nobody knows what bad builds on") as refused:
        in_order([base.path], runs)
    assert refused.value.hint.endswith("sslmask runs rm bad")
    assert in_order([bad.path], runs) == [bad.path]  # the damaged one may go itself


# ---- what can be named ----


def test_entries_are_found_by_name_and_by_path_once(runs: Path, make: Make) -> None:
    make("a")
    make_gallery(runs / "g", runs / "a")
    assert find_entries(["a", "runs/a", str(Path("runs/a").absolute()), "g"], runs) == [runs / "a", runs / "g"]


@pytest.mark.parametrize("name", ["fold-0", "s", "", ".", "..", "../runs", "notes", "latest", "/etc"])
def test_what_is_no_entry_is_refused(runs: Path, make: Make, name: str, tmp_path: Path) -> None:
    make("study/fold-0")
    study_at(runs / "study", {"folds": 2})
    (runs / "notes").mkdir()
    with pytest.raises(InputError):
        find_entries([name], runs)
    assert tmp_path.is_dir()


def test_a_part_of_a_study_is_refused_and_so_is_a_link(runs: Path, make: Make) -> None:
    study_at(runs / "study", {"folds": 2})
    make("study/fold-0")
    with pytest.raises(InputError, match=r"study/fold-0 is a part of runs/study"):
        find_entries(["study/fold-0"], runs)
    (runs / "linked").symlink_to(Path("runs/study").absolute())
    with pytest.raises(InputError, match="runs/linked is a link"):
        find_entries(["linked"], runs)


# ---- removing ----


def test_what_is_removed_is_gone(runs: Path, make: Make) -> None:
    a, b = make("a"), make("b")
    make("c")
    remove([a.path, b.path])
    assert [p.name for p in runs.iterdir()] == ["c"]


@pytest.mark.parametrize("lock", [".lock", "rounds/.lock", "trials/.000.lock", "fold-1/.lock"])
def test_what_a_process_works_on_stays_and_so_does_what_was_named_with_it(runs: Path, make: Make, lock: str) -> None:
    a, b = make("a"), make("b")
    (b.path / lock).parent.mkdir(exist_ok=True)
    with holding(b.path / lock) as free:
        assert free
        with pytest.raises(DataError, match="Another process is working on"):
            remove([a.path, b.path])
    assert a.status().status == b.status().status == "finished"
    remove([a.path, b.path])
    assert not any(runs.iterdir())


def removed_and_killed(path: Path, after: int) -> None:
    """As by kill -9 when `after` files are deleted: not even a `finally` runs."""
    unlink, count = os.unlink, 0

    def counted(*arguments: Any, **options: Any) -> None:
        nonlocal count
        if count == after:
            os._exit(9)
        count += 1
        unlink(*arguments, **options)

    os.unlink = counted  # type: ignore[assignment]
    remove([path])


@pytest.mark.parametrize("after", range(4))
def test_a_kill_in_the_middle_leaves_nothing_that_looks_like_a_run(runs: Path, make: Make, after: int) -> None:
    make("a")
    make_gallery(runs / "g", runs / "a")
    study_at(runs / "s", {"folds": 2})
    make("s/fold-0")
    make("s/fold-1")
    for name in ("a", "s", "g")[: 3 if after < 2 else 2]:
        process = multiprocessing.get_context("fork").Process(target=removed_and_killed, args=(runs / name, after))
        process.start()
        process.join(30)
        assert process.exitcode == 9
        assert not (runs / name).exists()
    names = {entry.name for entry in list_entries(runs)}
    assert names == (set() if after < 2 else {"g"})
    assert list_runs(runs) == [] and len(list_galleries(runs)) == len(names)
    create_run(RunConfig(runs=runs, name="a"), "train", lambda run: {"steps": 1})  # noqa: ARG005
    assert sorted(p.name for p in runs.iterdir() if p.name != ".new.lock") == sorted({"a", *names})


def test_an_interruption_says_what_is_left(runs: Path, make: Make) -> None:
    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    make("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(Interrupted, match="what was named is gone; some of its files are left") as stopped:
            remove([runs / "a"])
    assert stopped.value.hint == "Remove the rest: sslmask runs gc"
    (found,) = find_garbage(runs)
    assert found.why == "left by processes that were killed"
    assert remove_garbage([found], runs) == found.bytes > 500
    assert not any(runs.iterdir())


def test_sizes_are_those_of_files_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "big").write_bytes(bytes(10_000))
    (tmp_path / "a/one").write_bytes(bytes(100))
    (tmp_path / "a/b/two").write_bytes(bytes(11))
    (tmp_path / "a/link").symlink_to(tmp_path / "big")
    assert size_of(tmp_path / "a") == 111 + len(str(tmp_path / "big"))
    assert size_of(tmp_path / "a/one", tmp_path / "a/b") == 111


# ---- garbage ----


def whys(runs: Path) -> dict[str, str]:
    return {one.name: one.why for one in find_garbage(runs)}


def test_failed_and_unbegun_runs_may_go_and_what_can_be_continued_stays(runs: Path, make: Make) -> None:
    make("failed", status={"status": "failed", "failure": "The loss is nan."})
    make("needed", status={"status": "failed", "failure": "The loss is nan."})
    make("user", init_from="needed").last.unlink()
    make("interrupted", status={"status": "interrupted"})
    for name in ("unbegun", "pseudo"):
        run = make(name, status={"status": "running", "step": 0, "best": None})
        run.last.unlink()
        run.best.unlink()
    (runs / "pseudo/rounds").mkdir()  # its rounds can be continued
    assert whys(runs) == {"failed": "failed: The loss is nan.", "unbegun": "was killed before its first save"}
    found = find_garbage(runs)
    assert [one.name for one in found] == ["failed", "unbegun"]  # the largest first
    assert remove_garbage(found, runs) == sum(one.bytes for one in found)
    assert whys(runs) == {} and not (runs / "failed").exists() and (runs / "needed/run.json").is_file()


def test_saved_states_of_what_is_finished_may_go_alone(runs: Path, make: Make) -> None:
    done = make("done")
    study_at(runs / "begun", {"folds": 2})
    make("begun/fold-0")
    make("user", init_from="done", status={"status": "interrupted"})
    (found,) = find_garbage(runs)
    assert (found.name, found.paths, found.bytes) == ("done", (done.last,), 500)
    remove_garbage([found], runs)
    assert not done.last.exists() and done.best.is_file() and done.status().status == "finished"
    assert (runs / "begun/fold-0/checkpoints/last.state").is_file()


def test_what_a_process_works_on_is_no_garbage(runs: Path, make: Make) -> None:
    run = make("failed", status={"status": "failed", "failure": "x"})
    found = find_garbage(runs)
    with holding(run.path / ".lock"):
        assert find_garbage(runs) == []
        assert remove_garbage(found, runs) == 0
    assert run.status_file.is_file()


def test_what_is_found_is_looked_at_again_before_it_goes(runs: Path, make: Make) -> None:
    """While the user reads the question, somebody builds on it."""
    make("failed", status={"status": "failed", "failure": "x"})
    found = find_garbage(runs)
    make("user", init_from="failed").last.unlink()
    assert remove_garbage(found, runs) == 0
    assert (runs / "failed/run.json").is_file()


def test_remains_of_killed_writers_go(runs: Path, make: Make) -> None:
    run = make("a", status={"status": "interrupted"})
    inside, outside = hidden_beside(run.best), hidden_beside(runs / "b")
    inside.write_text("half")
    shutil.copytree(run.path, outside)
    mine = runs / ".notes.tmp"
    mine.write_text("of the user")
    assert {one.name for one in find_garbage(runs)} == {"a", "."}
    remove_garbage(find_garbage(runs), runs)
    assert not inside.exists() and not outside.exists() and mine.exists() and run.last.is_file()
