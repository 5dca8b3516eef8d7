"""Where calls of Redis can carry a secret: in commands, in replies, in errors, in what opens a connection."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.planted.packed import PACKED
from tests.planted.planter import Planter, refusals_told

__all__ = ["plant"]

Settle = Callable[[Any], Awaitable[Any]]
"""Gives the result of a call: of a client that is asynchronous, or of one that is not."""


async def settle(result: Any) -> Any:
    """The result of a call of either client."""
    return await result if hasattr(result, "__await__") else result


async def plant(planter: Planter, redis: Any, address: str, aside: Callable[..., object], *, backwards: bool) -> None:
    """Plant a secret in each place of this client's calls.

    Args:
        planter: Gives the secrets.
        redis: The module: ``redis`` or ``redis.asyncio``.
        address: Of the server.
        aside: Runs a command past the recording.
        backwards: Whether a call that comes later may tell.
    """
    client = redis.from_url(address)
    aside("FLUSHALL")

    async def run(*words: Any) -> Any:
        with refusals_told():
            return await settle(client.execute_command(*words))

    await _named(planter, redis, client, address, run, aside)
    await _elsewhere(planter, client, run, aside, backwards)
    await settle(client.aclose() if hasattr(client, "aclose") else client.close())


async def _named(
    planter: Planter,
    redis: Any,
    client: Any,
    address: str,
    run: Callable[..., Awaitable[Any]],
    aside: Callable[..., object],
) -> None:
    named = planter.named
    await run("AUTH", named("password alone"))
    await run("AUTH", "ada", named("password"))
    await run("HELLO", "2", "AUTH", "ada", named("hello"))
    await run("CONFIG", "SET", "masterauth", named("setting"))
    await run("CONFIG", "GET", "masterauth")
    await run("ACL", "SETUSER", "eve", "on", ">" + named("rule"))
    await run("ACL", "SETUSER", "eve", "<" + named("rule that is refused"))
    await run("MIGRATE", "127.0.0.1", "1", "k", "0", "10", "AUTH", named("migration"))
    await run("HSET", "h", "password", named("field"))
    await run("HSET", "h", "Token", named("field with another case"), "age", 3)
    await run("HGETALL", "h")
    await run("HMGET", "h", "password", "age")
    await run("XADD", "x", "*", "token", named("field of a stream"))
    await run("XRANGE", "x", "-", "+")
    await run("SET", "k", json.dumps({"access_token": named("json")}))
    aside("SET", "j", json.dumps({"user": {"session_token": named("json in a reply")}}))
    aside("HSET", "other", "api_key", named("field in a reply"))
    aside("LPUSH", "queue", json.dumps({"task": "mail", "password": named("json in a list")}))
    for kind, pack in PACKED.items():
        await run("SET", "p", pack({"user": "ada", "password": named(kind)}))
        aside("RPUSH", "packed", pack({"user": "ada", "token": named(f"{kind} in a reply")}))
    await run("LRANGE", "packed", 0, -1)
    await run("GET", "j")
    await run("HGETALL", "other")
    await run("HGET", "other", "api_key")
    await run("LRANGE", "queue", 0, -1)
    await run("BLPOP", "queue", 1)
    await run(
        "EVAL", f"return redis.call('HSET', 'h', 'x', 1) -- password = '{named('script').translate(_PLAIN)}'", 0
    )
    pipe = client.pipeline(transaction=True)
    pipe.hset("h", mapping={"password": named("field in a transaction")})
    pipe.set("k", json.dumps({"token": named("json in a transaction")}))
    pipe.hgetall("h")
    with refusals_told():
        await settle(pipe.execute())
    pipe = client.pipeline(transaction=False)
    pipe.execute_command("AUTH", "ada", named("password in a pipeline"))
    pipe.hset("k", mapping={"secret": named("error of a pipeline")})
    with refusals_told():
        await settle(pipe.execute())
    for arguments in (
        {"password": named("password of a connection")},
        {"username": "eve", "password": named("user")},
    ):
        other = redis.from_url(address, retry=None, **arguments)
        with refusals_told():
            await settle(other.ping())
        with refusals_told():
            await settle(other.aclose() if hasattr(other, "aclose") else other.close())
    refused = redis.Redis(port=1, retry=None, password=named("connection that is refused"))
    with refusals_told():
        await settle(refused.ping())
    published = json.dumps({"token": named("message")})
    channel = client.pubsub()
    with refusals_told():
        await settle(channel.subscribe("news"))
        await settle(client.publish("news", published))
        for _ in range(2):
            await settle(channel.get_message(timeout=0.05))
    await settle(channel.aclose() if hasattr(channel, "aclose") else channel.close())


_PLAIN = str.maketrans("", "", "'\"&;,()<>{}[]\\ %")


async def _elsewhere(
    planter: Planter, client: Any, run: Callable[..., Awaitable[Any]], aside: Callable[..., object], backwards: bool
) -> None:
    def texts(place: str) -> list[str]:
        return list(planter.anywhere(place, backwards=backwards))

    for text in texts("key"):
        await run("GET", f"of:{text}")
    for text in texts("value"):
        await run("SET", "v", text)
    for text in texts("reply"):
        aside("SET", "r", f"it is {text}")
        await run("GET", "r")
    for text in texts("several keys"):
        await run("MGET", "a", text, "b")
    for text in texts("another field"):
        await run("HSET", "f", "of", text)
        await run("HGETALL", "f")
    for text in texts("name of a field"):
        aside("HSET", "g", text, "1")
        await run("HGETALL", "g")
    for text in texts("member"):
        await run("SADD", "s", text)
        await run("SMEMBERS", "s")
    for text in texts("scored member"):
        await run("ZADD", "z", 1, text)
        await run("ZRANGE", "z", 0, -1, "WITHSCORES")
    for text in texts("entry of a list"):
        await run("RPUSH", "l", text, b"\xff\xfe")
        await run("LRANGE", "l", 0, -1)
    for text in texts("entry of a stream"):
        await run("XADD", "y", "*", "of", text)
        await run("XRANGE", "y", "-", "+")
    for text in texts("script"):
        await run("EVAL", "return ARGV[1]", 0, text)
        await run("EVAL", f"return {json.dumps(text)}", 0)
        await run("EVAL", "return redis.error_reply(ARGV[1])", 0, text)
    for text in texts("pattern"):
        await run("SCAN", 0, "MATCH", f"*{text}*")
    for text in texts("unknown command"):
        await run("NOSUCH", text)
    for text in texts("channel"):
        await run("PUBLISH", text, "1")
    for text in texts("message"):
        await run("PUBLISH", "c", text)
    for text in texts("echo"):
        await run("ECHO", text)
    for text in texts("bytes"):
        await run("SET", "b", b"\x80\x04\x95" + text.encode() + b"\x94.\xff")
        await run("GET", "b")
    for kind, pack in PACKED.items():
        for text in texts(f"another field of {kind}"):
            await run("SET", "p", pack({"of": text}))
            await run("GET", "p")
    for text in texts("transaction"):
        pipe = client.pipeline(transaction=True)
        pipe.set("t", text)
        pipe.get("t")
        pipe.incr("t")
        with refusals_told():
            await settle(pipe.execute())
