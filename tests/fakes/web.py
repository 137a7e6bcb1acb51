"""A small HTTP server in this process that answers what a test put there."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web:
    """``answer`` is sent as JSON, or as it is if it is bytes, with ``status``; ``asked`` are the
    paths that were asked for, and ``tokens`` what each request was authorised with."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.status = 200
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.url = ""


@contextmanager
def served() -> Iterator[Web]:
    """A server on a free port of this machine."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            web.tokens.append(self.headers.get("Authorization"))
            told = web.answer
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(web.status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
