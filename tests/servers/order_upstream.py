"""What a shop's service calls, in one process: a token server, payments, mail, a bucket, a supplier, a catalogue.

Usage: ``python -m tests.servers.order_upstream``. Prints its port as JSON, and ends with its standard input.
Tokens, cookies, numbers and page tokens are made by chance, and each of them is checked when it comes back: what was
not given, or was signed by another key, is answered by 401.
"""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.servers._serving import serve

__all__ = ["CATALOGUE", "CLIENT", "SIGNING_KEY", "signature_of"]

CLIENT = ("shop", "client-secret-4fGh7Kq29xZt")
SIGNING_KEY = "bucket-key-8sJw2LmQ71vbN"
CATALOGUE = ["tea", "cup", "pot", "milk", "jug"]
_PAGE = 2

_tokens: set[str] = set()
_payments: dict[str, dict[str, Any]] = {}
_sessions: dict[str, str] = {}
_pages: dict[str, int] = {}


def signature_of(method: str, path: str, parameters: Mapping[str, str]) -> str:
    """The signature of a URL, made of its path, its parameters, and a key."""
    text = "\n".join([method, path, *(f"{name}={quote(parameters[name])}" for name in sorted(parameters))])
    return hmac.new(SIGNING_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


class _Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def _handle(self, method: str) -> None:
        where = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(where.query).items()}
        self.data = self.rfile.read(int(self.headers.get("content-length", 0)))
        room = where.path.split("/")[1]
        answer = getattr(self, f"_{method.lower()}_{room}", None)
        if answer is None:
            self._say(404, {"error": self.path})
        else:
            answer(where.path)

    def _post_oauth(self, path: str) -> None:
        basic = base64.b64encode(":".join(CLIENT).encode()).decode()
        form = parse_qs(self.data.decode())
        if self.headers["authorization"] != f"Basic {basic}" or form["grant_type"] != ["client_credentials"]:
            self._say(401, {"error": "invalid_client"})
            return
        token = secrets.token_urlsafe(32)
        _tokens.add(token)
        self._say(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "payments"})

    def _is_known(self) -> bool:
        known = self.headers.get("authorization", "").removeprefix("Bearer ") in _tokens
        if not known:
            self._say(401, {"error": "invalid_token"})
        return known

    def _post_payments(self, path: str) -> None:
        if not self._is_known():
            return
        asked = json.loads(self.data)
        uuid.UUID(self.headers["idempotency-key"])
        made = {
            "id": f"pay_{secrets.token_hex(12)}",
            "order": asked["order"],
            "amount": asked["amount"],
            "status": "authorised",
            "created": int(time.time()),
        }
        _payments[made["id"]] = made
        self._say(201, made, {"Location": f"/payments/{made['id']}"})

    def _get_payments(self, path: str) -> None:
        if self._is_known():
            self._say(200, {**_payments[path.rpartition("/")[2]], "status": "captured"})

    def _post_mail(self, path: str) -> None:
        head = f"Content-Type: {self.headers['content-type']}\n\n".encode()
        parts: Any = email.message_from_bytes(head + self.data).get_payload()
        fields = {part.get_param("name", header="content-disposition"): part.get_payload() for part in parts}
        uuid.UUID(self.headers["idempotency-key"])
        made = {
            "message_id": f"<{uuid.uuid4()}@mail.test>",
            "subject": fields["subject"],
            "bytes": len(fields["file"]),
        }
        self._say(202, made)

    def _put_bucket(self, path: str) -> None:
        given = self.query.pop("X-Amz-Signature")
        if not hmac.compare_digest(given, signature_of("PUT", path, self.query)):
            self._say(403, {"error": "SignatureDoesNotMatch"})
            return
        self._say(200, {}, {"ETag": f'"{hashlib.md5(self.data).hexdigest()}"', "X-Request-Id": secrets.token_hex(8)})

    def _get_supplier(self, path: str) -> None:
        session, csrf = secrets.token_urlsafe(24), secrets.token_hex(20)
        _sessions[session] = csrf
        page = f'<form method="post"><input type="hidden" name="csrf_token" value="{csrf}"></form>'
        self._say(200, page, {"Set-Cookie": f"sid={session}; Path=/; HttpOnly"})

    def _post_supplier(self, path: str) -> None:
        cookies = dict(part.strip().split("=", 1) for part in self.headers["cookie"].split(";"))
        form = {name: values[0] for name, values in parse_qs(self.data.decode()).items()}
        if _sessions[cookies["sid"]] != form["csrf_token"] or self.headers["x-csrf-token"] != form["csrf_token"]:
            self._say(403, {"error": "csrf"})
            return
        self._say(200, {"reserved": form["item"], "for": form["order"], "number": len(_sessions)})

    def _get_catalogue(self, path: str) -> None:
        start = _pages[self.query["page_token"]] if "page_token" in self.query else 0
        page: dict[str, Any] = {"items": CATALOGUE[start : start + _PAGE]}
        if start + _PAGE < len(CATALOGUE):
            token = base64.urlsafe_b64encode(secrets.token_bytes(18)).decode()
            _pages[token] = start + _PAGE
            page["next_page_token"] = token
        self._say(200, page)

    def _get_prices(self, path: str) -> None:
        item = path.rpartition("/")[2]
        tag = f'"{hashlib.sha1(item.encode()).hexdigest()[:16]}"'
        if self.headers.get("if-none-match") == tag:
            self._say(304, b"", {"ETag": tag})
        else:
            self._say(200, {"item": item, "cents": 100 * len(item)}, {"ETag": tag})

    def _say(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        data = value.encode() if isinstance(value, str) else value
        kind = "text/html" if isinstance(value, str) else "application/json"
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, text in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, text)
        if status != 304:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    serve("http", _Upstream)
