"""A check of a secret that fails in a replay since a pseudonym is there is refused; any other one is left alone."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import bcrypt
import django.conf
import itsdangerous
import jwt
import pytest
from cryptography.fernet import Fernet, InvalidToken
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


CHECKS: list[tuple[str, Callable[[str], Any], Any]] = [
    (BCRYPT_HASH, lambda text: bcrypt.checkpw(WORD.encode(), text.encode()), False),
    (WERKZEUG_HASH, lambda text: check_password_hash(text, WORD), False),
    (DJANGO_HASH, of_django, False),
    ("some-text:" + "q" * 43, of_django, "BadSignature"),
    (TOKEN, lambda text: jwt.decode(text, "k" * 32, ["HS256"]), jwt.InvalidSignatureError),
    (SIGNED, itsdangerous.URLSafeSerializer("k").loads, itsdangerous.BadSignature),
    (SEALED, lambda text: Fernet(KEY).decrypt(text), InvalidToken),
    (KEY.decode(), lambda text: Fernet(text).decrypt(SEALED), InvalidToken),
]


@pytest.fixture
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


NAMES = ["bcrypt", "werkzeug", "django-hash", "django-signing", "jwt", "itsdangerous", "fernet-text", "fernet-key"]


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
            assert inspect.isroutine(function)
            found += 1
    assert found >= 6
