"""AWS as moto plays it, for tests; run as a module. Everything a client sends goes over HTTP.

Usage: ``python -m tests.servers.moto_server``. It prints its port as one line of JSON, and ends with its standard
input. A second port gives credentials as the metadata service of EC2 does. A third one plays what moto does not: a
service that is busy, and streams of events.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import zlib
from base64 import b64encode
from collections import Counter
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

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


def _event(payload: bytes, **headers: str) -> bytes:
    """A message of an event stream: lengths and their checksum, headers, the payload, a checksum of all.

    https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html
    """
    lines = b""
    for name, text in headers.items():
        key, value = f":{name.replace('_', '-')}".encode(), text.encode()
        lines += bytes([len(key)]) + key + b"\x07" + len(value).to_bytes(2, "big") + value
    made = struct.pack(">II", len(lines) + len(payload) + 16, len(lines))
    made += zlib.crc32(made).to_bytes(4, "big") + lines + payload
    return made + zlib.crc32(made).to_bytes(4, "big")


class _Busy(BaseHTTPRequestHandler):
    """A service that does what is asked at the second attempt, or never. Bedrock and Kinesis answer by streams."""

    protocol_version = "HTTP/1.1"
    attempts: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.attempts[self.headers["amz-sdk-invocation-id"]] += 1
        if self.path.startswith("/model/"):
            self._speak(asked)
        elif self.headers["X-Amz-Target"].endswith("SubscribeToShard"):
            self._tell_records()
        elif asked.get("Limit") == 1 and self.attempts[self.headers["amz-sdk-invocation-id"]] > 1:
            self._reply(200, json.dumps({"TableNames": ["things"]}).encode())
        else:
            self._reply(400, json.dumps({"__type": "ThrottlingException", "message": "slow down"}).encode())

    def _speak(self, asked: Any) -> None:
        kind = {"message_type": "event", "event_type": "chunk", "content_type": "application/json"}
        said = [
            _event(json.dumps({"bytes": b64encode(text.encode()).decode()}).encode(), **kind) for text in asked["say"]
        ]
        error = {"message_type": "exception", "exception_type": "throttlingException"}
        if asked["fails"]:
            said.append(_event(b'{"message": "enough"}', content_type="application/json", **error))
        self._reply(200, b"".join(said), "application/vnd.amazon.eventstream")

    def _tell_records(self) -> None:
        record = {"SequenceNumber": "1", "PartitionKey": "tea", "Data": b64encode(b"\x00 a record").decode()}
        told = {"Records": [record], "ContinuationSequenceNumber": "2", "MillisBehindLatest": 0}
        said = [
            _event(json.dumps(value).encode(), message_type="event", event_type=kind)
            for kind, value in (("initial-response", {}), ("SubscribeToShardEvent", told))
        ]
        self._reply(200, b"".join(said), "application/vnd.amazon.eventstream")

    def _reply(self, status: int, body: bytes, kind: str = "application/x-amz-json-1.0") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    busy = ThreadingHTTPServer(("127.0.0.1", 0), _Busy)
    for each in (metadata, busy):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    _, port = moto.get_host_and_port()
    ports = {"aws": port, "metadata": metadata.server_port, "busy": busy.server_port}
    print(json.dumps({"ports": ports}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
