"""A check of a secret that fails in a replay since a pseudonym is there is refused; any other one is left alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import inspect
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import bcrypt
import django.conf
import itsdangerous
import jwt
import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as crypto_hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from werkzeug.security import check_password_hash

from tests.unit.session.test_bindings import replaying
from timetracer_otel.context import reset_session, set_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.guard.verifiers import Verifiers
from timetracer_otel.libraries.without_plugin import CLIENTS

WORD = "tr0ub4dor-and-3-more"
BCRYPT_HASH = "$2b$04$abcdefghijklmnopqrstuu0Vp4Pv9iM3t0Y2vXWmGqYfq6eZ0bG5e"
WERKZEUG_HASH = "pbkdf2:sha256:1000$sAlt$" + "0f" * 32
DJANGO_HASH = "pbkdf2_sha256$1000$sAlt$" + "q" * 43 + "="
TOKEN = jwt.encode({"sub": "7"}, "another-key-of-32-bytes-and-more-of-it", "HS256")
SIGNED = itsdangerous.URLSafeSerializer("another-key").dumps({"user": 7})
KEY, SEALED = Fernet.generate_key(), Fernet(Fernet.generate_key()).encrypt(b"x").decode()


def of_django(text: str) -> Any:
    from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password
    from django.core import signing

    if not django.conf.settings.configured:
        django.conf.settings.configure()
    # As many rounds as the hash has. Django does those that are missing after each check that fails: for a second.
    with mock.patch.object(PBKDF2PasswordHasher, "iterations", 1000):
        return check_password(WORD, text) if "$" in text else signing.Signer(key="k").unsign(text)


def pem(key: Any) -> str:
    """A private key as text."""
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


RSA, EC, ED25519 = (
    pem(key)
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    )
)
RAW_KEY = base64.b64encode(bytes(range(32))).decode()
TEXT = b"a text that somebody else has signed"


def public(text: str) -> Any:
    """The public half of a private key."""
    return load_pem_private_key(text.encode(), None).public_key()


def opened(cipher: Any, text: str) -> Any:
    return cipher(base64.b64decode(text)).decrypt(b"0" * 12, b"sealed by another key, or by none", None)


def by_cryptography(text: str) -> None:
    made = crypto_hmac.HMAC(base64.b64decode(text), hashes.SHA256())
    made.update(TEXT)
    made.verify(b"0" * 32)


def signed_webhook(text: str) -> bool:
    ours = hmac.new(text.encode(), TEXT, hashlib.sha256).hexdigest()
    return hmac.compare_digest(ours, "0f" * 32)


def signed_in_base64(text: str) -> bool:
    ours = hmac.digest(base64.b64decode(text), TEXT, "sha256")
    return secrets.compare_digest(ours, b"0" * 32)


def jwt_by_key(text: str) -> Any:
    return jwt.decode(TOKEN, text, ["HS256"])


def jwt_by_public_key(text: str) -> Any:
    token = jwt.encode({"sub": "7"}, ec.generate_private_key(ec.SECP256R1()), "ES256")
    return jwt.decode(token, public(text), ["ES256"])


CHECKS: list[tuple[str, Callable[[str], Any], Any]] = [
    (BCRYPT_HASH, lambda text: bcrypt.checkpw(WORD.encode(), text.encode()), False),
    (WERKZEUG_HASH, lambda text: check_password_hash(text, WORD), False),
    (DJANGO_HASH, of_django, False),
    ("some-text:" + "q" * 43, of_django, "BadSignature"),
    (TOKEN, lambda text: jwt.decode(text, "k" * 32, ["HS256"]), jwt.InvalidSignatureError),
    (SIGNED, itsdangerous.URLSafeSerializer("k").loads, itsdangerous.BadSignature),
    (SEALED, lambda text: Fernet(KEY).decrypt(text), InvalidToken),
    (KEY.decode(), lambda text: Fernet(text).decrypt(SEALED), InvalidToken),
    (RAW_KEY, lambda text: opened(AESGCM, text), InvalidTag),
    (RAW_KEY, lambda text: opened(AESCCM, text), InvalidTag),
    (RAW_KEY, lambda text: opened(ChaCha20Poly1305, text), InvalidTag),
    (
        RSA,
        lambda text: public(text).verify(b"0" * 256, TEXT, padding.PKCS1v15(), hashes.SHA256()),
        InvalidSignature,
    ),
    (EC, lambda text: public(text).verify(b"0" * 70, TEXT, ec.ECDSA(hashes.SHA256())), InvalidSignature),
    (ED25519, lambda text: public(text).verify(b"0" * 64, TEXT), InvalidSignature),
    (RAW_KEY, by_cryptography, InvalidSignature),
    (WORD, signed_webhook, False),
    (RAW_KEY, signed_in_base64, False),
    (WORD, lambda text: hmac.compare_digest(text, "the key of this machine"), False),
    ("key-of-32-bytes-that-an-answer-gave", jwt_by_key, jwt.InvalidSignatureError),
    (EC, jwt_by_public_key, jwt.InvalidSignatureError),
    ("another-key-1", lambda text: itsdangerous.URLSafeSerializer(text).loads(SIGNED), itsdangerous.BadSignature),
]


@pytest.fixture(scope="module")
def verifiers() -> Iterator[Verifiers]:
    made = Verifiers()
    made.know(CLIENTS.verifiers)
    made.install()
    yield made
    made.remove()


def outcome(check: Callable[[str], Any], text: str) -> Any:
    try:
        return check(text)
    except ReplayMismatchError:
        raise
    except Exception as error:
        return type(error).__name__


NAMES = [
    "bcrypt",
    "werkzeug",
    "django-hash",
    "django-signing",
    "jwt",
    "itsdangerous",
    "fernet-text",
    "fernet-key",
    *("aesgcm", "aesccm", "chacha20"),
    *("rsa", "ec", "ed25519"),
    *("crypto-hmac", "webhook", "digest", "compared"),
    *("jwt-key", "jwt-public-key", "itsdangerous-key"),
]


def test_the_originals_are_back_afterwards() -> None:
    verifiers = Verifiers()
    verifiers.know(CLIENTS.verifiers)
    before = hmac.compare_digest, secrets.compare_digest, vars(hmac.HMAC)["digest"], vars(AESGCM)["decrypt"]
    verifiers.install()
    assert hmac.compare_digest is not before[0]
    verifiers.remove()
    assert before == (hmac.compare_digest, secrets.compare_digest, hmac.HMAC.digest, vars(AESGCM)["decrypt"])
    assert AESGCM(bytes(16)).encrypt(b"0" * 12, b"x", None)


@pytest.mark.parametrize(("text", "check", "own"), CHECKS, ids=NAMES)
def test_a_check_that_fails_by_a_pseudonym_is_refused(
    verifiers: Verifiers, text: str, check: Callable[[str], Any], own: Any
) -> None:
    own = own if isinstance(own, (str, bool)) else own.__name__
    session = replaying(pseudonyms=(text,))
    token = set_session(session)
    try:
        with pytest.raises(ReplayMismatchError, match="was asked whether a pseudonym is genuine"):
            check(text)
        assert len(session.misses) == 1
    finally:
        reset_session(token)
    other = set_session(replaying(pseudonyms=("another-pseudonym",)))
    try:
        assert outcome(check, text) == own
    finally:
        reset_session(other)
    assert outcome(check, text) == own


def test_two_pseudonyms_are_of_two_secrets(verifiers: Verifiers) -> None:
    token = set_session(replaying(pseudonyms=("one-secret-1", "two-secret-2")))
    try:
        assert hmac.compare_digest("one-secret-1", "two-secret-2") is False
        assert hmac.compare_digest("one-secret-1", "one-secret-1") is True
    finally:
        reset_session(token)


def test_what_a_key_has_sealed_or_signed_itself_is_left_alone(verifiers: Verifiers) -> None:
    token = set_session(replaying(pseudonyms=(RAW_KEY, RSA, ED25519, WORD)))
    try:
        box = AESGCM(base64.b64decode(RAW_KEY))
        assert box.decrypt(b"0" * 12, box.encrypt(b"0" * 12, TEXT, None), None) == TEXT
        key: Any = load_pem_private_key(RSA.encode(), None)
        key.public_key().verify(
            key.sign(TEXT, padding.PKCS1v15(), hashes.SHA256()), TEXT, padding.PKCS1v15(), hashes.SHA256()
        )
        one, other = (hmac.new(WORD.encode(), TEXT, hashlib.sha256) for _ in range(2))
        assert hmac.compare_digest(one.digest(), other.copy().digest())
    finally:
        reset_session(token)


def test_a_key_of_the_app_is_none_of_a_pseudonym_that_was_loaded_before(verifiers: Verifiers) -> None:
    token = set_session(replaying(pseudonyms=(RAW_KEY, ED25519, WORD)))
    try:
        assert outcome(lambda text: opened(AESGCM, text), RAW_KEY.replace("A", "B")) == "InvalidTag"
        assert hmac.compare_digest(hmac.digest(b"mine", TEXT, "sha256"), b"0" * 32) is False
        mine = ed25519.Ed25519PrivateKey.generate().public_key()
        with pytest.raises(InvalidSignature):
            mine.verify(b"0" * 64, TEXT)
    finally:
        reset_session(token)


def test_a_check_that_succeeds_is_left_alone(verifiers: Verifiers) -> None:
    genuine = bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4)).decode()
    token = set_session(replaying(pseudonyms=(genuine,)))
    try:
        assert bcrypt.checkpw(WORD.encode(), genuine.encode())
    finally:
        reset_session(token)


def test_every_function_is_there_where_its_package_is() -> None:
    found = 0
    for module, declared in CLIENTS.verifiers.items():
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for verifier in declared:
            function: Any = loaded
            for name in verifier.name.split("."):
                function = getattr(function, name)
            assert inspect.isroutine(function) or callable(function)
            found += 1
    assert found >= 40
