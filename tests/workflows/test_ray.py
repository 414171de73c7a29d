"""A local Ray of two processes does what one process does: the same bytes, also where processes of it are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny_runs import TINY

from ssl_mask.cli.app import main
from ssl_mask.inference.shared_out import FOLDER

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PARTS = ("--batch-size", "1")
"""Parts of four images: the pool of 52 has thirteen."""


@pytest.fixture(scope="module")
def work(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, tiny settings and a run."""
    folder = tmp_path_factory.mktemp("ray")
    settings = {
        **TINY, "guard": {"mode": "on", "drop_overlap": True}, "pseudo": {"rounds": 1, "rule": "percentile"},
        "data": {"root": str(drawn), "folds": 2},
    }  # fmt: skip
    (folder / "sslmask.yaml").write_text(yaml.safe_dump(settings))
    (folder / "extra").symlink_to(drawn / "extra")
    done(folder, "train", "--name", "run")
    return folder


def started(work: Path, *words: str, cache: str = "cache") -> subprocess.Popen[bytes]:
    """A command; Ray starts as many processes as there are cores, of one thread each as here.

    Without their niceness: on a busy machine processes of +15, which is Ray's default, hardly move.
    """
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "SSLMASK_CACHE": str(work / cache), "RAY_worker_niceness": "0",
    }  # fmt: skip
    with (work / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ssl_mask", *words, "-q"], cwd=work, env=environment, stdout=log, stderr=log
        )


def done(work: Path, *words: str, code: int = 0, cache: str = "cache") -> None:
    """A command that ends: with Ray in a process of its own, else in this one, which starts faster."""
    if "ray" in words:
        assert started(work, *words, cache=cache).wait() == code, (work / "log.txt").read_text()[-3000:]
        return
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.chdir(work)
        patch.setenv("SSLMASK_CACHE", str(work / cache))
        patch.setattr(sys, "argv", ["sslmask", *words, "-q"])
        main()
    assert int(left.value.code or 0) == code


def predicted(folder: Path) -> list[bytes]:
    assert sorted(p.name for p in folder.iterdir()) == [
        "predictions.csv", "predictions.provenance.json", "probabilities.parquet",
    ]  # fmt: skip
    return [(folder / name).read_bytes() for name in ("predictions.csv", "probabilities.parquet")]


def at_work(work: Path) -> list[int]:
    """The processes of Ray's that do tasks for a command in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words, where = (process / "cmdline").read_bytes(), (process / "cwd").readlink()
        except OSError:  # it has ended
            continue
        if words.startswith((b"ray::_there", b"ray::IDLE")) and where == work:
            found.append(int(process.name))
    return found


def kill_in_the_middle(work: Path, command: subprocess.Popen[bytes], parts: Path, which: str) -> None:
    """Kill -9 the processes that predict, or the command itself, when some parts are done and some are not."""
    while not list(parts.rglob("*.parquet")):
        assert command.poll() is None, (work / "log.txt").read_text()[-3000:]
        time.sleep(0.005)
    victims = at_work(work) if which == "workers" else [command.pid]
    for number in victims:
        os.kill(number, signal.SIGKILL)
    assert victims and len(list(parts.rglob("*.parquet"))) < 13


def test_predictions_are_those_of_one_process_also_where_processes_are_killed(work: Path) -> None:
    words = ["predict", "--run", "run", "--images", "extra", "--tta", *PARTS]
    done(work, *words, "--out", "alone")
    expected = predicted(work / "alone")

    command = started(work, *words, "--out", "killed", "--engine", "ray")
    kill_in_the_middle(work, command, work / "killed" / FOLDER, "workers")
    assert command.wait() == 0, (work / "log.txt").read_text()[-3000:]
    assert predicted(work / "killed") == expected

    command = started(work, *words, "--out", "again", "--engine", "ray")
    kill_in_the_middle(work, command, work / "again" / FOLDER, "the command")
    command.wait()
    kept = {p: p.stat().st_mtime_ns for p in (work / "again").rglob("*.parquet")}
    assert kept and not (work / "again" / "predictions.csv").exists()
    command = started(work, *words, "--out", "again", "--engine", "ray")
    while command.poll() is None:
        for path, then in kept.items():  # what was done is read, not done again
            assert not path.exists() or path.stat().st_mtime_ns == then
        time.sleep(0.05)
    assert command.returncode == 0 and predicted(work / "again") == expected


def test_embeddings_shards_and_findings_are_those_of_one_process(work: Path) -> None:
    for engine in ("local", "ray"):
        cache, chosen = f"cache-{engine}", ["--engine", engine]
        done(work, "embed", "--run", "run", "--images", "extra", "--out", f"{engine}.parquet", *chosen, cache=cache)
        words = ["--unlabeled", "extra", "--self-test", "2", "--out", f"audit-{engine}"]
        done(work, "audit", *words, *chosen, code=4, cache=cache)
        shards = ["--shard", "all/3", "--out", f"shards-{engine}"]
        done(work, "predict", "--run", "run", "--images", "extra", *shards, *chosen)
    assert (work / "local.parquet").read_bytes() == (work / "ray.parquet").read_bytes()
    for folder, least in (("audit", 4), ("shards", 3)):
        one, two = ({p.name: p.read_bytes() for p in (work / f"{folder}-{e}").iterdir()} for e in ("local", "ray"))
        assert one == two and len(one) >= least
    report = json.loads((work / "audit-ray" / "audit.json").read_text())
    assert {p["kind"] for p in report["findings"]["pairs"]} >= {"near"}
    assert report["self_test"]["planted"] == 50 and report["self_test"]["found"] >= 45


def test_pseudo_labels_are_those_of_one_process(work: Path) -> None:
    for engine in ("local", "ray"):
        done(work, "pseudo", "--unlabeled", "extra", "--name", f"pseudo-{engine}", "--engine", engine)
    rounds = [work / f"runs/pseudo-{engine}/rounds/01" for engine in ("local", "ray")]
    for name in ("pool.parquet", "pseudo_labels.csv", "validation.parquet"):
        assert (rounds[0] / name).read_bytes() == (rounds[1] / name).read_bytes()
    assert not (rounds[1] / FOLDER).exists()


def test_a_disk_that_refuses_is_one_error_that_names_the_machine(work: Path) -> None:
    (work / "refused").mkdir()
    (work / "refused" / FOLDER).write_text("in the way of the folder")
    words = ["predict", "--run", "run", "--images", "extra", *PARTS, "--out", "refused", "--engine", "ray"]
    (work / "log.txt").unlink()
    done(work, *words, code=3)
    log = (work / "log.txt").read_text()
    assert "On the machine " in log and "Cannot write " in log and "Traceback" not in log
    assert not (work / "refused" / "predictions.csv").exists()
