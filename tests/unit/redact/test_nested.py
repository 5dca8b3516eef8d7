"""Secrets in documents within values: pickles, compressed values, JSON in base64, what Python shows of an object."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.nested import with_texts_of_pickle
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.secret_book import SecretBook

SECRET = "h3WdZq7Kx9tNb5uR"


def redacted(value: Any) -> Any:
    return Pseudonymiser(Redactor(), Pseudonyms()).value(value)


NESTED: dict[str, Callable[[str], Any]] = {
    "pickle": lambda s: pickle.dumps({"user": "ada", "password": s, "n": 1}),
    "old pickle": lambda s: pickle.dumps({"user": "ada", "password": s}, protocol=2),
    "pickle of lists": lambda s: pickle.dumps([{"token": "of another"}, {"token": s}]),
    "bytes in a pickle": lambda s: pickle.dumps({"token": s.encode()}),
    "json in a pickle": lambda s: pickle.dumps(("f", json.dumps({"token": s}))),
    "compressed pickle": lambda s: zlib.compress(pickle.dumps(("f", None, (), {"password": s}))),
    "compressed json": lambda s: zlib.compress(json.dumps({"password": s}).encode(), 9),
    "gzip": lambda s: gzip.compress(json.dumps({"password": s}).encode(), mtime=0),
    "base64 in json": lambda s: json.dumps({"body": base64.b64encode(json.dumps({"token": s}).encode()).decode()}),
    "url's base64": lambda s: json.dumps(["", base64.urlsafe_b64encode(json.dumps([{"jwt": s}]).encode()).decode()]),
    "an object": lambda s: f"Login(user='ada', password='{s}')",
    "a dictionary": lambda s: f"work({{'password': '{s}'}})",
    "a quoted text": lambda s: f"""work("password='{s}'")""",
    "a dictionary in json": lambda s: json.dumps({"kwargsrepr": str({"password": s})}),
    "in double quotes": lambda s: f'work(password="{s}")',
}


def contents(value: Any) -> bytes:
    """All that stands in a value, without what hides it."""
    data: bytes = value if isinstance(value, bytes) else value.encode()
    if data[:2] in (b"x\x9c", b"x\xda"):
        data = zlib.decompress(data)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for part in data.split(b'"'):
        if len(part) > 20 and len(part) % 4 == 0 and part.isascii():
            data += base64.b64decode(part.translate(bytes.maketrans(b"-_", b"+/")))
    return data


@pytest.mark.parametrize("place", NESTED)
class TestNestedDocuments:
    def test_a_secret_gets_a_pseudonym(self, place: str) -> None:
        value = NESTED[place](SECRET)
        assert SECRET.encode() in contents(value)
        made = redacted([value, {"of": value}])
        for one in (made[0], made[1]["of"]):
            assert type(one) is type(value)
            assert SECRET.encode() not in contents(one)
            assert len(contents(one)) == len(contents(value)), "what stands beside it is as it was"

    def test_calls_that_differ_in_it_are_equal(self, place: str) -> None:
        signer = Signer(Redactor())
        one, other, third = (
            signer.arguments_hash("redis", signer.redacted_arguments("redis", ["SET", "k", NESTED[place](text)]))
            for text in (SECRET, "a8Kq" + SECRET[4:], "longer" + SECRET)
        )
        assert one == other == third

    def test_one_that_is_known_is_found_there(self, place: str) -> None:
        rules = Redactor("default")
        book = SecretBook(rules, Signer(rules))
        book.redactor.secret(SECRET)
        value = NESTED[place](f"of {SECRET}")
        made = book.occurrences.value([value])[0]
        assert SECRET.encode() not in contents(made)


def test_what_a_pickle_holds_can_still_be_read() -> None:
    value = {"user": "ada", "password": SECRET, "list": ["password", 1], "of": ("token", "password", {"x": b"y"})}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        made = pickle.loads(redacted(pickle.dumps(value, protocol)))
        assert made["password"] != SECRET
        assert made | {"password": SECRET, "of": value["of"]} == value
        longer = with_texts_of_pickle(
            pickle.dumps(value, protocol), lambda text, _: text * 300 if text == "ada" else text
        )
        assert pickle.loads(longer) == value | {"user": "ada" * 300}


def test_what_is_no_whole_document_stays() -> None:
    for data in (
        b"x\x9c and more",
        b"\x1f\x8b\x08",
        b"\x80 password \x8c",
        b"\x80\x04\x8c\xffpassword",
        b"x^2 = token",
    ):
        assert redacted(data) == data


def test_an_open_name_may_be_given_a_secret_one() -> None:
    assert Redactor().text("KeyError: 'token: h3Wd7xyz'") == "KeyError: 'token: [REDACTED]'"


def test_headers_are_secret_in_a_document_too() -> None:
    made = redacted(
        json.dumps({"headers": {"X-Vault-Token": SECRET, "x_api_key": SECRET, "authentication": "basic"}})
    )
    assert SECRET not in made
    assert "basic" in made


@pytest.mark.parametrize(
    "page",
    [
        "<tr><td>password</td> <td class='code'><pre>&#x27;{}&#x27;</pre></td></tr>",
        "<dt>token</dt><dd>{}</dd>",
        "<p>login failed: password=&#x27;{}&#x27;</p>",
        '<div data-page="{{&quot;token&quot;:&quot;{}&quot;}}">',
    ],
)
def test_what_the_page_of_an_error_shows_has_names(page: str) -> None:
    lines = ((b"content-type", b"text/html"),)
    for secret in (SECRET, "p/9&amp;" + SECRET):
        made = Pseudonymiser(Redactor(), Pseudonyms()).body(page.format(secret).encode(), lines).data.decode()
        assert SECRET not in made
        assert made[:12] == page.format("")[:12]
        assert Redactor().body(page.format(secret).encode(), lines).data.decode() == page.format("[REDACTED]")


def test_no_pseudonym_holds_its_secret() -> None:
    """A key whose lines Python has quoted has no line of its own."""
    lines = "\\n'\n '".join(
        ["-----BEGIN EC PRIVATE KEY-----", "aB3d" * 16, "aB3d" * 7 + "aQ==", "-----END EC PRIVATE KEY-----"]
    )
    made = Pseudonyms().of(lines)
    assert "aB3daB3d" not in made
    for secret in ("********", "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----"):
        assert secret not in Pseudonyms().of(secret)
