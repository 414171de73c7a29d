"""A small Hugging Face Hub on this machine, for tests: the part of its HTTP API that a push uses, in a thread.

It answers as https://huggingface.co/docs/hub/api and the git-lfs batch API say, and keeps what was committed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OID = "0" * 40


class FakeHub(ThreadingHTTPServer):
    """Its repositories, and every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Any]] = {}
        """OWNER/NAME -> visibility, files."""
        self.objects: dict[str, bytes] = {}
        """Of git-lfs: SHA-256 -> content."""
        self.asked: list[str] = []
        self.refuse = 0
        """A status code for every request; 0: none is refused."""
        self.refuse_objects = False
        """Whether the store of large files refuses them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def make(self, name: str, *, private: bool) -> None:
        self.repositories[name] = {"private": private, "files": {}}

    def files(self, name: str) -> dict[str, bytes]:
        """What was committed."""
        return {
            path: self.objects[content] if isinstance(content, str) else content
            for path, content in self.repositories[name]["files"].items()
        }

    def download(self, name: str, folder: Path) -> Path:
        for path, content in self.files(name).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_POST(self) -> None:
        body = self._body()
        if self._refused():
            return
        parts = self.path.strip("/").split("/")
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            content = json.loads(body)["content"]
            self._answer(
                {"errors": [] if content.startswith("---\n") else [{"message": "no metadata"}], "warnings": []}
            )
        elif parts[-2] == "preupload":
            files = [
                {"path": f["path"], "shouldIgnore": False, "uploadMode": "lfs" if _is_large(f["path"]) else "regular"}
                for f in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.server.url}/lfs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif parts[-2] == "commit":
            self._commit("/".join(parts[2:4]), body)
        else:
            self._answer({"error": f"no such place: {self.path}"}, 404)

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/").partition("?")[0].removesuffix("/revision/main")
        if self._refused():
            return
        if (found := self.server.repositories.get(name)) is None:
            self._answer({"error": "Repository not found"}, 404)
        else:
            self._answer({"id": name, "modelId": name, "private": found["private"], "sha": OID, "siblings": []})

    def do_PUT(self) -> None:
        body, oid = self._body(), self.path.rpartition("/")[2]
        if self.server.refuse_objects or hashlib.sha256(body).hexdigest() != oid:
            self._answer({"error": "other bytes"}, 400)
            return
        self.server.objects[oid] = body
        self._answer({})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        address = {"url": f"{self.server.url}/{name}"}
        if name in self.server.repositories:
            self._answer({"error": "You already created this model repo", **address}, 409)
            return
        self.server.make(name, private=bool(asked.get("private")) or asked.get("visibility") == "private")
        self._answer(address)

    def _commit(self, name: str, body: bytes) -> None:
        files = self.server.repositories[name]["files"]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = value["oid"]
        self._answer({"commitUrl": f"{self.server.url}/{name}/commit/{OID}", "commitOid": OID, "success": True})

    def _body(self) -> bytes:
        self.server.asked.append(f"{self.command} {self.path}")
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refused(self) -> bool:
        if self.server.refuse:
            self._answer({"error": "you shall not"}, self.server.refuse)
        return bool(self.server.refuse)

    def _answer(self, content: dict[str, Any], code: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing to stderr."""


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".npz", ".onnx"))


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
