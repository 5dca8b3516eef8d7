"""The length and the checksums that headers state of a body follow what is replaced in it."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable

import pytest

from timetracer_otel.redact.stated import restated

BEFORE, NOW = b'{"token": "hunter2hunter2"}', b'{"token": "q7Wz"}'


def _base64(name: str) -> Callable[[bytes], bytes]:
    return lambda data: base64.b64encode(hashlib.new(name, data).digest())


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        (b"Content-Length", lambda data: str(len(data)).encode()),
        (b"Content-MD5", _base64("md5")),
        (b"Content-Digest", lambda data: b"sha-256=:" + _base64("sha256")(data) + b":, unknown=:AA==:"),
        (b"Repr-Digest", lambda data: b"sha-512=:" + _base64("sha512")(data) + b":"),
        (b"Digest", lambda data: b"SHA-256=" + _base64("sha256")(data) + b",MD5=" + _base64("md5")(data)),
        (b"x-amz-crc32", lambda data: str(zlib.crc32(data)).encode()),
        (b"x-amz-checksum-crc32", lambda data: base64.b64encode(_crc32(data))),
        (b"x-amz-checksum-sha1", _base64("sha1")),
        (b"x-amz-checksum-sha256", _base64("sha256")),
        (b"x-amz-checksum-sha512", _base64("sha512")),
        (b"x-goog-hash", lambda data: b"md5=" + _base64("md5")(data)),
    ],
)
def test_what_was_right_for_the_body_before_is_right_for_the_one_now(
    name: bytes, stated: Callable[[bytes], bytes]
) -> None:
    lines = [(b"X-First", b"1"), (name, stated(BEFORE))]
    assert [*restated(lines, len(BEFORE), BEFORE, NOW)] == [(b"X-First", b"1"), (name, stated(NOW))]


# The check values of the catalogue of parametrised CRC algorithms: CRC-32/ISCSI and CRC-64/NVME of "123456789".
CHECK = b"123456789"
CHECK_CRC32C = base64.b64encode(bytes.fromhex("e3069283"))
CHECK_CRC64NVME = base64.b64encode(bytes.fromhex("ae8b14860a799888"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-amz-checksum-crc32c", CHECK_CRC32C),
        (b"x-amz-checksum-crc64nvme", CHECK_CRC64NVME),
        (b"x-goog-hash", b"crc32c=" + CHECK_CRC32C),
    ],
)
def test_checks_that_python_has_no_module_for(name: bytes, value: bytes) -> None:
    [(_, other)] = restated([(name, value)], len(CHECK), CHECK, b"another")
    assert other != value
    assert [*restated([(name, other)], len(b"another"), b"another", CHECK)] == [(name, value)]


def test_what_was_wrong_or_is_not_known_stays() -> None:
    wrong = [(b"content-length", b"3"), (b"content-md5", b"AAAA"), (b"etag", b"x")]
    assert [*restated(wrong, len(BEFORE), BEFORE, NOW)] == wrong
    lines = [(b"content-md5", _base64("md5")(BEFORE))]
    assert [*restated(lines, len(BEFORE) + 1, BEFORE, NOW)] == lines
    lines = [(b"content-length", str(len(BEFORE)).encode())]
    assert [*restated(lines, len(BEFORE), BEFORE, None)] == lines
