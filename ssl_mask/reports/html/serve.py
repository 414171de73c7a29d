"""One page for the browsers of this machine: bound to 127.0.0.1, read-only, nothing else is served."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


def server_of(page: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of this page at `/`, not started yet.

    Args:
        port: 0: any that is free.

    Raises:
        OSError: the port is taken.
    """
    content = page.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another name for this machine in the request is a page elsewhere that made its own name lead here.
            name = self.headers.get("Host", "").rpartition(":")[0]
            if self.path != "/" or name not in {HOST, "localhost"}:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            for header, value in (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"),
                                  ("X-Frame-Options", "DENY")):  # fmt: skip
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    return ThreadingHTTPServer((HOST, port), Handler)


def serve(page: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C; `tell` gets its address. Raises OSError when the port is taken."""
    with server_of(page, port) as server:
        tell(f"http://{HOST}:{server.server_address[1]}/")
        server.serve_forever()
