"""The demo's upstream: a shop's back office on loopback, a real HTTP server in a process of its own.

Every answer holds a serial number that rises with each call, so no two live answers are equal: an answer
that comes back the same was recorded.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRODUCTS = {1: ("Compass", 24.5), 2: ("Sextant", 310.0), 3: ("Chronometer", 1250.0)}
REPORT_LINES = 5
REPORT_PAUSE_S = 0.03

serial = itertools.count(1)


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        number = next(serial)
        match self.path.partition("?")[0].strip("/").split("/"):
            case ["products", text] if text.isdigit() and int(text) in PRODUCTS:
                name, price = PRODUCTS[int(text)]
                self._json(200, {"id": int(text), "name": name, "price": price, "serial": number})
            case ["reviews", _]:
                self._json(503, {"error": "reviews are being counted", "serial": number})
            case ["stock", text]:
                self._redirect(f"/warehouse/{text}")
            case ["warehouse", text]:
                self._json(200, {"product": int(text), "pieces": 7, "serial": number})
            case ["report"]:
                self._report(number)
            case _:
                self._json(404, {"error": f"nothing at {self.path}", "serial": number})

    def do_POST(self) -> None:
        number = next(serial)
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        total = PRODUCTS[order["product"]][1] * order["count"]
        # Answers overtake one another: the more is ordered, the sooner it is answered.
        time.sleep(0.15 / order["count"])
        self._json(201, {"quote": f"Q-{number:04}", "product": order["product"], "total": total, "serial": number})

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _report(self, number: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line_number in range(1, REPORT_LINES + 1):
            line = f"report {number}, line {line_number} of {REPORT_LINES}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(REPORT_PAUSE_S)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is the standard library's)
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Upstream) as server:
        server.serve_forever()
