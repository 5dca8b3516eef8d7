"""Random commands of every group, one by one and in pipelines: what was recorded is what a replay gives.

Hypothesis picks the commands, their arguments and the ways of sending them. Each example records on a real server,
stops it, and replays. ``make test`` tries a few, ``make fuzz`` a thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.framework import settle
from tests.contract.redis_contract import FLAVOURS, RedisFlavour, failing, typed
from tests.examples import examples
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.session import ReplaySession

KEYS = st.sampled_from(["a", "b", "c", b"\xff\x00", "ключ"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.integers(-3, 3))
FLOATS = st.floats(allow_nan=False, width=32)
VALUES = st.one_of(TEXT, st.binary(max_size=8), NUMBERS, FLOATS)
FIELDS = st.sampled_from(["f", "g", b"\xfe"])
INDEXES = st.integers(-3, 5)

_PARTS: dict[str, st.SearchStrategy[Any]] = {
    "KEY": KEYS,
    "VALUE": VALUES,
    "NUMBER": NUMBERS,
    "FLOAT": FLOATS,
    "FIELD": FIELDS,
    "INDEX": INDEXES,
    "BIT": st.integers(0, 1),
    "OFFSET": st.integers(0, 40),
    "LON": st.floats(-180, 180, width=32),
    "LAT": st.floats(-85, 85, width=32),
}

COMMANDS = """
SET KEY VALUE | SET KEY VALUE NX | SET KEY VALUE EX 100 | GET KEY | GETSET KEY VALUE | GETDEL KEY | APPEND KEY VALUE
STRLEN KEY | GETRANGE KEY INDEX INDEX | SETRANGE KEY OFFSET VALUE | INCR KEY | INCRBY KEY NUMBER | DECR KEY
INCRBYFLOAT KEY FLOAT | MSET KEY VALUE KEY VALUE | MGET KEY KEY KEY | SETNX KEY VALUE | MSETNX KEY VALUE KEY VALUE
SETBIT KEY OFFSET BIT | GETBIT KEY OFFSET | BITCOUNT KEY | BITPOS KEY BIT | BITFIELD KEY INCRBY u8 OFFSET 7
EXISTS KEY | EXISTS KEY KEY | DEL KEY | TYPE KEY | TTL KEY | PTTL KEY | EXPIRE KEY 100 | PERSIST KEY | RENAME KEY KEY
RANDOMKEY | DBSIZE | KEYS * | SCAN 0 COUNT 100 | DUMP KEY | TOUCH KEY | OBJECT ENCODING KEY | COPY KEY KEY
HSET KEY FIELD VALUE | HGET KEY FIELD | HGETALL KEY | HMGET KEY FIELD FIELD | HDEL KEY FIELD | HLEN KEY | HKEYS KEY
HVALS KEY | HEXISTS KEY FIELD | HINCRBY KEY FIELD NUMBER | HINCRBYFLOAT KEY FIELD FLOAT | HSCAN KEY 0 | HRANDFIELD KEY
LPUSH KEY VALUE VALUE | RPUSH KEY VALUE | LPOP KEY | RPOP KEY 2 | LRANGE KEY INDEX INDEX | LINDEX KEY INDEX | LLEN KEY
LSET KEY INDEX VALUE | LREM KEY INDEX VALUE | LTRIM KEY INDEX INDEX | LMOVE KEY KEY LEFT RIGHT | LPOS KEY VALUE
BLPOP KEY KEY 0.01 | BRPOP KEY 0.01
SADD KEY VALUE VALUE | SREM KEY VALUE | SMEMBERS KEY | SISMEMBER KEY VALUE | SCARD KEY | SPOP KEY | SRANDMEMBER KEY 2
SINTER KEY KEY | SUNION KEY KEY | SDIFF KEY KEY | SMOVE KEY KEY VALUE | SSCAN KEY 0 | SMISMEMBER KEY VALUE VALUE
ZADD KEY FLOAT VALUE FLOAT VALUE | ZADD KEY INCR FLOAT VALUE | ZSCORE KEY VALUE | ZRANGE KEY INDEX INDEX
ZRANGE KEY INDEX INDEX WITHSCORES | ZRANK KEY VALUE | ZINCRBY KEY FLOAT VALUE | ZCARD KEY | ZCOUNT KEY -inf +inf
ZPOPMIN KEY | ZPOPMAX KEY 2 | ZREM KEY VALUE | ZRANGEBYSCORE KEY -inf +inf | ZSCAN KEY 0 | ZMSCORE KEY VALUE VALUE
XADD KEY * FIELD VALUE | XLEN KEY | XRANGE KEY - + | XREAD COUNT 2 STREAMS KEY 0 | XGROUP CREATE KEY g 0 MKSTREAM
XREADGROUP GROUP g c COUNT 1 STREAMS KEY > | XPENDING KEY g | XINFO STREAM KEY | XDEL KEY 1-1 | XTRIM KEY MAXLEN 1
GEOADD KEY LON LAT VALUE | GEODIST KEY VALUE VALUE | GEOPOS KEY VALUE | GEOHASH KEY VALUE
PFADD KEY VALUE VALUE | PFCOUNT KEY | PFMERGE KEY KEY | SORT KEY ALPHA
PING | ECHO VALUE | TIME | INFO server | CONFIG GET maxmemory | CLIENT ID | CLIENT INFO | COMMAND COUNT | SLOWLOG LEN
PUBLISH KEY VALUE | PUBSUB CHANNELS | WAIT 0 0 | NOSUCH VALUE | GET | SCRIPT EXISTS abc | OBJECT HELP | LASTSAVE
"""


def _command(template: str) -> st.SearchStrategy[tuple[Any, ...]]:
    words = template.split()
    joined = words[0] in {"CONFIG", "CLIENT", "COMMAND", "SLOWLOG", "PUBSUB", "SCRIPT", "OBJECT", "XGROUP", "XINFO"}
    words = [" ".join(words[:2]), *words[2:]] if joined else words
    return st.tuples(*(_PARTS.get(word, st.just(word)) for word in words))


TEMPLATES = [template.strip() for line in COMMANDS.strip().splitlines() for template in line.split(" | ")]
SCRIPT = "return {KEYS[1], ARGV[1], 7, {'deep', {1}}, false, redis.call('EXISTS', KEYS[1])}"
ONE = st.one_of(
    [_command(template) for template in TEMPLATES]
    + [st.tuples(st.just("EVAL"), st.just(SCRIPT), st.just(1), KEYS, VALUES)]
)
STEPS = st.one_of(
    ONE.map(lambda command: ("one", [command])),
    st.tuples(st.sampled_from(["multi", "pipeline", "watch"]), st.lists(ONE, max_size=6)),
)


async def _run(
    flavour: RedisFlavour, server: RedisServer, steps: list[tuple[str, list[tuple[Any, ...]]]]
) -> list[Any]:
    seen: list[Any] = []
    async with flavour.open(server) as r:
        for kind, commands in steps:
            if kind == "one":
                seen.append(await failing(partial(r.execute_command, *commands[0])))
                continue
            pipe = r.pipeline(transaction=kind != "pipeline")
            if kind == "watch":
                await settle(pipe.watch("a"))
                seen.append(await failing(partial(pipe.get, "a")))
                pipe.multi()
            for command in commands:
                pipe.execute_command(*command)
            seen.append(await failing(partial(pipe.execute, raise_on_error=False)))
            await settle(pipe.reset())
    return seen


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Path]]:
    folder = tmp_path_factory.mktemp("random")
    with RedisServer(folder) as server:
        yield server, folder / "x.msgpack"


# Hypothesis writes its strategy down where an example was too large to be finished, and warns of the text's length.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.hypothesis
@settings(examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(flavour=st.sampled_from(FLAVOURS), steps=st.lists(STEPS, min_size=15, max_size=60))
def test_replay_gives_what_was_recorded(
    place: tuple[RedisServer, Path], flavour: RedisFlavour, steps: list[tuple[str, list[tuple[Any, ...]]]]
) -> None:
    server, path = place
    server.start()
    server.wipe()
    with record(path):
        recorded = typed(flavour.run(_run(flavour, server, steps)))
    server.stop()
    with replay(path) as session:
        replayed = typed(flavour.run(_run(flavour, server, steps)))
    assert replayed == recorded
    assert isinstance(session, ReplaySession)
    assert session.misses == []
    assert session.get_unconsumed_events() == []


def test_every_group_is_there() -> None:
    assert len(TEMPLATES) > 120
    assert {"SET", "HSET", "LPUSH", "SADD", "ZADD", "XADD", "GEOADD", "PFADD"} <= {t.split()[0] for t in TEMPLATES}
