"""`sslmask demo --app` by its words: what is refused, and with Gradio the page itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml
from app_page import drop, end, get, served
from command_line import Cli
from tiny_runs import TINY

from ssl_mask.errors import InputError
from ssl_mask.workflows import demo_app
from ssl_mask.workflows.demo_app import HOST, free_port


def test_without_gradio_the_pip_line_is_named_before_anything_is_drawn(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(demo_app, "version", missing)
    code, said = cli("demo", "--app")
    assert code == 3 and 'pip install "sslmask[app]"' in said and not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--app", "--data-only"], "--data-only makes none"),
        (["--run", "latest"], "--run has no meaning without --app"),
        (["--app", "--run", "latest", "--into", "x"], "--run names a run of its own"),
        (["--app", "--run", "latest", "--persons", "9"], "--run names a run of its own"),
        (["--app", "--run", "latest", "--seed", "0"], "--run names a run of its own"),
    ],
)
def test_words_that_contradict_each_other_are_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], named: str
) -> None:
    monkeypatch.setattr(demo_app, "demo_app", lambda *_, **__: pytest.fail("it was started"))
    code, said = cli("demo", *words)
    assert code == 3 and named in said and not list(Path().iterdir())


def test_a_taken_port_is_passed_over_and_none_free_is_an_error() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with free_port(port, 50) as found:
            assert found.getsockname()[0] == "127.0.0.1" and port < found.getsockname()[1] < port + 50
        with pytest.raises(InputError, match=f"ports {port} to {port} of this machine are all taken"):
            free_port(port, 1)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gradio") is None, reason="needs Gradio, which the extra app installs")
def test_the_page_predicts_a_dropped_photo_and_is_for_this_machine_alone(drawn: Path, tmp_path: Path) -> None:
    work, python = tmp_path / "work", [sys.executable, "-m", "ssl_mask"]
    work.mkdir()
    own = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    settings = {**TINY, "data": {**TINY["data"], "root": str(drawn)}, "guard": {"mode": "on"}}
    (work / "sslmask.yaml").write_text(yaml.safe_dump(settings))
    subprocess.run([*python, "train", "--name", "first"], check=True, cwd=work, env=own, capture_output=True)
    photo = next(iter(sorted((drawn / "eval" / "images").iterdir())))
    with served([*python, "demo", "--app", "--run", "first"], work, own) as (url, process):
        text, policy = get(url)
        assert "sslmask: first" in text and policy.startswith("default-src 'self'")
        with pytest.raises(HTTPError, match="400"):
            get(url, Host="stranger.example")
        picture, words, *factors, near = drop(url, photo)
        assert picture["url"].startswith(url) and "sure." in words and "has not seen this photo" in words
        assert len(factors) == 3 and all(0 < f["confidences"][0]["confidence"] <= 1 for f in factors) and len(near) > 3
        (tmp_path / "bad.jpg").write_text("no photo")
        picture, words, *factors, near = drop(url, tmp_path / "bad.jpg")
        assert picture is None and "bad.jpg" in words and not any(factors) and near == []
        trained = sorted((drawn / "train" / "images").rglob("*.jpg"))
        assert any("The run has seen this photo" in drop(url, one)[1] for one in trained[:1])
        code, said = end(process)
    assert code == 130 and "the page is closed" in said and "Traceback" not in said
