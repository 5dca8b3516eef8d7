"""AWS as moto plays it, for tests; run as a module. Everything a client sends goes over HTTP.

Usage: ``python -m tests.servers.moto_server``. It prints its port as one line of JSON, and ends with its standard
input. A second port gives credentials as the metadata service of EC2 does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer  # type: ignore[import-untyped,unused-ignore]

_ROLE = "/latest/meta-data/iam/security-credentials/"


class _Metadata(BaseHTTPRequestHandler):
    """Version 2 of the metadata service: a token by PUT, and then the role and its credentials."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._reply("AQAEANjjMFTokenOfTheMetadataServiceQ==")

    def do_GET(self) -> None:
        if self.path == _ROLE:
            self._reply("app-role")
            return
        until = datetime.now(timezone.utc) + timedelta(hours=6)
        self._reply(
            json.dumps(
                {
                    "Code": "Success",
                    "Type": "AWS-HMAC",
                    "AccessKeyId": "ASIAQ3EGRIHJ7EXAMPLE",
                    "SecretAccessKey": "7bWq0zPjQ2m9XyZrT4uVsL1nKcEoHdGfAaBbCcDd",
                    "Token": "IQoJb3JpZ2luX2VjEAoaCXVzLWVhc3QtMSJHMEUCIQ",
                    "LastUpdated": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            )
        )

    def _reply(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    threading.Thread(target=metadata.serve_forever, daemon=True).start()
    _, port = moto.get_host_and_port()
    print(json.dumps({"ports": {"aws": port, "metadata": metadata.server_port}}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
