"""Passwords never reach a cassette: neither in commands nor in replies, spans or the addresses of connections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from tests.contract.framework import each, settle
from tests.contract.redis_contract import RedisFlavour, failing
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import ReplaySession

SECRETS = ["s3cret-one", "s3cret-two", "s3cret-three", "s3cret-four", "s3cret-five", "s3cret-six", "s3cret-seven"]
FLAVOURS = [RedisFlavour(asynchronous, protocol) for asynchronous in (False, True) for protocol in (2, 3)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def tracing() -> Iterator[None]:
    provider = TracerProvider(shutdown_on_exit=False)
    RedisInstrumentor().instrument(tracer_provider=provider)
    yield
    RedisInstrumentor().uninstrument()


async def _app(flavour: RedisFlavour, server: RedisServer) -> list[Any]:
    one, two, three, four, five, six, seven = SECRETS
    async with flavour.open(server) as r:
        seen = [
            await settle(r.config_set("masterauth", one)),
            await settle(r.config_get("master*")),
            await settle(r.acl_setuser("ada", enabled=True, passwords=[f"+{two}"], commands=["+@all"], keys=["*"])),
            await settle(r.acl_getuser("ada")),
            await settle(r.acl_list()),
            await settle(r.execute_command("AUTH", "ada", two)),
            await failing(lambda: r.execute_command("AUTH", "ada", three)),
            await failing(lambda: r.execute_command("HELLO", flavour.protocol, "AUTH", "ada", four)),
            await failing(lambda: r.execute_command("MIGRATE", "127.0.0.1", 1, "nokey", 0, 10, "AUTH2", "ada", five)),
            await failing(lambda: r.execute_command("MIGRATE", "127.0.0.1", 1, "nokey", 0, 10, "AUTH", six)),
        ]
        pipe = r.pipeline()
        pipe.config_set("requirepass", seven)
        pipe.config_get("requirepass")
        pipe.config_set("requirepass", "")
        seen.append(await settle(pipe.execute()))
    async with flavour.open(server, username="ada", password=two) as r:
        seen.append(await settle(r.acl_whoami()))
    url = f"redis://ada:{two}@127.0.0.1:{server.port}/0"
    client = flavour.module.from_url(url)
    seen.append(await settle(client.set("a", 1)))
    await flavour.close(client)
    return seen


def recorded_without_secrets(
    flavour: RedisFlavour, server: RedisServer, path: Path, app: Callable[[str], Any]
) -> None:
    """No secret reaches the disk, another one finds the same answers, and those have pseudonyms. Stops the server."""
    with record(path):
        recorded = flavour.run(app("s3cret"))
    assert b"s3cret" not in path.read_bytes()
    server.stop()
    with replay(path) as session:
        replayed = flavour.run(app("another"))
    assert isinstance(session, ReplaySession)
    assert session.misses == []
    # One secret has one pseudonym, wherever it stood.
    (pseudonym,) = read_cassette(path).pseudonyms
    assert re.fullmatch("[a-z][0-9][a-z]{4}", pseudonym)
    assert repr(replayed) == repr(recorded).replace("s3cret", pseudonym)


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
@pytest.mark.usefixtures("tracing")
def test_no_password_reaches_a_cassette(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path):
        recorded = flavour.run(_app(flavour, server))
    written = path.read_bytes()
    assert [secret for secret in SECRETS if secret.encode() in written] == []
    assert {event.signature.url for event in read_cassette(path).events} == {f"redis://127.0.0.1:{server.port}/0"}
    server.stop()
    with replay(path) as session:
        replayed = flavour.run(_app(flavour, server))
    assert isinstance(session, ReplaySession)
    assert session.misses == []
    # What the server answered, with the passwords that this run has set itself.
    assert repr(replayed[:3] + replayed[5:9]) == repr(recorded[:3] + recorded[5:9])
    assert "s3cret-one" in repr(replayed[1])
    # Of the passwords that the server alone knows there are hashes, and those are others of the same length.
    hashes, others = (re.findall("[0-9a-f]{64}", repr(seen[3:5])) for seen in (recorded, replayed))
    assert len(hashes) == len(others) > 0
    assert not set(hashes) & set(others)


def test_the_hash_of_a_password_is_one_too(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path), redis.Redis(port=server.port) as r:
        r.acl_setuser("ada", enabled=True, passwords=["+s3cret"])
        r.acl_setuser("bob", enabled=True, hashed_passwords=["+" + "ab" * 32])
        hashes = r.acl_getuser("ada")["passwords"]
        r.acl_list()
        made_up = r.acl_genpass()
    written = path.read_bytes()
    assert str(made_up).encode() not in written
    assert str(hashes[0]).encode() not in written
    assert ("ab" * 32).encode() not in written


def test_another_password_finds_the_same_recording(server: RedisServer, tmp_path: Path) -> None:
    def app(password: str) -> Any:
        with redis.Redis(port=server.port) as r:
            return r.config_set("masterauth", password)

    path = tmp_path / "x.msgpack"
    with record(path):
        app("first")
    server.stop()
    with replay(path):
        assert app("second") is True


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("decode", [False, True], ids=["bytes", "text"])
def test_secret_fields_of_hashes(flavour: RedisFlavour, server: RedisServer, tmp_path: Path, decode: bool) -> None:
    """As in a JSON body: the names of `docs/redaction.md`, in commands and in replies of every shape."""

    async def app(secret: str) -> list[Any]:
        async with flavour.open(server, decode_responses=decode) as r:
            seen = [
                await settle(r.hset("h", mapping={"name": "Ada", "Password": secret, "age": 36})),
                await settle(r.hgetall("h")),
                await settle(r.hget("h", "Password")),
                await settle(r.hget("h", "name")),
                await settle(r.hmget("h", ["name", "Password", "missing"])),
                await settle(r.hsetnx("h", "token", secret)),
                await settle(r.xadd("x", {"token": secret, "kind": "login"}, id="1-1", maxlen=5)),
                await settle(r.hget("h", "missing")),
                await settle(r.xrange("x")),
                await settle(r.xrevrange("x", count=1)),
                await settle(r.xread({"x": "0"})),
                await settle(r.xgroup_create("x", "g", id="0")),
                await settle(r.xreadgroup("g", "c", {"x": ">"})),
                await settle(r.xclaim("x", "g", "d", 0, ["1-1"])),
                await settle(r.xinfo_stream("x")),
            ]
            for transaction in (True, False):
                pipe = r.pipeline(transaction=transaction)
                pipe.hgetall("h").hget("h", "token").hset("h", "secret", secret).hget("h", "name").hmget(
                    "h", "age", "pwd"
                )
                seen.append(await settle(pipe.execute()))
            return seen

    path = tmp_path / "x.msgpack"
    recorded_without_secrets(flavour, server, path, app)

    server.start()
    with record(path, redact="off"):
        recorded = flavour.run(app("s3cret"))
    server.stop()
    with replay(path):
        assert flavour.run(app("s3cret")) == recorded


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_secret_fields_that_are_scanned_picked_or_repeated(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    async def app(secret: str) -> list[Any]:
        async with flavour.open(server) as r:
            seen = [
                await settle(r.hset("h", mapping={"password": secret})),
                [item async for item in each(r.hscan_iter("h"))],
                await settle(r.hrandfield("h", 1, withvalues=True)),
                await settle(r.hrandfield("h", -2, withvalues=True)),
                await settle(r.hrandfield("h")),
                await settle(r.hmget("h", "password", "password")),
                await settle(r.execute_command("HSET", "h", "password", secret, "password", secret)),
                await settle(r.execute_command("XADD", "x", "1-1", "token", secret, "token", secret)),
                await settle(r.execute_command("XADD", "x", "2-1", "a", 1, "a", 2)),
                await settle(r.execute_command("XRANGE", "x", "-", "+")),
            ]
            pipe = r.pipeline()
            pipe.hscan("h").hrandfield("h", 1, withvalues=True).hscan("missing").hmget("h", "a", "a")
            seen.append(await settle(pipe.execute()))
            return seen

    recorded_without_secrets(flavour, server, tmp_path / "x.msgpack", app)


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_an_error_that_quotes_the_command(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    """The app sees it whole; the description of the span in the cassette does not quote."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(runtime().processor)
    RedisInstrumentor().instrument(tracer_provider=provider)

    async def app() -> Any:
        async with flavour.open(server) as r:
            await settle(r.set("a", "text"))
            pipe = r.pipeline(transaction=False)
            pipe.hset("a", "password", "s3cret-one")
            seen = [await failing(pipe.execute)]
            pipe.execute_command("AUTH", "nobody", "s3cret-two")
            seen.append(await failing(pipe.execute))
            return seen

    path = tmp_path / "x.msgpack"
    try:
        with record(path):
            recorded = flavour.run(app())
    finally:
        RedisInstrumentor().uninstrument()
    assert "s3cret-one" in repr(recorded)
    assert b"s3cret" not in path.read_bytes()
    described = [event.span.status_description for event in read_cassette(path).events if event.span]
    assert described[0] is None
    assert all(str(text).endswith("Error: [REDACTED]") for text in described[1:])
    server.stop()
    with replay(path):
        assert flavour.run(app()) == recorded


UNKNOWN = ("HELLO", "AUTH", "CONFIG", "ACL", "MIGRATE", "HSET")


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_a_server_that_quotes_what_it_does_not_know(flavour: RedisFlavour, tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(runtime().processor)
    RedisInstrumentor().instrument(tracer_provider=provider)

    async def app(server: RedisServer) -> list[Any]:
        async with flavour.open(server, username="default", password="s3cret-one") as r:
            seen = [await failing(lambda: r.get("a"))]
        async with flavour.open(server, protocol=2) as r:
            seen += [
                await failing(lambda: r.config_set("masterauth", "s3cret-two")),
                await failing(lambda: r.execute_command("ACL", "SETUSER", "bob", ">s3cret-three")),
                await failing(lambda: r.execute_command("MIGRATE", "h", 1, "k", 0, 10, "AUTH", "s3cret-four")),
                await failing(lambda: r.execute_command("AUTH", "s3cret-five")),
                await failing(lambda: r.hset("h", mapping={"name": "Ada", "password": "s3cret-six"})),
                await failing(lambda: r.execute_command("NOSUCH", "argument")),
            ]
            for transaction in (True, False):
                pipe = r.pipeline(transaction=transaction)
                pipe.set("a", 1).config_set("requirepass", "s3cret-seven")
                seen.append(await failing(pipe.execute))
            pipe = r.pipeline()
            await settle(pipe.watch("a"))
            pipe.multi()
            pipe.get("a").execute_command("AUTH", "s3cret-eight")
            seen.append(await failing(pipe.execute))
            return seen

    path = tmp_path / "x.msgpack"
    with RedisServer(tmp_path, without=UNKNOWN) as server:
        try:
            with record(path):
                recorded = flavour.run(app(server))
        finally:
            RedisInstrumentor().uninstrument()
        server.stop()
        assert b"s3cret" not in path.read_bytes()
        with replay(path) as session:
            replayed = flavour.run(app(server))
    assert isinstance(session, ReplaySession)
    assert session.misses == []
    assert "argument" in repr(replayed[6])
    assert replayed[6] == recorded[6]
    assert [seen["class"] for seen in replayed] == [seen["class"] for seen in recorded]
    heads = [seen["str"].partition("beginning with:")[0] for seen in replayed]
    assert heads == [seen["str"].partition("beginning with:")[0] for seen in recorded]


def test_an_error_of_a_request_that_quotes_a_password(tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with (
        RedisServer(tmp_path, without=UNKNOWN) as server,
        pytest.raises(redis.ResponseError, match="s3cret"),
        record(path),
        redis.Redis(port=server.port, protocol=2) as r,
    ):
        r.config_set("requirepass", "s3cret")
    assert b"s3cret" not in path.read_bytes()
    assert "unknown command" in (read_cassette(path).error_info or {})["message"]


def test_an_error_that_quotes_a_rule(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path), redis.Redis(port=server.port) as r, pytest.raises(redis.ResponseError, match="s3cret"):
        r.execute_command("ACL", "SETUSER", "bob", "<s3cret")
    assert b"s3cret" not in path.read_bytes()
