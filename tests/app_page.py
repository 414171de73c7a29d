"""The page of `sslmask demo --app` as a browser asks it, with the standard library alone."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


@contextmanager
def served(command: list[str | Path], work: Path, env: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(address, process) of a command that serves the page; it is killed at the end where it still runs."""

    def hears_ctrl_c() -> None:  # a shell lets what it starts in the background ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, cwd=work, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=hears_ctrl_c,  # noqa: PLW1509 - it takes no lock
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if line.startswith("Page"):
                    break
            assert said and said[-1].startswith("Page"), "".join(said)
            yield said[-1].split()[1], process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ctrl-C; with which code it ends, and what it says."""
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def get(url: str, **headers: str) -> tuple[str, str]:
    """The text, and the Content-Security-Policy. Raises HTTPError where it is refused."""
    with urlopen(Request(url, headers=headers), timeout=60) as answer:
        assert answer.status == 200
        return answer.read().decode(), answer.headers["content-security-policy"]


def drop(url: str, photo: Path) -> list[Any]:
    """What is shown of a file that is dropped: picture, words, each factor, the nearest training photos."""
    form = (
        f'--x\r\nContent-Disposition: form-data; name="files"; filename="{photo.name}"\r\n\r\n'.encode()
        + photo.read_bytes()
        + b"\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    place = _json(Request(f"{url}/gradio_api/upload", form, kind))[0]
    data = {"data": [{"path": place, "meta": {"_type": "gradio.FileData"}}]}
    asked = f"{url}/gradio_api/call/predict"
    event = _json(Request(asked, json.dumps(data).encode(), {"Content-Type": "application/json"}))["event_id"]
    text, _ = get(f"{asked}/{event}")
    assert "event: complete" in text, text
    answer = json.loads(text.rsplit("data: ", 1)[1])
    assert isinstance(answer, list)
    return answer


def _json(request: Request) -> Any:
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)
