"""What each server of `http.server` does that tests start as a program."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["serve"]


def serve(name: str, handler: type[BaseHTTPRequestHandler]) -> None:
    """Serve until the standard input ends. The port is told under a name on the standard output."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"ports": {name: server.server_port}}), flush=True)
    sys.stdin.read()
