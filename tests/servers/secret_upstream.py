"""A server that gives secrets, and checks them when they come back; each is made by chance.

Usage: ``python -m tests.servers.secret_upstream``. Prints its port as JSON, and ends with its standard input.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bcrypt
import itsdangerous
import jwt
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from werkzeug.security import generate_password_hash

from tests.servers._serving import serve

__all__ = ["CLIENT", "PASSWORD", "SIGNING_KEY"]

CLIENT = ("app", "client-secret-4fGh7Kq29xZt")
PASSWORD = "tr0ub4dor&3-Kq29"
SIGNING_KEY = "signing-key-8sJw2LmQ71vbNx0Yt5Re3"

_given: dict[str, Any] = {}
"""Each secret that was given, with what it stands for."""


def _give(secret: str, meaning: Any) -> str:
    _given[secret] = meaning
    return secret


class _Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(where.query).items()}
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.form = {name: values[0] for name, values in parse_qs(data.decode()).items()}
        self.given = json.loads(data) if data[:1] == b"{" else {}
        answer = getattr(self, "_" + where.path.strip("/").replace("/", "_"), None)
        if answer is None:
            self._say({"error": self.path}, 404)
        else:
            answer()

    def do_POST(self) -> None:
        self.do_GET()

    @property
    def bearer(self) -> Any:
        """What the bearer token stands for; None where it was never given."""
        return _given.get(self.headers.get("authorization", "").removeprefix("Bearer "))

    def _login(self) -> None:
        tenant = self.query.get("tenant") or self.form.get("client_id", "")
        refresh = _give(secrets.token_urlsafe(32), f"refresh {tenant}")
        if self.form.get("grant_type") == "refresh_token" and self.form["refresh_token"] not in _given:
            self._say({"error": "invalid_grant"}, 400)
            return
        token = _give(secrets.token_urlsafe(32), tenant)
        self._say({"access_token": token, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 60})

    def _me(self) -> None:
        self._say({"tenant": self.bearer}, 200 if self.bearer is not None else 401)

    def _configured(self) -> None:
        self._say({"tenant": self.headers["authorization"][-1]})

    def _form(self) -> None:
        csrf = _give(secrets.token_hex(20), "csrf")
        page = f'<meta name="csrf-token" content="{csrf}"><input name="csrfmiddlewaretoken" value="{csrf}">'
        self._say(page, headers={"Set-Cookie": f"csrftoken={csrf}; Path=/"})

    def _submit(self) -> None:
        sent = {self.form["csrfmiddlewaretoken"], self.headers["x-csrftoken"], self._cookies()["csrftoken"]}
        self._say({"ok": len(sent) == 1 and sent.pop() in _given})

    def _visit(self) -> None:
        session = self._cookies().get("sessionid", "")
        count = _given.get(session, 0) + 1
        self._say(
            {"visits": count},
            headers={"Set-Cookie": f"sessionid={_give(secrets.token_urlsafe(24), count)}; HttpOnly"},
        )

    def _digest(self) -> None:
        told = dict(re.findall(r'(\w+)="?([^",]+)', self.headers.get("authorization", "")))
        if told.get("nonce") not in _given:
            nonce = _give(secrets.token_hex(16), "nonce")
            challenge = f'Digest realm="r", qop="auth", nonce="{nonce}", opaque="{secrets.token_hex(8)}"'
            self._say({}, 401, {"WWW-Authenticate": challenge})
            return
        texts = ":".join([CLIENT[0], "r", CLIENT[1]]), f"GET:{self.path}"
        ours = [hashlib.md5(text.encode()).hexdigest() for text in texts]
        text = ":".join([ours[0], told["nonce"], told["nc"], told["cnonce"], "auth", ours[1]])
        self._say({"digest": hashlib.md5(text.encode()).hexdigest() == told["response"]})

    def _presign(self) -> None:
        signature = _give(secrets.token_hex(32), self.query["file"])
        token = _give(base64.b64encode(secrets.token_bytes(48)).decode(), "token")
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        credential = f"AKIA{secrets.token_hex(8).upper()}"
        signed = {"X-Amz-Date": moment, "X-Amz-Credential": credential, "X-Amz-Security-Token": token}
        query = "&".join(f"{name}={value}" for name, value in {**signed, "X-Amz-Signature": signature}.items())
        self._say({"url": f"/file?{query.replace('+', '%2B').replace('=', '%3D').replace('%3D', '=', 4)}"})

    def _file(self) -> None:
        self._say({"content": _given.get(self.query["X-Amz-Signature"])})

    def _pages(self) -> None:
        number = _given.get(self.query.get("page_token", ""), 0)
        token = _give(secrets.token_urlsafe(24), number + 1) if number < 2 else None
        self._say({"items": [number * 2, number * 2 + 1], "next_page_token": token})

    def _jwt(self) -> None:
        now = int(time.time())
        claims = {"sub": "user-7", "roles": ["admin"], "iat": now, "exp": now + 600, "jti": secrets.token_hex(8)}
        self._say({"id_token": _give(jwt.encode(claims, SIGNING_KEY, "HS256"), "user-7")})

    def _keys(self) -> None:
        self._say(
            {
                "encryption_key": base64.b64encode(secrets.token_bytes(32)).decode(),
                "secret_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            }
        )

    def _pem(self) -> None:
        made: dict[str, Any] = {
            "rsa": rsa.generate_private_key(65537, 2048),
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "ed25519": ed25519.Ed25519PrivateKey.generate(),
        }
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._say({name: {"private_key": key.private_bytes(*form).decode()} for name, key in made.items()})

    def _user(self) -> None:
        self._say({"name": "ada", "password": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()})

    def _user_of_flask(self) -> None:
        self._say({"password": generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")})

    def _sealed_by_aes(self) -> None:
        key, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
        content = base64.b64encode(nonce + AESGCM(key).encrypt(nonce, b"hello", None)).decode()
        self._say({"encryption_key": base64.b64encode(key).decode(), "content": content})

    def _webhook(self) -> None:
        key, text = secrets.token_urlsafe(24), "an event"
        mac = hmac.new(key.encode(), text.encode(), "sha256").hexdigest()
        self._say({"webhook_secret": key, "text": text, "mac": mac})

    def _person(self) -> None:
        digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        self._say({"name": "ada", "credentials_of_old": digest})

    def _sealed(self) -> None:
        key = Fernet.generate_key()
        self._say({"secret_key": key.decode(), "content": Fernet(key).encrypt(b"hello").decode()})

    def _signed(self) -> None:
        session = itsdangerous.URLSafeTimedSerializer(SIGNING_KEY).dumps({"user": 7})
        self._say({}, headers={"Set-Cookie": f"session={session}; Path=/"})

    def _signing(self) -> None:
        """Keys to sign by: one for each of two tenants, and a pair."""
        made: dict[str, Any] = {}
        for tenant in ("a", "b"):
            key = secrets.token_urlsafe(32)
            _given[f"key of {tenant}"] = key
            made[tenant] = {"signing_key": key}
        pair = rsa.generate_private_key(65537, 2048)
        _given["public key"] = pair.public_key()
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._say({**made, "rsa": {"private_key": pair.private_bytes(*form).decode()}})

    def _signer_of(self, text: str, mac: str | None) -> str | None:
        """Whose key has signed a text."""
        for tenant in ("a", "b"):
            key = _given[f"key of {tenant}"]
            if mac == hmac.new(key.encode(), text.encode(), "sha256").hexdigest():
                return tenant
        return None

    def _signed_by_header(self) -> None:
        self._say({"tenant": self._signer_of(self.query.get("text", "hello"), self.headers["x-signature"])})

    def _signed_by_query(self) -> None:
        self._say({"tenant": self._signer_of("hello", self.query["sig"])})

    def _signed_by_body(self) -> None:
        self._say({"tenant": self._signer_of(self.given["text"], self.given["mac"]), "mac": self.given["mac"]})

    def _signed_by_rsa(self) -> None:
        form = padding.PKCS1v15(), SHA256()
        _given["public key"].verify(base64.b64decode(self.given["proof"]), self.given["text"].encode(), *form)
        self._say({"ok": True, "receipt": secrets.token_hex(8)})

    def _asserted(self) -> None:
        """RFC 7523: a token for an assertion that the client has signed itself."""
        claims = jwt.decode(self.form["assertion"], _given["public key"], ["RS256"], audience="upstream")
        self._say({"access_token": _give(secrets.token_urlsafe(32), claims["sub"]), "expires_in": 60})

    def _self_issued(self) -> None:
        """Tenants that sign their own tokens, by their own keys."""
        token = self.headers["authorization"].removeprefix("Bearer ")
        sub = jwt.decode(token, options={"verify_signature": False})["sub"]
        self._say({"tenant": jwt.decode(token, _given[f"key of {sub}"], ["HS256"])["sub"]})

    def _bucket(self) -> None:
        """As AWS signature version 4: of the time and the path, by the key whose identity stands beside it."""
        told = re.search(r"Credential=([^/]+)/.*Signature=(\w+)", self.headers["authorization"])
        _given["reads"] = _given.get("reads", 0) + 1
        ours = hmac.new(SIGNING_KEY.encode(), self.headers["x-amz-date"].encode(), "sha256").hexdigest()
        assert told is not None
        self._say({"by": told[1], "known": told[2] == ours, "reads": _given["reads"]})

    def _sealed_by_word(self) -> None:
        word, salt, nonce = secrets.token_urlsafe(24), secrets.token_bytes(16), secrets.token_bytes(12)
        key = hashlib.pbkdf2_hmac("sha256", word.encode(), salt, 10)
        content = base64.b64encode(salt + nonce + AESGCM(key).encrypt(nonce, b"hello", None)).decode()
        self._say({"passphrase": word, "content": content})

    def _number(self) -> None:
        number = secrets.randbelow(900_000) + 100_000
        _give(str(number), "number")
        self._say({"passcode": number})

    def _object(self) -> None:
        self._say({"access_token": {"value": _give(secrets.token_urlsafe(32), "object"), "ttl": 60}})

    def _check(self) -> None:
        self._say({"known": _given.get(str(self.given["passcode"])), "kind": type(self.given["passcode"]).__name__})

    def _cookies(self) -> dict[str, str]:
        return dict(part.strip().split("=", 1) for part in self.headers.get("cookie", "").split(";") if part)

    def _say(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        kind = "text/html" if isinstance(value, str) else "application/json"
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    serve("http", _Upstream)
