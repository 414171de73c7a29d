"""`sslmask demo --app`: a page on this machine that predicts a photo which is dropped on it.

Only 127.0.0.1 is served, and the page may load nothing from elsewhere: its header says so to the browser. What is
dropped is kept in a temporary folder until the page ends.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.images import decode, fit
from ssl_mask.demo_data.draw import draw_demo
from ssl_mask.errors import ImageError, InputError, Interrupted, SslMaskError, nothing_written
from ssl_mask.inference.embeddings import one_process
from ssl_mask.inference.photo import RATE, PhotoReader, open_reader
from ssl_mask.reports.photo_words import answer_words, neighbour_words, problem_words, run_words
from ssl_mask.runs.sources import Source, find_source, list_sources
from ssl_mask.workflows.demo import demo

HOST, PORT, PORTS = "127.0.0.1", 7860, 100
"""The first free one of so many ports is taken."""
ONLY_HERE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
"""Content-Security-Policy: the browser loads nothing from another machine."""
_PREVIEW, _THUMB = 640, 200
_STYLE = """
#near .grid-wrap { height: auto !important; max-height: none !important; }
@media (max-width: 640px) {
  #near .grid-container { grid-template-columns: repeat(2, 1fr) !important; }
  #near .caption-label { white-space: normal; }
}
"""
"""All training photos are seen without scrolling; on a telephone two in a row, with their whole lines."""
_MOST_BYTES = 200 * 2**20
Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Any, Any], Awaitable[None]]


class Shown(NamedTuple):
    """What the page shows of a photo, in the order of its parts."""

    picture: NDArray[np.uint8] | None
    words: str
    """HTML."""
    factors: list[dict[str, float]]
    """Of each factor, class -> probability; empty without an answer."""
    near: list[tuple[NDArray[np.uint8], str]]
    """Training photos and the line below each."""


def demo_app(run: str | Path | None = None, *, into: Path, persons: int = 60, seed: int = 0) -> None:
    """Serve the page until Ctrl-C.

    Args:
        run: name or path of a run, a study or a gallery, or `latest`. None: the demo's own run, which is made in `into`
            where it is not there yet.

    Raises:
        InputError: gradio is not installed, no port is free. Interrupted: Ctrl-C or SIGTERM.
        SslMaskError: as `demo` and `open_reader`.
    """
    check_installed()
    source = demo_source(into, persons=persons, seed=seed) if run is None else find_source(run, Path("runs"))
    with nothing_written():
        reader = open_reader(source, one_process(quiet=False))
    reader.compute.console.rich.quiet = True  # from here on the page answers
    serve(reader)


def check_installed() -> None:
    """Raises InputError where gradio is not installed."""
    try:  # a folder of that name in the working folder would count as a module
        version("gradio")
    except PackageNotFoundError:
        raise InputError("--app needs Gradio.", hint='Install it: pip install "sslmask[app]"') from None


def demo_source(into: Path, *, persons: int, seed: int) -> Source:
    """The latest finished run in the demo's folder; where there is none, the demo is run.

    Raises:
        DataError: the folder holds something else, or another demo.
    """
    draw_demo(into, persons=persons, seed=seed)
    finished = [
        source
        for source in list_sources(into / "runs")
        if all(member.status().status == "finished" for member in source.members)
    ]
    if finished:
        return max(finished, key=lambda source: source.updated)
    _, run, _ = demo(into, persons=persons, seed=seed)
    assert run is not None  # only data_only returns none
    return find_source(run.path, into / "runs")


def show(reader: PhotoReader, photo: Path | None) -> Shown:
    """What the page shows of a dropped file; None: of none."""
    if photo is None:
        return Shown(None, "", [], [])
    try:
        answer = reader.read(photo)
    except SslMaskError as error:
        said = (text.replace(str(photo), photo.name) for text in (error.problem, error.hint))
        return Shown(None, problem_words(*said), [], [])
    words = answer_words(answer.joint, answer.factors, answer.seen, answer.p, RATE)
    near = [(_thumb(n.path), neighbour_words(n.cosine, n.labels, n.group)) for n in answer.near]
    picture = fit(answer.picture, min(_PREVIEW, max(answer.picture.shape)), "pad")
    return Shown(picture, words, [dict(own) for own in answer.factors.values()], near)


def run_facts(reader: PhotoReader) -> str:
    """The run in words, as HTML."""
    known = reader.train.rows
    groups = len({row.group for row in known.rows}) if known.grouped else None
    return run_words(reader.source.name, len(known), groups, reader.mark, reader.usual.why)


def free_port(first: int = PORT, ports: int = PORTS) -> socket.socket:
    """A socket on 127.0.0.1 at the first port from `first` on that is free. Raises InputError where none is."""
    for port in range(first, first + ports):
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
            one.listen()
        except OSError:
            one.close()
            continue
        return one
    raise InputError(f"The ports {first} to {first + ports - 1} of this machine are all taken.",
                     hint="End programs that use them, such as other pages of sslmask demo --app.")  # fmt: skip


def serve(reader: PhotoReader) -> None:
    """Serve the page of a run until Ctrl-C or SIGTERM. Raises Interrupted, and InputError where no port is free."""
    with free_port() as taken, tempfile.TemporaryDirectory(prefix="sslmask-app-") as dropped:
        port = taken.getsockname()[1]
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": dropped, "HF_HUB_OFFLINE": "1"}
        import uvicorn

        config = uvicorn.Config(page_app(reader, port), log_level="error", timeout_graceful_shutdown=1)
        print(f"Page   http://{HOST}:{port}  (only this machine can open it; Ctrl-C ends it)", flush=True)
        try:
            uvicorn.Server(config).run(sockets=[taken])
        except KeyboardInterrupt as stop:
            raise Interrupted.by(stop, "the page is closed, and the photos dropped on it are removed.") from None
        print("Page   closed; the photos dropped on it are removed", flush=True)  # the shell lets it ignore Ctrl-C


def page_app(reader: PhotoReader, port: int) -> Asgi:
    """The page as an ASGI application."""
    import gradio as gr
    from fastapi import FastAPI

    names, classes = list(reader.schema.sizes), max(reader.schema.sizes.values())
    with gr.Blocks(title=f"sslmask: {reader.source.name}", analytics_enabled=False) as page:
        gr.HTML(f"<h1>sslmask</h1>{run_facts(reader)}")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                dropped = gr.File(label="Photo: drop it here, or click", type="filepath", height=140)
                picture = gr.Image(label="As it is read", interactive=False, buttons=[])
            with gr.Column(scale=2, min_width=280):
                words = gr.HTML()
                with gr.Row():
                    labels = [
                        gr.Label(label=f"{name}: calibrated confidence", num_top_classes=min(5, classes), min_width=180)
                        for name in names
                    ]
        near = gr.Gallery(
            label="Nearest training photos: cosine, class, person (group)", columns=4, object_fit="contain",
            interactive=False, buttons=[], height="auto", elem_id="near",
        )  # fmt: skip

        def predict(file: str | None) -> list[Any]:
            shown = show(reader, Path(file) if file else None)
            factors: list[dict[str, float] | None] = [*shown.factors] or [None] * len(names)
            return [shown.picture, shown.words, *factors, shown.near]

        dropped.change(predict, dropped, [picture, words, *labels, near], api_name="predict")

    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        app, page, path="/", server_name=HOST, server_port=port, footer_links=[], ssr_mode=False, mcp_server=False,
        pwa=False, enable_monitoring=False, max_file_size=_MOST_BYTES, css=_STYLE,
    )  # fmt: skip
    return only_here(app)


def only_here(app: Asgi) -> Asgi:
    """The same, which tells browsers to load nothing from elsewhere, and answers to no other name than this machine's.

    A page of a stranger could otherwise give its own name the address 127.0.0.1, and read the answers.
    """

    async def wrapped(scope: Scope, receive: Any, send: Any) -> None:
        host = dict(scope.get("headers") or ()).get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
        if scope["type"] == "http" and host not in {HOST, "localhost"}:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"This page is for this machine alone."})
            return

        async def tell(message: Scope) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", ONLY_HERE.encode())
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await app(scope, receive, tell)

    return wrapped


def _thumb(path: str) -> NDArray[np.uint8]:
    try:
        return fit(decode(Path(path)), _THUMB, "pad")
    except ImageError:  # it is not there any more
        return np.full((_THUMB, _THUMB, 3), 208, np.uint8)
