"""The hash of a password is a secret wherever it stands, and its pseudonym is a hash that costs as much to check."""

from __future__ import annotations

import json
from urllib.parse import quote

import bcrypt
import pytest
from werkzeug.security import check_password_hash

from timetracer_otel.redact.password_hashes import is_password_hash
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.secret_forms import well_known_secrets

HASHES = {
    "bcrypt": "$2b$04$JHRw8QW/aKYVSmTC3n5AWuBvCvsosHca7esU8sJTcv2U4gGe/eFOq",
    "argon2": "$argon2id$v=19$m=65536,t=3,p=4$MIIRqgvgQbgj220jfp0MPA$YfwJSVjtjSU0zzV/P3S9nnQ/USre2wvJMjfCIjrTQbg",
    "scrypt": "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
    "pbkdf2": "$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk",
    "sha-crypt": "$6$rounds=5000$saltstring$" + "aB3./" * 17 + "a",
    "md5-crypt": "$1$salt$" + "aB3./" * 4 + "ab",
    "yescrypt": "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    "phpass": "$P$B" + "aB3./" * 6,
    "werkzeug pbkdf2": "pbkdf2:sha256:1000$sAlt$" + "0f" * 32,
    "werkzeug scrypt": "scrypt:32768:8:1$sAlt$" + "0f" * 64,
    "django pbkdf2": "pbkdf2_sha256$1000000$salt22$a8L9op4OrRO+ZVUblsHwkYD2NEGeN5vD8MFSuBNztTw=",
    "django argon2": "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdHNhbHQ$J0ZPe4tUKyHSyCTQCBvFnkJfOJJQWZ4Z+1zF2Yp3fsc",
    "django bcrypt": "bcrypt_sha256$$2b$12$jJcR6CsR2Wkbq5sI1y0lGuG8W1fLixm8.vCJn4zqODNMBEAO04vL6",
    "django scrypt": "scrypt$16384$salt22$8$5$Yc/Pqt95sv/nIYqt2R/lO8a7uEDrG3c92Zpp"
    "wpr2t6Nd0VEVSAQus7D8Wt4fPXoVwXXrzUxg1BhiIlglJQcYbw==",
    "ldap": "{SSHA}" + "aB3/" * 8,
    "postgresql": "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
}
COSTS = {
    "bcrypt": "$2b$04$",
    "argon2": "$argon2id$v=19$m=65536,t=3,p=4$",
    "sha-crypt": "$6$rounds=5000$",
    "phpass": "$P$B",
    "werkzeug scrypt": "scrypt:32768:8:1$",
    "django pbkdf2": "pbkdf2_sha256$1000000$",
    "django argon2": "argon2$argon2id$v=19$m=102400,t=2,p=8$",
    "ldap": "{SSHA}",
    "postgresql": "SCRAM-SHA-256$4096:",
}
JSON = [(b"content-type", b"application/json")]


@pytest.fixture
def redactor() -> Pseudonymiser:
    return Pseudonymiser(Redactor(), Pseudonyms())


@pytest.mark.parametrize("secret", HASHES.values(), ids=HASHES)
@pytest.mark.parametrize(
    "text", ["%s", "INSERT INTO people VALUES (7, '%s')", '{"about": "%s"}', "about=%s&n=1", "b'%s'"]
)
def test_a_hash_in_any_text(secret: str, text: str) -> None:
    data = (text % secret).encode()
    assert [data[start:stop].decode() for start, stop in well_known_secrets(data)] == [secret]


@pytest.mark.parametrize("secret", HASHES.values(), ids=HASHES)
def test_a_hash_with_the_escapes_of_json_and_of_urls(redactor: Pseudonymiser, secret: str) -> None:
    redactor.note(json.dumps({"about": secret}).replace("/", "\\/").encode())
    redactor.note(f"https://h/a?about={quote(secret, safe='')}".encode())
    assert redactor.pseudonyms.secrets().keys() == {secret}


@pytest.mark.parametrize("name", HASHES)
def test_the_pseudonym_of_a_hash_is_one_of_the_same_cost(name: str) -> None:
    made = Pseudonyms().of(HASHES[name])
    assert made != HASHES[name]
    assert len(made) == len(HASHES[name])
    assert is_password_hash(made)
    assert made.startswith(COSTS.get(name, ""))


def test_a_pseudonym_can_be_checked_and_is_no_hash_of_the_password() -> None:
    for secret in (bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode(), HASHES["bcrypt"]):
        assert not bcrypt.checkpw(b"hunter2", Pseudonyms().of(secret).encode())
    assert not check_password_hash(Pseudonyms().of(HASHES["werkzeug pbkdf2"]), "hunter2")


@pytest.mark.parametrize(
    "text",
    [
        "it costs $2 or $10, and $6$ more than $1$",
        "SELECT $1, $2 WHERE a = $10",
        "the algorithm is pbkdf2_sha256$ with scrypt",
        "{SHA} and {MD5} are old",
        "$argon2id$v=19$m=65536,t=3,p=4",
    ],
)
def test_what_is_no_hash(text: str) -> None:
    assert well_known_secrets(text.encode()) == []


@pytest.mark.parametrize("name", ["password_hash", "passwordHash", "pwhash", "hashed_password"])
def test_what_stands_under_the_name_of_a_hash_is_judged(redactor: Pseudonymiser, name: str) -> None:
    digest = "5f4dcc3b5aa765d61d8327deb882cf99"
    made = json.loads(redactor.body(json.dumps({name: digest}).encode(), JSON).data)
    assert made == {name: redactor.pseudonyms.of(digest)}
    assert redactor.value({name: digest}) == made
    for value in ("bcrypt", 12, None, "", True, "not set", {"algorithm": "argon2id", "cost": 3}):
        data = json.dumps({name: value}).encode()
        assert redactor.body(data, JSON).data == data
        assert redactor.value({name: value}) == {name: value}
        assert Redactor().body(data, JSON).data == data
    longer = 2 * digest
    made = json.loads(redactor.body(json.dumps({name: {"algorithm": "sha256", "hash": longer}}).encode(), JSON).data)
    assert made == {name: {"algorithm": "sha256", "hash": redactor.pseudonyms.of(longer)}}
