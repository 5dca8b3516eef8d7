"""Pseudonyms: of the same form as the secret, one for each secret, and nothing of it in them."""

from __future__ import annotations

import base64
import json
import re
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.redact.occurrences import Occurrences
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.value_forms import is_distinctive, passes_luhn

ALNUM = string.ascii_letters + string.digits
JWT = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJzdWIiOiIxMjM0NSIsImV4cCI6MTkwMDAwMDAwMH0.c2lnbmF0dXJlLW9mLTMyLWJ5dGVzLSEh"
)


@pytest.mark.parametrize(
    ("secret", "form"),
    [
        ("hunter2", r"[a-z]{6}\d"),
        ("Tr0ub4dor&3", r"[A-Z][a-z]\d[a-z]{2}\d[a-z]{3}&\d"),
        ("7", r"\d"),
        ("0042", r"0\d{3}"),
        ("sk-proj-" + "aB3" * 12, r"sk-proj-([a-z][A-Z]\d){12}"),
        ("ghp_" + "a1B2" * 9, r"ghp_([a-z]\d[A-Z]\d){9}"),
        ("AKIAIOSFODNN7EXAMPLE", r"AKIA[A-Z]{8}\d[A-Z]{7}"),
        ("xoxb-123456789012-abcdefABCDEF", r"xoxb-\d{12}-[a-z]{6}[A-Z]{6}"),
        ("d41d8cd98f00b204e9800998ecf8427e", r"[0-9a-f]{32}"),
        ("D41D8CD98F00B204E9800998ECF8427E", r"[0-9A-F]{32}"),
        ("$2b$12$" + "a" * 22 + "B" * 31, r"\$2b\$12\$a{22}[A-Z]{31}"),
        ("pbkdf2:sha256:1000$sAlt$" + "0f" * 32, r"pbkdf2:sha256:1000\$[a-z][A-Z][a-z]{2}\$[0-9a-f]{64}"),
        ("scrypt:32768:8:1$sAlt$" + "0f" * 64, r"scrypt:32768:8:1\$[a-z][A-Z][a-z]{2}\$[0-9a-f]{128}"),
        ("pässwörd", r"[a-z][à-ÿß][a-z]{3}[à-ÿß][a-z]{2}"),
        ("2024-02-29T12:30:15.123456+02:00", r"\d{4}-[01]\d-[0-2]\d[T][0-2]\d:[0-5]\d:[0-5]\d\.\d{6}\+02:00"),
        ("10.20.30.40", r"(?:\d{1,3}\.){3}\d{1,3}"),
        ("***", r"[^a-zA-Z0-9]{3}"),
    ],
)
def test_the_form_is_kept(secret: str, form: str) -> None:
    pseudonym = Pseudonyms().of(secret)
    assert re.fullmatch(form, pseudonym), pseudonym
    assert pseudonym != secret


def test_a_uuid_is_a_uuid_of_the_same_version() -> None:
    secret = "550e8400-e29b-41d4-a716-446655440000"
    made = UUID(Pseudonyms().of(secret))
    assert (made.version, made.variant) == (4, UUID(secret).variant)


def test_a_number_of_the_length_of_a_uuid_stays_a_number() -> None:
    number = 10**31
    made = Pseudonymiser(Redactor(), Pseudonyms()).secret(number, "password")
    assert type(made) is int
    assert made != number
    assert len(str(made)) == 32


def test_a_card_number_has_its_bank_and_a_check_digit() -> None:
    made = Pseudonyms().of("4111111111111111")
    assert made.startswith("411111")
    assert len(made) == 16
    assert passes_luhn(made)


def test_base64_of_bytes_and_of_text() -> None:
    names = Pseudonyms()
    key = base64.b64encode(bytes(range(200, 232))).decode()
    made = names.of(key)
    assert len(base64.b64decode(made, validate=True)) == 32
    assert made != key
    pair = names.of(base64.b64encode(b"ada:hunter22").decode())
    assert re.fullmatch(rb"[a-z]{3}:[a-z]{6}\d\d", base64.b64decode(pair, validate=True))


@pytest.mark.parametrize("marks", ["+", "/"])
def test_a_pseudonym_has_nothing_to_escape_that_its_secret_had_not(marks: str) -> None:
    # A URL with the secret in it, as it stands, has the pseudonym as it stands.
    secret = base64.b64encode(bytes(range(30, 126))).decode().replace("+", marks).replace("/", marks)
    secret = secret if marks in secret else secret[:-8] + marks + secret[-7:]
    names = Pseudonyms()
    made = [names.of(f"{secret[:-4]}{at:04}") for at in range(40)]
    assert not set("+/") - {marks} & set("".join(made))
    assert all(base64.b64decode(each, validate=True) for each in made)


def test_a_token_keeps_its_claims_and_loses_its_signature() -> None:
    header, claims, signature = Pseudonyms().of(JWT).split(".")
    assert (header, claims) == tuple(JWT.split(".")[:2])
    assert len(signature) == len(JWT.split(".")[2])
    assert signature != JWT.split(".")[2]
    assert base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    bare = JWT.rpartition(".")[0] + "."
    made = Pseudonyms().of(bare)
    content = json.loads(base64.urlsafe_b64decode(made.split(".")[1] + "=="))
    assert content["exp"] == 1900000000
    assert re.fullmatch(r"\d{5}", content["sub"])
    assert made != bare


ED25519 = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""


def test_a_private_key_is_a_private_key() -> None:
    made = Pseudonyms().of(ED25519)
    lines = made.splitlines()
    assert (lines[0], lines[-1], made.count("\n")) == (*ED25519.splitlines()[::2], 3)
    content, before = base64.b64decode(lines[1], validate=True), base64.b64decode(ED25519.splitlines()[1])
    assert content[:16] == before[:16]
    assert content[16:] != before[16:]


def test_other_private_keys_can_be_loaded_where_the_package_is() -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    key = ec.generate_private_key(ec.SECP256R1())
    formats = serialization.PrivateFormat
    names = Pseudonyms()
    for form in (formats.PKCS8, formats.TraditionalOpenSSL, formats.OpenSSH):
        secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
        made = names.of(secret)
        assert made != secret
        load = serialization.load_ssh_private_key if form is formats.OpenSSH else serialization.load_pem_private_key
        assert load(made.encode(), None).curve.name == key.curve.name


def test_of_an_unreadable_private_key_the_lines_stay() -> None:
    secret = (
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n"
        + "Ab0/" * 16
        + "\nAb0=\n-----END RSA PRIVATE KEY-----"
    )
    made = Pseudonyms().of(secret)
    assert [len(line) for line in made.splitlines()] == [len(line) for line in secret.splitlines()]
    assert made.splitlines()[:3] == secret.splitlines()[:3]
    assert "Ab0/Ab0/" not in made


def test_a_short_secret_keeps_its_form_whatever_chance_says() -> None:
    for _ in range(2000):
        assert re.fullmatch(r"\d[a-z]", Pseudonyms().of("1a"))


def test_few_values_are_enough_for_few_secrets() -> None:
    names = Pseudonyms()
    digits = [names.of(str(number)) for number in range(10)]
    assert len(set(digits)) == 10
    assert all(name.isdigit() for name in digits)


def test_pseudonyms_of_an_earlier_recording_stay() -> None:
    names = Pseudonyms(["sk-was-here"])
    assert names.of("sk-was-here") == "sk-was-here"
    assert names.of("") == ""
    assert names.names() == ["sk-was-here"]


SECRETS = st.one_of(
    st.text(ALNUM, min_size=6, max_size=40),
    st.text(ALNUM + "+/=_-.:%&\"'\\ é日", min_size=6, max_size=40),
    st.binary(min_size=6, max_size=40).map(lambda data: base64.b64encode(data).decode()),
    st.binary(min_size=6, max_size=40).map(bytes.hex),
    st.text(min_size=1, max_size=30),
    st.uuids().map(str),
    st.integers(0, 10**20).map(str),
)


@given(st.lists(SECRETS, max_size=8, unique=True))
def test_different_secrets_have_different_pseudonyms_and_recordings_have_other_ones(secrets: list[str]) -> None:
    names, others = Pseudonyms(), Pseudonyms()
    made = [names.of(secret) for secret in secrets]
    assert made == [names.of(secret) for secret in secrets]
    assert len(set(made)) == len(secrets)
    assert not set(made) & set(secrets)
    for secret, name in zip(secrets, made, strict=True):
        assert is_distinctive(name) == is_distinctive(secret) or not secret.isascii() or len(name) != len(secret)
        if len(secret) >= 16 and secret.isalnum() and not secret.isdigit():
            assert others.of(secret) != name


WRITTEN = [
    lambda text: text,
    lambda text: json.dumps({"a": text}),
    lambda text: json.dumps(json.dumps([text])),
    lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    lambda text: base64.b64encode(f"use:{text}!".encode()).decode(),
    lambda text: base64.urlsafe_b64encode(f"us:{text}".encode()).decode().rstrip("="),
    lambda text: f"Error: Illegal value {text!r}",
    lambda text: f"Error: Illegal header value {text.encode()!r}",
]


@given(
    secret=st.text(ALNUM, min_size=12, max_size=30) | st.text(ALNUM + "+/=_-.:%& é", min_size=12, max_size=30),
    others=st.lists(st.text(ALNUM, min_size=12, max_size=20), max_size=40),
)
def test_a_secret_is_found_as_other_texts_write_it(secret: str, others: list[str]) -> None:
    names, places = Pseudonyms(), Occurrences()
    names.added = places.add
    if (
        not any(map(str.isalnum, secret))
        or not is_distinctive(secret)
        or any(secret in other or other in secret for other in others)
    ):
        return
    for other in others:
        names.of(other)
    pseudonym = names.of(secret)
    if len(pseudonym.encode()) != len(secret.encode()):
        return
    for write in WRITTEN:
        used: set[str] = set()
        text = f"before {write(secret)} behind"
        assert places.may_be_in(text.encode())
        # Base64 without a character of one of its alphabets may be of either.
        made, expected = places.text(text, used), f"before {write(pseudonym)} behind"
        assert made == expected or made.replace("+", "-").replace("/", "_") == expected
        assert pseudonym in used


def test_values_at_any_depth() -> None:
    names, places = Pseudonyms(), Occurrences()
    names.added = places.add
    name, number = names.of("s3cret-value"), int(names.of("4111111111111111"))
    value = {b"s3cret-value": ["x", ("s3cret-value",), {b"a s3cret-value b"}, 4111111111111111, 5, None]}
    assert places.value(value) == {name.encode(): ["x", (name,), {f"a {name} b".encode()}, number, 5, None]}
    harmless = {"a": ["s3cret", 5]}
    assert places.value(harmless) is harmless


def test_a_short_secret_is_replaced_where_it_stands_alone() -> None:
    names, places = Pseudonyms(), Occurrences()
    names.added = places.add
    name = names.of("hunter2")
    assert (
        places.text("hunter2 xhunter2 hunter22 a=hunter2&b %3Dhunter2")
        == f"{name} xhunter2 hunter22 a={name}&b %3D{name}"
    )
    names.of("postgres")
    assert places.text("postgres://postgres@h") == "postgres://postgres@h"
