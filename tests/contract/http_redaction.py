"""Secrets never reach the disk, and redacted recordings still replay; for any HTTP client."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.contract.framework import SharedTests
from tests.contract.http_flavour import HttpFlavour, Observation
from tests.servers._upstream import Upstream
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.session import ReplaySession

__all__ = ["HttpRedaction", "one_client_a_redaction"]

one_client_a_redaction = SharedTests("redaction of HTTP clients")
"""Decorates the classes that inherit `HttpRedaction`, as `one_client_a_test` does those of `HttpBehaviour`."""

SECRETS = (b"s3cr3t", base64.b64encode(b"user:s3cr3t"))

_GZIP_MAGIC = b"\x1f\x8b"


def _unpacked(value: Any) -> Iterator[bytes]:
    """Every text and byte string in a value, compressed ones also decompressed."""
    if isinstance(value, bytes):
        yield value
        if value.startswith(_GZIP_MAGIC):
            yield gzip.decompress(value)
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unpacked(key)
            yield from _unpacked(item)
        yield from _unpacked(getattr(value, "pairs", ()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _unpacked(item)
    elif hasattr(value, "__slots__"):
        for name in value.__slots__:
            yield from _unpacked(getattr(value, name))


def holds_secret(path: Path) -> bool:
    """Whether the secret stands in a cassette file, as it is or compressed."""
    texts = (path.read_bytes(), *_unpacked(read_cassette(path)))
    return any(secret in text for text in texts for secret in SECRETS)


class HttpRedaction:
    """Inherit this, and name the flavour."""

    flavour: ClassVar[HttpFlavour]

    @pytest.fixture(autouse=True)
    def _servers(self, upstream: Upstream) -> None:
        """Every test has them, also those that do not name them."""

    CALLS: ClassVar[dict[str, tuple[str, str, dict[str, Any]]]] = {
        "authorization": ("GET", "/status/200", {"headers": {"Authorization": "Bearer s3cr3t-1"}}),
        "basic auth": ("GET", "/status/200", {"auth": ("basic", "user", "s3cr3t")}),
        "header": ("GET", "/status/200", {"headers": {"X-Api-Key": "s3cr3t-2"}}),
        "user information": ("GET", "//user:s3cr3t@/status/200", {}),
        "cookie": ("GET", "/status/200", {"headers": {"Cookie": "session=s3cr3t-3; theme=dark"}}),
        "query": ("GET", "/status/200?api_key=s3cr3t-4&page=1", {}),
        "json": ("POST", "/status/200", {"json": {"user": "ann", "password": "s3cr3t-5"}}),
        "deep json": ("POST", "/status/200", {"json": {"a": [{"client_secret": "s3cr3t-6"}]}}),
        "form": ("POST", "/status/200", {"form": {"user": "ann", "password": "s3cr3t-7"}}),
        "response": ("GET", "/secret/plain", {}),
        "gzip response": ("GET", "/secret/gzip", {}),
        "gzip request": (
            "POST",
            "/status/200",
            {
                "content": gzip.compress(b'{"password": "s3cr3t-8"}', mtime=0),
                "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            },
        ),
        "redirect": ("GET", "/secret/redirect", {"follow": True}),
        "location that is no URL": ("GET", "/redirect/302?to=http://[bad%3Fa=1", {}),
        "referer that is no URL": (
            "GET",
            "/status/200",
            {"headers": {"Referer": "http://u:s3cr3t@[bad?token=s3cr3t"}},
        ),
    }

    def call(self, name: str) -> Observation:
        method, target, options = self.CALLS[name]
        if target.startswith("//"):
            userinfo, _, path = target.removeprefix("//").partition("@")
            target = self.flavour.url(path).replace("//", f"//{userinfo}@")

        async def run(f: HttpFlavour) -> Observation:
            async with f.open() as session:
                return await session.call(method, target, **options)

        return self.flavour.run(run)

    @pytest.mark.parametrize("name", list(CALLS))
    def test_a_secret_never_reaches_the_disk(self, upstream: Upstream, tmp_path: Path, name: str) -> None:
        path = tmp_path / "cassette.msgpack"
        bare = self.call(name)
        with record(path):
            recorded = self.call(name)
        for fact in ("content", "headers", "error"):
            assert recorded.get(fact) == bare.get(fact)
        assert not holds_secret(path)
        upstream.stop()
        with replay(path) as session:
            replayed = self.call(name)
        assert replayed.get("status") == bare.get("status")
        assert replayed.get("error") == bare.get("error")
        assert isinstance(session, ReplaySession)
        assert session.get_unconsumed_events() == []

    def test_an_error_that_quotes_a_secret_is_kept_without_it(self, upstream: Upstream, tmp_path: Path) -> None:
        """A token that was read from a file, with the end of its line: some clients show it in their errors."""
        path = tmp_path / "cassette.msgpack"

        async def run(f: HttpFlavour) -> Observation:
            async with f.open() as session:
                return await session.call("GET", "/status/200", headers={"Authorization": "Bearer s3cr3t-9\n"})

        bare = self.flavour.run(run)
        with record(path):
            assert self.flavour.run(run) == bare
        assert not holds_secret(path)
        upstream.stop()
        with replay(path):
            replayed = self.flavour.run(run)
        assert replayed["error"]["class"] == bare["error"]["class"]

    def test_a_damaged_body_with_a_secret_is_not_kept_as_a_whole_one(
        self, upstream: Upstream, tmp_path: Path
    ) -> None:
        """Its checksum is wrong, and clients fail over that; without the secret it would be right."""
        path = tmp_path / "cassette.msgpack"

        async def run(f: HttpFlavour) -> Observation:
            async with f.open() as session:
                return await session.call("GET", "/secret/damaged")

        bare = self.flavour.run(run)
        assert "error" in bare
        with record(path):
            assert self.flavour.run(run)["error"] == bare["error"]
        assert not holds_secret(path)
        assert read_cassette(path).events[0].not_replayable == (
            "its response body is damaged in its encoding, and has a secret"
        )

    def test_what_is_not_secret_is_kept(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "cassette.msgpack"
        with record(path):
            self.call("gzip response")
        upstream.stop()
        with replay(path):
            replayed = self.call("gzip response")
        assert replayed["json"]["user"] == "ann"
        assert replayed["json"]["password"] in read_cassette(path).pseudonyms

    def test_redaction_off_by_environment(
        self, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "cassette.msgpack"
        monkeypatch.setenv("TIMETRACER_REDACT", "off")
        with record(path):
            self.call("header")
        assert holds_secret(path)

    def test_another_secret_in_its_place_still_matches(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "cassette.msgpack"

        async def run(f: HttpFlavour, secret: str) -> Any:
            async with f.open() as session:
                json = {"user": "ann", "password": secret}
                return (await session.call("POST", f"/status/200?token={secret}", json=json))["status"]

        with record(path):
            self.flavour.run(lambda f: run(f, "s3cr3t-a"))
        assert not holds_secret(path)
        upstream.stop()
        with replay(path):
            assert self.flavour.run(lambda f: run(f, "s3cr3t-b")) == 200

    def test_extra_names_are_redacted_too(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "cassette.msgpack"

        async def run(f: HttpFlavour) -> Any:
            async with f.open() as session:
                return await session.call(
                    "POST", "/status/200", json={"iban": "s3cr3t"}, headers={"X-Iban": "s3cr3t"}
                )

        with record(path, redact_extra=["iban", "x-iban"]):
            self.flavour.run(run)
        assert not holds_secret(path)
