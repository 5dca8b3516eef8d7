"""Flows that use secrets which they were given: ``_secret_flows.py bare|record|replay FOLDER UPSTREAM``.

Prints by flow, as JSON, what it came to: a value without any secret in it, or the class of the error. Of a replay
also how many calls it missed, and how many events it left. In a replay, the calls of two tenants, and of two files,
come in another order.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import itsdangerous
import jwt
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from werkzeug.security import check_password_hash

from tests.servers.secret_upstream import CLIENT, PASSWORD, SIGNING_KEY
from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_httpx

FLOWS: dict[str, Callable[[httpx.Client, bool], Any]] = {}


def flow(run: Callable[[httpx.Client, bool], Any]) -> Callable[[httpx.Client, bool], Any]:
    FLOWS[run.__name__] = run
    return run


def told(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@flow
def oauth(web: httpx.Client, is_replay: bool) -> Any:
    credentials = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
    first = told(web.post("/login", data={"grant_type": "client_credentials", **credentials}))
    before = told(web.get("/me", headers=bearer(first["access_token"])))
    renewal = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **credentials}
    second = told(web.post("/login", data=renewal))
    after = told(web.get("/me", headers=bearer(second["access_token"])))
    return [before, after, second["access_token"] != first["access_token"]]


@flow
def csrf(web: httpx.Client, is_replay: bool) -> Any:
    token = web.get("/form").text.partition('content="')[2].partition('"')[0]
    same = token == web.cookies["csrftoken"]
    form = {"csrfmiddlewaretoken": token}
    return [same, told(web.post("/submit", data=form, headers={"X-CSRFToken": web.cookies["csrftoken"]}))]


@flow
def cookies(web: httpx.Client, is_replay: bool) -> Any:
    return [told(web.get("/visit")) for _ in range(3)]


@flow
def digest(web: httpx.Client, is_replay: bool) -> Any:
    auth = httpx.DigestAuth(*CLIENT)
    return [told(web.get("/digest", auth=auth)) for _ in range(2)]


@flow
def presigned(web: httpx.Client, is_replay: bool) -> Any:
    urls = [told(web.get("/presign", params={"file": name}))["url"] for name in ("a", "b")]
    return [told(web.get(url)) for url in (reversed(urls) if is_replay else urls)][:: -1 if is_replay else 1]


@flow
def pages(web: httpx.Client, is_replay: bool) -> Any:
    items, token = [], ""
    while token is not None:
        page = told(web.get("/pages", params={"page_token": token} if token else {}))
        items += page["items"]
        token = page["next_page_token"]
    return items


@flow
def jwt_read(web: httpx.Client, is_replay: bool) -> Any:
    token = told(web.get("/jwt"))["id_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    lasts = claims["exp"] - claims["iat"]
    seen = told(web.get("/me", headers=bearer(token)))
    return [claims["sub"], claims["roles"], lasts, claims["exp"] > time.time(), seen]


@flow
def jwt_verified(web: httpx.Client, is_replay: bool) -> Any:
    return jwt.decode(told(web.get("/jwt"))["id_token"], SIGNING_KEY, ["HS256"])["sub"]


@flow
def base64_keys(web: httpx.Client, is_replay: bool) -> Any:
    given = told(web.get("/keys"))
    key = base64.b64decode(given["encryption_key"], validate=True)
    box, nonce = AESGCM(key), os.urandom(12)
    fernet = Fernet(given["secret_key"])
    text = b"hello"
    opened = box.decrypt(nonce, box.encrypt(nonce, text, None), None), fernet.decrypt(fernet.encrypt(text))
    return [len(key), opened == (text, text)]


@flow
def pem_keys(web: httpx.Client, is_replay: bool) -> Any:
    given = told(web.get("/pem"))
    keys = {name: load_pem_private_key(one["private_key"].encode(), None) for name, one in given.items()}
    one, two, three = keys["rsa"], keys["ec"], keys["ed25519"]
    assert isinstance(one, rsa.RSAPrivateKey)
    assert isinstance(two, ec.EllipticCurvePrivateKey)
    assert isinstance(three, ed25519.Ed25519PrivateKey)
    text = b"hello"
    one.public_key().verify(one.sign(text, padding.PKCS1v15(), SHA256()), text, padding.PKCS1v15(), SHA256())
    two.public_key().verify(two.sign(text, ec.ECDSA(SHA256())), text, ec.ECDSA(SHA256()))
    three.public_key().verify(three.sign(text), text)
    return [one.key_size, two.curve.name]


@flow
def bcrypt_checked(web: httpx.Client, is_replay: bool) -> Any:
    user = told(web.get("/user"))
    return [
        user["name"],
        *(bcrypt.checkpw(word, user["password"].encode()) for word in (PASSWORD.encode(), b"other")),
    ]


@flow
def password_hash_checked(web: httpx.Client, is_replay: bool) -> Any:
    return check_password_hash(told(web.get("/user/of/flask"))["password"], PASSWORD)


@flow
def sealed_text_opened(web: httpx.Client, is_replay: bool) -> Any:
    given = told(web.get("/sealed"))
    return Fernet(given["secret_key"]).decrypt(given["content"]).decode()


@flow
def sealed_by_aes_opened(web: httpx.Client, is_replay: bool) -> Any:
    given = told(web.get("/sealed/by/aes"))
    content = base64.b64decode(given["content"])
    return AESGCM(base64.b64decode(given["encryption_key"])).decrypt(content[:12], content[12:], None).decode()


@flow
def webhook_verified(web: httpx.Client, is_replay: bool) -> Any:
    given = told(web.get("/webhook"))
    ours = hmac.new(given["webhook_secret"].encode(), given["text"].encode(), "sha256").hexdigest()
    return hmac.compare_digest(ours, given["mac"])


@flow
def hash_under_no_name_checked(web: httpx.Client, is_replay: bool) -> Any:
    return bcrypt.checkpw(PASSWORD.encode(), told(web.get("/person"))["credentials_of_old"].encode())


@flow
def signed_cookie(web: httpx.Client, is_replay: bool) -> Any:
    web.get("/signed")
    return itsdangerous.URLSafeTimedSerializer(SIGNING_KEY).loads(web.cookies["session"])


@flow
def number(web: httpx.Client, is_replay: bool) -> Any:
    code = told(web.get("/number"))["passcode"]
    return [type(code).__name__, len(str(code)), told(web.post("/check", json={"passcode": code}))]


@flow
def object_(web: httpx.Client, is_replay: bool) -> Any:
    token = told(web.get("/object"))["access_token"]
    return [token["ttl"], told(web.get("/me", headers=bearer(token["value"])))]


@flow
def tenants(web: httpx.Client, is_replay: bool) -> Any:
    names = ["a", "b"]
    tokens = {name: told(web.get("/login", params={"tenant": name}))["access_token"] for name in names}
    asked = names[::-1] if is_replay else names
    return dict(sorted((name, told(web.get("/me", headers=bearer(tokens[name])))["tenant"]) for name in asked))


@flow
def tenants_configured(web: httpx.Client, is_replay: bool) -> Any:
    """Nothing has told whose these tokens are, so nothing in a recording does."""
    names = ["a", "b"]
    tokens = {name: f"kZ3vbN0Yt5Re38sJw2LmQ71{name}" for name in names}
    asked = names[::-1] if is_replay else names
    return dict(
        sorted((name, told(web.get("/configured", headers=bearer(tokens[name])))["tenant"]) for name in asked)
    )


def mac_of(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def in_turn(is_replay: bool) -> tuple[str, ...]:
    """Two tenants. In the replay they come in the other order."""
    return ("b", "a") if is_replay else ("a", "b")


@flow
def signed_by_header(web: httpx.Client, is_replay: bool) -> Any:
    key = told(web.get("/signing"))["a"]["signing_key"]
    texts = ["one", "two"]
    return [
        told(web.get("/signed/by/header", params={"text": text}, headers={"X-Signature": mac_of(key, text)}))
        for text in (reversed(texts) if is_replay else texts)
    ]


@flow
def signed_by_body(web: httpx.Client, is_replay: bool) -> Any:
    keys = told(web.get("/signing"))
    found = {}
    for tenant in in_turn(is_replay):
        made = {"text": f"to {tenant}", "mac": mac_of(keys[tenant]["signing_key"], f"to {tenant}")}
        answer = told(web.post("/signed/by/body", json=made))
        found[tenant] = answer["tenant"], answer["mac"] == made["mac"]
    return dict(sorted(found.items()))


@flow
def signed_by_rsa(web: httpx.Client, is_replay: bool) -> Any:
    key = load_pem_private_key(told(web.get("/signing"))["rsa"]["private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    proof = base64.b64encode(key.sign(b"hello", padding.PKCS1v15(), SHA256())).decode()
    return told(web.post("/signed/by/rsa", json={"text": "hello", "proof": proof}))["ok"]


@flow
def asserted(web: httpx.Client, is_replay: bool) -> Any:
    key = told(web.get("/signing"))["rsa"]["private_key"]
    found = []
    for name in ("ada", "bob"):
        now = int(time.time())
        claims = {
            "iss": "app",
            "sub": name,
            "aud": "upstream",
            "iat": now,
            "exp": now + 60,
            "jti": os.urandom(8).hex(),
        }
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": jwt.encode(claims, key, "RS256"),
        }
        given = told(web.post("/asserted", data=form))
        found.append(told(web.get("/me", headers=bearer(given["access_token"]))))
    return found


@flow
def bucket_polled(web: httpx.Client, is_replay: bool) -> Any:
    found = []
    for second in range(3):
        date = f"20260101T00000{second}Z" if not is_replay else f"20260202T00000{second}Z"
        signature = hmac.new(SIGNING_KEY.encode(), date.encode(), "sha256").hexdigest()
        credential = f"AKIAQ4UB2LTSEXAMPLE7/{date[:8]}/eu-1/s3/aws4_request"
        value = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={signature}"
        found.append(told(web.get("/bucket", headers={"Authorization": value, "X-Amz-Date": date})))
    return [[each["known"], each["reads"] - found[0]["reads"]] for each in found]


@flow
def tenants_signing(web: httpx.Client, is_replay: bool) -> Any:
    keys = told(web.get("/signing"))
    return dict(
        sorted(
            (
                name,
                told(
                    web.get("/signed/by/header", headers={"X-Signature": mac_of(keys[name]["signing_key"], "hello")})
                ),
            )
            for name in in_turn(is_replay)
        )
    )


@flow
def tenants_signing_urls(web: httpx.Client, is_replay: bool) -> Any:
    keys = told(web.get("/signing"))
    return dict(
        sorted(
            (name, told(web.get("/signed/by/query", params={"sig": mac_of(keys[name]["signing_key"], "hello")})))
            for name in in_turn(is_replay)
        )
    )


@flow
def tenants_signing_tokens(web: httpx.Client, is_replay: bool) -> Any:
    keys = told(web.get("/signing"))
    tokens = {name: jwt.encode({"sub": name}, keys[name]["signing_key"], "HS256") for name in ("a", "b")}
    return dict(
        sorted((name, told(web.get("/self/issued", headers=bearer(tokens[name])))) for name in in_turn(is_replay))
    )


@flow
def sealed_by_word_opened(web: httpx.Client, is_replay: bool) -> Any:
    given = told(web.get("/sealed/by/word"))
    content = base64.b64decode(given["content"])
    key = hashlib.pbkdf2_hmac("sha256", given["passphrase"].encode(), content[:16], 10)
    return AESGCM(key).decrypt(content[16:28], content[28:], None).decode()


def main(phase: str, folder: str, upstream: str) -> None:
    enable_httpx()
    found = {}
    for name, run in FLOWS.items():
        path = Path(folder, f"{name}.msgpack")
        session: Any = nullcontext()
        if phase != "bare":
            session = record(path) if phase == "record" else replay(path, fail_on_miss=False)
        with session as running, httpx.Client(base_url=upstream) as web:
            try:
                value = ["value", run(web, phase == "replay")]
            except Exception as error:
                value = ["error", type(error).__name__, str(error).partition("\n")[0]]
        verdict = running.verdict() if phase == "replay" else None
        found[name] = [value, None if verdict is None else [len(verdict.misses), len(verdict.unused)]]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
