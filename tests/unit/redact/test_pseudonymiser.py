"""What a recording finds to be a secret, by name and by form, and what it leaves."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import pytest

from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.secret_forms import assigned_secrets, well_known_secrets
from timetracer_otel.redact.secret_names import SECRET_FIELDS

JSON = [(b"content-type", b"application/json")]
SECRET = "Zq8-vT41xKw0pLm7"


@pytest.fixture
def redactor() -> Pseudonymiser:
    return Pseudonymiser(Redactor(), Pseudonyms())


def body(redactor: Pseudonymiser, data: bytes, content_type: bytes = b"application/json") -> bytes:
    return redactor.body(data, [(b"content-type", content_type)], [len(data)]).data


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("application/json", '{"password": "%s", "n": 1}'),
        ("application/x-amz-json-1.1", '{"SecretString": "%s"}'),
        ("application/octet-stream", ' {"Credentials": {"SecretAccessKey": "%s"}}'),
        ("application/x-ndjson", '{"n":1}\n{"session_token":"%s"}\n'),
        ("text/event-stream", 'data: {"access_token":"%s"}\n\n'),
        ("application/json", '{"query": "mutation($p: String!) {f}", "variables": {"password": "%s"}}'),
        ("application/json", '{"accessToken": {"value": "%s", "kind": "bearer", "expires": "2030-01-01"}}'),
        ("application/json", '{"password": ["%s"]}'),
        ("application/x-www-form-urlencoded", "oauth_token_secret=%s&n=1"),
        ("text/xml", "<R><SecretAccessKey>%s</SecretAccessKey><n>1</n></R>"),
        ("application/soap+xml", '<s:B xmlns:s="x"><w:Password Type="t">%s</w:Password></s:B>'),
        ("application/xml", '<user name="ada" password="%s"/>'),
        ("text/html", '<form><input type="hidden" name="csrf_token" value="%s"></form>'),
        ("text/html", '<meta content="%s" name="csrf-token">'),
        ("text/plain", "user=ada\npassword=%s\n"),
        ("", '{"client_secret": "%s"}'),
    ],
)
def test_secrets_under_their_names(redactor: Pseudonymiser, content_type: str, text: str) -> None:
    data = (text % SECRET).encode()
    made = body(redactor, data, content_type.encode())
    name = redactor.pseudonyms.of(SECRET)
    assert made == (text % name).encode()
    assert redactor.pseudonyms.names() == [name]


@pytest.mark.parametrize(
    "data",
    [
        b'{"tokens":[{"token":"quick","start_offset":0,"end_offset":5,"type":"<ALPHANUM>","position":0}]}',
        b'{"content":[{"token":" Hello","logprob":-0.31,"top_logprobs":[{"token":" Hi","logprob":-1}]}]}',
        b'{"accessToken": {"kind": "bearer", "expires": "2030-01-01", "scopes": ["read", "write"], "ttl": 3600}}',
        b'{"password": null, "token": true, "secret": "", "pwd": {}}',
        b'{"max_tokens": 5, "secretary": "ada", "said": "password"}',
    ],
)
def test_what_is_no_secret_stays(redactor: Pseudonymiser, data: bytes) -> None:
    assert body(redactor, data) is data
    assert redactor.pseudonyms.names() == []


@pytest.mark.parametrize(
    "value", [b"123", b"-12.50", b"4111111111111111", b"1e5", b'"a\\"b\\u00e9/"', b'"\\/a1b2\\/"']
)
def test_a_json_value_stays_of_its_kind(redactor: Pseudonymiser, value: bytes) -> None:
    made = json.loads(body(redactor, b'{"password":' + value + b"}"))["password"]
    before = json.loads(value)
    assert type(made) is type(before)
    assert made != before


def test_what_is_cut_off_is_replaced_up_to_the_end(redactor: Pseudonymiser) -> None:
    made = body(redactor, b'{"password":"cut off he')
    assert re.fullmatch(rb'\{"password":"[a-z]{3} [a-z]{3} [a-z]{2}', made)
    assert made != b'{"password":"cut off he'


def test_chunks_of_a_body_stay_where_lengths_do(redactor: Pseudonymiser) -> None:
    data = b'{"password":"hunter2","n":1}'
    assert list(redactor.body(data, JSON, [15, 5, 8]).sizes) == [15, 5, 8]


def test_headers_keep_their_schemes(redactor: Pseudonymiser) -> None:
    pair = base64.b64encode(b"ada:" + SECRET.encode()).decode()
    name = redactor.pseudonyms.of(SECRET)
    made = redactor.headers(
        [
            (b"Authorization", f"Bearer {SECRET}".encode()),
            (b"Authorization", f"Basic {pair}".encode()),
            (b"Authorization", b'Digest username="ada", nonce="n", response="%s", qop=auth' % SECRET.encode()),
            (b"Authorization", f"AWS4-HMAC-SHA256 Credential={SECRET}/2026/s3, Signature={SECRET}".encode()),
            (b"X-Api-Key", SECRET.encode()),
            (b"Cookie", f"sid=1a; theme=dark; other={SECRET}".encode()),
            (b"Set-Cookie", f"sessionid={SECRET}; Path=/; HttpOnly".encode()),
            (b"Location", f"/cb?token={SECRET}&n=1".encode()),
            (b"X-Plain", b"theme=dark"),
        ]
    )
    values = [value.decode() for _, value in made]
    assert values[0] == f"Bearer {name}"
    assert base64.b64decode(values[1].removeprefix("Basic ")) == f"ada:{name}".encode()
    assert values[2] == f'Digest username="ada", nonce="n", response="{name}", qop=auth'
    assert values[3] == f"AWS4-HMAC-SHA256 Credential={name}/2026/s3, Signature={name}"
    assert values[4] == name
    assert re.fullmatch(rf"sid=\d[a-z]; theme=dark; other={name}", values[5])
    assert values[6:8] == [f"sessionid={name}; Path=/; HttpOnly", f"/cb?token={name}&n=1"]
    assert values[8] == "theme=dark"


def test_urls(redactor: Pseudonymiser) -> None:
    name = redactor.pseudonyms.of(SECRET)
    assert redactor.url(f"https://ada:{SECRET}@h/p?a=1") == f"https://ada:{name}@h/p?a=1"
    assert redactor.url(f"https://h/p?token={SECRET}&a=b%20c") == f"https://h/p?token={name}&a=b%20c"
    slash, space = redactor.url("https://h/?token=a%2Fb1234"), redactor.url("https://h/?token=a+b1234")
    assert re.fullmatch(r"https://h/\?token=[a-z]%2F[a-z]\d{4}", slash)
    assert re.fullmatch(r"https://h/\?token=[a-z]\+[a-z]\d{4}", space)


def test_values_keep_their_types(redactor: Pseudonymiser) -> None:
    args: dict[str, Any] = {"password": "hunter2", "token": b"t0ken", "pwd": 1234, "secret": {"a": 1}, "n": "x"}
    args["v"] = ['{"password": "hunter2"}', b'[{"token":"t0ken"}]']
    made = redactor.value(args)
    assert [type(item) for item in made.values()] == [type(item) for item in args.values()]
    name = made["password"]
    assert made["v"] == [f'{{"password": "{name}"}}', b'[{"token":"%s"}]' % made["token"]]
    assert (made["secret"], made["n"]) == ({"a": 1}, "x")
    assert made["pwd"] != 1234
    assert len(str(made["pwd"])) == 4


KNOWN = {
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_" + "aB3d" * 9,
    "github fine": "github_pat_" + "aB3d" * 10,
    "gitlab": "glpat-" + "aB3d" * 5,
    "slack": "xoxb-123456789012-123456789012-" + "aB3d" * 6,
    "stripe": "sk_live_" + "aB3d" * 6,
    "openai": "sk-proj-" + "aB3d" * 12,
    "anthropic": "sk-ant-api03-" + "aB3d" * 20,
    "google": "AIza" + "aB3d-" * 7,
    "google oauth": "ya29." + "aB3d" * 10,
    "sendgrid": "SG." + "aB3d" * 5 + "xy." + "aB3d" * 10 + "xyz",
    "npm": "npm_" + "aB3d" * 9,
    "hugging face": "hf_" + "aBcd" * 8,
    "vault": "hvs." + "aB3d" * 7,
    "twilio": "SK" + "0a1b" * 8,
    "mailgun": "key-" + "0a1b" * 8,
    "digitalocean": "dop_v1_" + "0a1b" * 16,
    "shopify": "shpat_" + "0a1b" * 8,
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJlLW9mLTMyLWJ5dGVz",
    "discord": "MT" + "aB3d" * 6 + ".aB3d-_." + "aB3d" * 8,
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nAb0/Ab0/\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("secret", KNOWN.values(), ids=KNOWN)
@pytest.mark.parametrize(
    "text", ["%s", "see %s, please", "a=%s&b", "INSERT INTO t VALUES ('%s')", "https://h/%s/x", "%%3D%s"]
)
def test_well_known_secrets_in_any_text(secret: str, text: str) -> None:
    data = (text % secret).encode()
    assert [data[start:stop].decode() for start, stop in well_known_secrets(data)] == [secret]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("connect to postgresql://app:s3cr3t@db:5432/x failed", "s3cr3t"),
        ("redis://:hunter2@h", "hunter2"),
        ("Authorization: Bearer abcdef1234567890", "abcdef1234567890"),
        ("curl -H 'authorization: basic YWRhOmh1bnRlcjI='", "YWRhOmh1bnRlcjI="),
        ("name LIKE '%SK0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b%'", "SK" + "0a1b" * 8),
        (
            "no command -----BEGIN EC PRIVATE KEY----- aB3daB3daB3daB3d aB3daB3daB3daB3d, with",
            "-----BEGIN EC PRIVATE KEY----- aB3daB3daB3daB3d aB3daB3daB3daB3d",
        ),
        ("DefaultEndpointsProtocol=https;AccountKey=" + "aB3d" * 21 + "ab==;x", "aB3d" * 21 + "ab=="),
        ("https://hooks.slack.com/services/T000/B000/aB3daB3daB3daB3daB3daB3d", "aB3daB3daB3daB3daB3daB3d"),
    ],
)
def test_secrets_that_their_surroundings_tell(text: str, secret: str) -> None:
    data = text.encode()
    assert [data[start:stop].decode() for start, stop in well_known_secrets(data)] == [secret]


def test_a_key_in_a_segment_of_a_path_in_base64() -> None:
    inner: list[bytes] = []
    assert (
        well_known_secrets(b"http://host:8080/of/" + base64.urlsafe_b64encode(KNOWN["github"].encode()), inner) == []
    )
    assert KNOWN["github"].encode() in inner


@pytest.mark.parametrize(
    "text",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "the quick brown fox jumps over the lazy dog again_and_again_and_again",
        "https://user@example.com/path?x=1",
        "basic usage: see the manual; bearer of news",
        "-----BEGIN CERTIFICATE-----\nAb0/\n-----END CERTIFICATE-----",
        "0af7651916cd43dd8448eb211c80319c",
        "task-management-service-production-1",
    ],
)
def test_what_no_secret_looks_like(text: str) -> None:
    assert well_known_secrets(text.encode()) == []


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("UPDATE users SET password = 'hunter2', n = 1 WHERE token='t''x'", ["hunter2", "t''x"]),
        ("ALTER USER x IDENTIFIED BY 'pw1'; CREATE ROLE y PASSWORD 'pw2'", ["pw1", "pw2"]),
        ('login(password: \\"hunter2\\")', ["hunter2"]),
        ("run --api-key abcd1234 -v", ["abcd1234"]),
        ("password=hunter2; Server=x", ["hunter2"]),
        ("WHERE password IN ('pw1', 'p''w2') OR u.token NOT LIKE 'pw3%'", ["pw1", "p''w2", "pw3%"]),
        ("WHERE name IN ('token', 'x1') AND kind LIKE 'password'", []),
        ("SELECT 'pw1' AS access_token, 'x' AS name", ["pw1"]),
        ("SELECT set_config('app.token', 'pw1', true), upper('token')", ["pw1"]),
        ("VALUES ('token', 'x1')", []),
        ("SET PASSWORD FOR ada = PASSWORD('pw1')", ["pw1"]),
        ("Authorization: Basic YWRhOmh1bnRlcjI= is refused", ["YWRhOmh1bnRlcjI="]),
        ("token != 'pw1'", ["pw1"]),
        (r'let token = "a\"b7";', [r"a\"b7"]),
        ("WHERE password = %(password)s AND token = $1 AND secret = :s AND pwd = ?", []),
        ("SELECT password, token FROM t", []),
        ("api_key: none; password = NULL", []),
        ("nothing to see", []),
    ],
)
def test_values_that_a_text_gives_to_secret_names(text: str, secrets: list[str]) -> None:
    data = text.encode()
    assert [data[start:stop].decode() for start, stop in assigned_secrets(data, SECRET_FIELDS)] == secrets


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (b"application/json", b'{"query":"query($token: String!) { me(token: $token) { id } }", "v": "\\"a\\""}'),
        (b"application/json", b'{"note":"the \\"token\\": a word"}'),
        (b"text/javascript", b"f({token: state.token, password: e.password});"),
        (b"application/graphql", b"query($password: String!) { a }"),
        (b"text/html", b'<label>Password: <b>required</b></label><input type="password">'),
    ],
)
def test_names_in_code_and_in_sentences_are_no_secrets(
    redactor: Pseudonymiser, content_type: bytes, data: bytes
) -> None:
    assert redactor.body(data, [(b"content-type", content_type)]).data == data


def test_what_a_recording_replaces_by_name_a_replay_masks(redactor: Pseudonymiser) -> None:
    """So that a call with the secret, and the recorded one with its pseudonym, are equal."""
    rules = Redactor()
    for content_type, data in [
        (b"application/json", b'{"password":"hunter2","v":[{"token":"a1"}]}'),
        (b"text/xml", b"<a><password>hunter2</password></a>"),
        (b"text/html", b'<input name="token" value="hunter2">'),
        (b"application/x-www-form-urlencoded", b"password=hunter2&a=1"),
        (b"text/plain", b"password = 'hunter2'"),
        (b"application/json", b'{"query":"{ login(password: \\"hunter2\\") { id } }"}'),
        (b"application/json", b'{"message":"{\\"token\\": \\"hunter2\\"}"}'),
        (b"text/xml", b"<a><password><![CDATA[hun<ter2]]></password></a>"),
        (b"application/yaml", b"user: ada\npassword: hunter2\n"),
        (b"text/javascript", b'f({token: "hunter2"});'),
        (b"text/html", b"oauth_token=abcdef&oauth_token_secret=hunter2"),
        (b"text/html", b'<script>var csrfToken = "hunter2";</script>'),
        (
            b"multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n{"token":"hunter2"}\r\n--b--',
        ),
        (b"application/gzip", gzip.compress(b'{"token":"hunter2"}', mtime=0)),
    ]:
        headers = [(b"content-type", content_type)]
        recorded = redactor.body(data, headers).data
        assert recorded != data
        assert rules.body(recorded, headers).data == rules.body(data, headers).data
    args = ['{"password": "hunter2"}', {"token": 12}]
    assert rules.value(redactor.value(args)) == rules.value(args)
