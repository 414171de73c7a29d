"""`sslmask audit` and `sslmask card` on drawn photos with planted leaks, as a user runs them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_mask.cli.app import main
from ssl_mask.reports.verify_card import verify_card

Run = Callable[..., tuple[int, str, str]]
SETTINGS = ("--set", "data.folds=2", "--processes", "1")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `sslmask` in a folder, in this process: (exit code, stdout, stderr)."""

    def call(folder: Path, *words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        settings = SETTINGS if words[0] == "audit" else ()
        monkeypatch.setattr(sys, "argv", ["sslmask", *words, *settings])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(p.relative_to(folder)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "data_cards" not in p.parts
    }


def listed(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "data_cards/audit.json").read_text())


def test_a_data_set_without_leaks(run: Run, faces: Path) -> None:
    before = tree(faces)
    code, out, _ = run(faces, "audit")
    assert code == 0
    assert "train x val" in out and "within train" in out and "NOT CHECKED" in out  # eval names no persons
    content = report(faces)
    assert content["verdict"]["status"] == "photos-clean"
    assert {p["name"]: p["role"] for p in content["findings"]["pools"]} == {
        "test": "test",
        "val": "val",
        "train": "train",
    }
    assert tree(faces) == before
    for name in ("train", "val", "test"):
        code, out, _ = run(faces, "card", "verify", f"data_cards/{name}.json")
        assert code == 0 and "unchanged" in out


def test_planted_copies_in_the_unlabeled_pool_are_all_found(run: Run, faces: Path) -> None:
    truth = json.loads((faces / "truth.json").read_text())
    planted = {(f"eval/images/{c['eval']}", f"extra/{c['extra']}") for c in truth["leaked_extra"]}
    code, _, err = run(faces, "audit", "--unlabeled", "extra", "--drop-list", "drop.csv")
    assert code == 4
    assert "unlabeled overlaps test" in err and '--transductive --reason "…" --allowed-by "…"' in err
    found = {
        (p["first"], p["second"])
        for p in report(faces)["findings"]["pairs"]
        if (p["first_pool"], p["second_pool"]) == ("test", "unlabeled") and p["kind"] != "review"
    }
    assert found == planted
    rows = listed(faces / "drop.csv")
    assert {r["path"] for r in rows} == {extra for _, extra in planted}
    assert all(r["pool"] == "unlabeled" and "of test eval/images/" in r["reason"] for r in rows)
    for row in rows:
        (faces / row["path"]).unlink()
    assert run(faces, "audit", "-u", "extra")[0] == 0


def test_declared_transductive_use(run: Run, faces: Path) -> None:
    declared = ("--transductive", "--reason", "it is scored on", "--allowed-by", "7")
    code, out, _ = run(faces, "audit", "-u", "extra", *declared)
    assert code == 0 and "transductive-test" in out
    card = json.loads((faces / "data_cards/test.json").read_text())["predicate"]
    assert card["status"] == "transductive-test"
    assert card["declaration"] == {"reason": "it is scored on", "allowed_by": "7"}
    code, _, err = run(faces, "audit", "-u", "extra", "--transductive")
    assert code == 3 and "--reason" in err


@pytest.fixture
def leaky(faces: Path) -> Path:
    """An eval photo among the training photos."""
    person = sorted((faces / "train/images").iterdir())[0]
    shutil.copy(sorted((faces / "eval/images").iterdir())[0], person / "mask1.jpg")
    return faces


def test_labeled_overlap_is_refused_until_it_is_allowed(run: Run, leaky: Path) -> None:
    code, out, err = run(leaky, "audit", "--drop-list", "drop.csv")
    assert code == 3 and "overlaps test (1 bytes)" in err and "refused" in out
    pair = next(p for p in report(leaky)["findings"]["pairs"] if p["kind"] == "bytes")
    with Image.open(leaky / "data_cards/audit_pairs.png") as sheet:
        assert sheet.size[0] > 300
    assert [r["path"] for r in listed(leaky / "drop.csv")] == [pair["second"]]
    (leaky / "allow.csv").write_text(f"first,second,reason\n{pair['first']},{pair['second_sha256']},known since May\n")
    code, out, _ = run(leaky, "audit", "--allow", "allow.csv")
    assert code == 0 and "leaked-declared" in out
    assert "known since May" in (leaky / "data_cards/test.md").read_text()
    (leaky / "allow.csv").write_text(f"first,second,reason\n{pair['first']},{pair['second']},\n")
    code, _, err = run(leaky, "audit", "--allow", "allow.csv")
    assert code == 3 and "allow.csv:2" in err and "reason" in err


def test_unreadable_protected_images_make_the_check_incomplete(run: Run, faces: Path) -> None:
    photo = sorted((faces / "eval/images").iterdir())[3]
    photo.write_bytes(photo.read_bytes()[:700])
    code, out, err = run(faces, "audit")
    assert code == 6 and "Check incomplete: 1 of" in err and photo.name in err
    assert "test: scores on these 42 images are refused" in out and "val: scores on these" in out


def test_bad_files_of_every_kind_are_counted(run: Run, tmp_path: Path, drawn: Path) -> None:
    photos = sorted((drawn / "eval/images").iterdir())
    pool, test = tmp_path / "pool", tmp_path / "test"
    test.mkdir()
    shutil.copy(photos[0], test / "a.jpg")
    pool.mkdir()
    shutil.copy(photos[1], pool / "b.jpg")
    shutil.copy(photos[2], os.fsencode(pool) + b"/caf\xe9.jpg")
    (pool / "empty.jpg").write_bytes(b"")
    (pool / "text.jpg").write_text("not a picture")
    (pool / "torn.jpg").write_bytes(photos[3].read_bytes()[:500])
    (pool / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(pool / "pipe.jpg")
    (pool / "list.csv").write_text("image\nb.jpg\ngone.jpg\npipe.jpg\nloop.jpg\n")
    code, out, _ = run(
        tmp_path, "audit", "-u", "pool", "-u", "pool/list.csv", "--test", "test", "--train", "pool/b.jpg"
    )
    assert code == 0
    unreadable = {Path(p).name for pl in report(tmp_path)["findings"]["pools"] for p in pl["unreadable"]}
    assert unreadable == {"empty.jpg", "text.jpg", "torn.jpg", "gone.jpg", "pipe.jpg", "loop.jpg"}
    assert "Unreadable images in unlabeled: 6" in out
    assert verify_card(tmp_path / "data_cards/unlabeled.json") == ["pool/gone.jpg: missing"]
    assert run(tmp_path, "card", "show", "data_cards/unlabeled.md")[0] == 0


def test_two_plain_folders_need_no_data_set(run: Run, tmp_path: Path, drawn: Path) -> None:
    """The folders here look like classes; they are none."""
    photos = sorted((drawn / "eval/images").iterdir())[:4]
    for name, chosen in (("A", photos[:2]), ("B", [photos[0], photos[2]]), ("C", photos[3:])):
        (tmp_path / name).mkdir()
        for photo in chosen:
            shutil.copy(photo, tmp_path / name / photo.name)
    code, out, err = run(tmp_path, "audit", "--test", "A", "--unlabeled", "B")
    assert code == 4 and "unlabeled overlaps test (1 bytes)" in err
    assert "only what is named is compared (test, unlabeled)" in out
    assert [pool["name"] for pool in report(tmp_path)["findings"]["pools"]] == ["test", "unlabeled"]
    code, _, err = run(tmp_path, "audit", "--train", "B", "--test", "A")
    assert code == 3 and "train overlaps test (1 bytes)" in err


def test_a_data_set_that_is_named_is_compared_too(run: Run, faces: Path) -> None:
    run(faces, "audit", "--data", ".", "--test", "eval/images", "--unlabeled", "extra")
    names = [pool["name"] for pool in report(faces)["findings"]["pools"]]
    assert sorted(names) == ["test", "train", "unlabeled", "val"]


def test_pools_by_option_with_groups_and_labels_of_a_csv(run: Run, tmp_path: Path, drawn: Path) -> None:
    photos = sorted((drawn / "eval/images").iterdir())[:4]
    for number, photo in enumerate(photos):
        shutil.copy(photo, tmp_path / f"{number}.jpg")
    (tmp_path / "train.csv").write_text("image,label,person\n0.jpg,cat,anna\n1.jpg,dog,ben\n")
    (tmp_path / "test.csv").write_text("image,label,person\n2.jpg,cat,ben\n3.jpg,dog,carla\n")
    code, _, err = run(tmp_path, "audit", "--train", "train.csv", "--test", "test.csv")
    assert code == 3 and "train overlaps test (1 group)" in err and "group ben" in err
    findings = report(tmp_path)["findings"]
    assert findings["not_checked"] == []
    assert [(f["path"], f["group"], f["label"]) for f in findings["pools"][1]["files"]] == [
        ("0.jpg", "anna", "cat"), ("1.jpg", "ben", "dog"),
    ]  # fmt: skip
    code, _, err = run(tmp_path, "audit", "--train", "nowhere", "--test", "test.csv")
    assert code == 3 and "nowhere" in err and "--train" in err


def test_json_alone_goes_to_stdout(run: Run, leaky: Path) -> None:
    code, out, err = run(leaky, "audit", "--json")
    assert code == 3 and "overlaps" in err
    assert json.loads(out) == report(leaky)
    assert json.loads(out)["verdict"]["exit_code"] == 3


def test_the_same_bytes_in_any_order_and_with_two_processes(
    run: Run, leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (leaky / "data_cards").iterdir()}

    run(leaky, "audit", "-u", "extra", "--self-test", "2")
    before = written()
    monkeypatch.setenv("SSLMASK_CACHE", str(tmp_path / "empty"))
    run(leaky, "audit", "-u", "extra/*.jpg", "-u", "extra", "--self-test", "2", "--processes", "2")
    assert written() == before and len(before) == 10


def test_a_self_test_is_in_the_report_on_the_cards_and_on_the_screen(run: Run, faces: Path) -> None:
    code, out, _ = run(faces, "audit", "--test", "eval/images", "-u", "extra", "--self-test", "1")
    assert code == 4  # what is refused does not change
    tested = report(faces)["self_test"]
    assert (tested["pool"], tested["among"], tested["photos"], tested["of"]) == ("test", "unlabeled", 1, 42)
    assert tested["planted"] == tested["found"] == 25 == len(tested["alterations"])
    assert tested["alterations"][0]["recall"] == {"value": 1.0, "low": 0.206549, "high": 1.0}  # n / (n + z²)
    assert tested["sentence"] in " ".join(out.split()) and "1 of the 42 photos" in " ".join(out.split())
    for name in ("test", "unlabeled"):
        page = (faces / f"data_cards/{name}.md").read_text()
        assert "Of 25 altered copies of your photos 25 were found; 1.000, 0.207 to 1.000" in page
        assert "| crop 20 % | 1 | 1 | 0 | 1.000 | 0.207 to 1.000 |" in page and "The search is exact" in page
        assert verify_card(faces / f"data_cards/{name}.json") == []
    counts = [len(pool["files"]) for pool in report(faces)["findings"]["pools"]]
    assert counts == [len(list((faces / p).iterdir())) for p in ("eval/images", "extra")]


def test_a_self_test_that_cannot_be_is_refused_before_anything_is_read(run: Run, faces: Path) -> None:
    code, _, err = run(faces, "audit", "--train", "train/images", "-u", "extra", "--self-test", "5")
    assert code == 3 and "--self-test needs test or validation images" in err and "--test FOLDER" in err
    assert not (faces / "data_cards").exists()
    assert run(faces, "audit", "--self-test", "0")[0] == 2


def test_an_interrupted_self_test_leaves_nothing(run: Run, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ssl_mask.guard.self_test.among", stopped)
    code, _, err = run(faces, "audit", "--test", "eval/images", "-u", "extra", "--self-test", "1")
    assert code == 130 and "nothing was written" in err
    assert not (faces / "data_cards").exists()


@pytest.mark.slow
def test_the_self_test_of_a_whole_demo(run: Run, faces: Path) -> None:
    """More photos than there are: all."""
    run(faces, "audit", "-u", "extra", "--self-test", "1000", "--set", "data.cache=none")
    tested = report(faces)["self_test"]
    assert tested["photos"] == tested["of"] == 42 and tested["planted"] == 25 * 42
    assert tested["found"] >= 0.99 * tested["planted"]


def test_a_change_after_the_audit_is_exit_5(run: Run, faces: Path) -> None:
    run(faces, "audit")
    photo = sorted((faces / "eval/images").iterdir())[5]
    photo.write_bytes(photo.read_bytes() + b"\0")
    code, _, err = run(faces, "card", "verify", "data_cards/test.json")
    assert code == 5 and f"eval/images/{photo.name}: changed" in err
    shutil.copytree(faces, faces.parent / "moved")
    code, _, err = run(faces.parent, "card", "verify", "faces/data_cards/train.md", "--root", "moved")
    assert code == 0, err


def test_a_file_in_the_way_is_not_replaced(run: Run, faces: Path) -> None:
    before = (faces / "train/train.csv").read_bytes()
    code, _, err = run(faces, "audit", "--drop-list", "train/train.csv")
    assert code == 3 and "train.csv is there" in err
    assert (faces / "train/train.csv").read_bytes() == before


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_a_killed_audit_leaves_no_broken_card(run: Run, faces: Path, delay: float) -> None:
    """Killed while it writes; `delay` seconds after its first file is there."""
    pools = ("--train", "train/images", "--test", "eval/images", "-u", "extra")
    run(faces, "audit", *pools)
    (faces / "extra/new.jpg").write_bytes(b"")
    report = faces / "data_cards/audit.json"
    before = report.stat().st_mtime_ns
    process = subprocess.Popen(
        [sys.executable, "-m", "ssl_mask", "audit", *pools, *SETTINGS], cwd=faces, env=os.environ
    )
    while report.stat().st_mtime_ns == before and process.poll() is None:
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    for name in ("train", "test", "unlabeled"):
        problems = verify_card(faces / "data_cards" / f"{name}.json")
        assert all(p.endswith(": added") for p in problems), problems
