"""A small web server for tests: it listens where it is told to, and answers with its version and id."""

from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    """`/` answers at once, `/slow` half of its answer, and the rest when the gate file is there."""

    def do_GET(self) -> None:
        """One answer, then the connection ends."""
        text = f"{os.environ.get('VERSION', '')} {os.environ['RUNE_INSTANCE_ID']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text[:1])
        self.wfile.flush()
        if self.path.startswith("/slow"):
            Path(os.environ["GATE"]).read_text(encoding="utf-8")
        self.wfile.write(text[1:])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes many connections at a time."""

    request_queue_size = 256
    daemon_threads = True


host = sys.argv[1] if len(sys.argv) > 1 else os.environ["HOST"]
with Server((host, int(os.environ["PORT"])), Answer) as server:
    threading.Thread(target=server.serve_forever).start()
    threading.Event().wait()
