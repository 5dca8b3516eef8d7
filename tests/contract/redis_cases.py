"""What apps do with Redis, written once for all ways to use the client."""

from __future__ import annotations

import datetime as dt
from typing import Any

from redis.exceptions import WatchError

from tests.contract.framework import CaseList, each, settle
from tests.contract.redis_contract import RedisApp, failing

__all__ = ["CASES"]

case = CaseList(calls=None)


@case()
async def strings(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.set("a", "1")),
            await settle(r.get("a")),
            await settle(r.get("missing")),
            await settle(r.set("a", 2, nx=True)),
            await settle(r.set("a", 3, get=True)),
            await settle(r.append("a", "xyz")),
            await settle(r.strlen("a")),
            await settle(r.getrange("a", 1, 2)),
            await settle(r.setrange("a", 2, "--")),
            await settle(r.mset({"m1": "v1", "m2": 2, "m3": 1.5})),
            await settle(r.mget("m1", "missing", "m3")),
            await settle(r.getdel("m1")),
            await settle(r.getex("m2", ex=100)),
            await settle(r.setnx("n", 1)),
            await settle(r.msetnx({"n": 1, "o": 2})),
            await settle(r.set("e", "x", ex=dt.timedelta(hours=1))),
            await settle(r.ttl("e")),
            await settle(r.ttl("a")),
            await settle(r.ttl("missing")),
            await settle(r.persist("e")),
        ]


@case()
async def binary_keys_and_values(app: RedisApp) -> Any:
    async with app.open() as r:
        value = app.binary
        return [
            await settle(r.set(b"\xff\x00key", value)),
            await settle(r.get(b"\xff\x00key")),
            await settle(r.set("", "")),
            await settle(r.get("")),
            await settle(r.set("crlf", "a\r\n$5\r\nb")),
            await settle(r.get("crlf")),
            await settle(r.set("memory", memoryview(b"view"))),
            await settle(r.get("memory")),
            await settle(r.exists(b"\xff\x00key")),
        ]


@case()
async def large_values(app: RedisApp) -> Any:
    async with app.open() as r:
        large = "x" * 300_000
        return [
            await settle(r.set("large", large)),
            await settle(r.get("large")),
            await settle(r.set("larger", large + "y")),
            await settle(r.strlen("larger")),
        ]


@case()
async def numbers(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.set("i", 2**63 - 1)),
            await settle(r.get("i")),
            await settle(r.set("big", 2**70)),
            await settle(r.get("big")),
            await failing(lambda: r.incr("big")),
            await failing(lambda: r.incr("i")),
            await settle(r.incrby("n", 41)),
            await settle(r.decr("n")),
            await settle(r.incrbyfloat("f", 0.1)),
            await settle(r.incrbyfloat("f", 1e-7)),
            await settle(r.set("float", 3.14)),
            await settle(r.get("float")),
            await failing(lambda: r.set("bool", True)),
        ]


@case()
async def bits(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.setbit("b", 7, 1)),
            await settle(r.getbit("b", 7)),
            await settle(r.bitcount("b")),
            await settle(r.bitpos("b", 1)),
            await settle(r.bitfield("b").incrby("u8", 0, 255).get("u4", 0).execute()),
            await settle(r.bitop("NOT", "c", "b")),
        ]


@case()
async def streams_that_are_called_like_entries(app: RedisApp) -> Any:
    async with app.open() as r:
        for number in range(4):
            await settle(r.xadd("2024-01", {"a": number}, id=f"{number + 1}-1"))
        await settle(r.xgroup_create("2024-01", "g", id="0"))
        return [
            await settle(r.xread({"2024-01": "0"}, count=2)),
            await settle(r.xread({"2024-01": "0"}, count=3)),
            await settle(r.xreadgroup("g", "one", {"2024-01": ">"})),
            await settle(r.xautoclaim("2024-01", "g", "two", 0)),
            await settle(r.xautoclaim("2024-01", "g", "two", 0, count=2)),
            await settle(r.xautoclaim("2024-01", "g", "two", 0, justid=True)),
        ]


@case()
async def keys(app: RedisApp) -> Any:
    async with app.open() as r:
        await settle(r.set("k", 1))
        return [
            await settle(r.exists("missing")),
            await settle(r.exists("k", "k", "missing")),
            await settle(r.delete("missing")),
            await settle(r.type("k")),
            await settle(r.type("missing")),
            await settle(r.expire("k", 1000)),
            await settle(r.expire("missing", 10)),
            await settle(r.pexpireat("k", 4102444800000)),
            await settle(r.rename("k", "k2")),
            await failing(lambda: r.rename("missing", "x")),
            await settle(r.object("encoding", "k2")),
            await settle(r.keys("k*")),
            await settle(r.touch("k2", "k3")),
            await settle(r.unlink("k2")),
            await settle(r.randomkey()),
            await settle(r.dbsize()),
            await settle(r.ping()),
            await settle(r.echo("hello")),
        ]


@case()
async def dump_and_restore(app: RedisApp) -> Any:
    async with app.open() as r:
        await settle(r.rpush("list", "a", app.binary, 3))
        dumped = await settle(r.dump("list"))
        return [dumped, await settle(r.restore("copy", 0, dumped)), await settle(r.lrange("copy", 0, -1))]


@case()
async def hashes(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.hset("h", mapping={"a": 1, "b": app.binary, "c": 1.5})),
            await settle(r.hget("h", "b")),
            await settle(r.hget("h", "missing")),
            await settle(r.hgetall("h")),
            await settle(r.hgetall("missing")),
            await settle(r.hmget("h", "a", "missing")),
            await settle(r.hincrby("h", "a", 5)),
            await settle(r.hincrbyfloat("h", "c", 0.25)),
            await settle(r.hexists("h", "zz")),
            await settle(r.hkeys("h")),
            await settle(r.hvals("h")),
            await settle(r.hlen("h")),
            await settle(r.hsetnx("h", "a", 1)),
            await settle(r.hdel("h", "a", "zz")),
            await settle(r.hstrlen("h", "b")),
            await settle(r.hrandfield("missing")),
        ]


@case()
async def lists(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.rpush("l", "a", app.binary, 3, 4.5)),
            await settle(r.lpush("l", "first")),
            await settle(r.lrange("l", 0, -1)),
            await settle(r.lindex("l", 1)),
            await settle(r.lindex("l", 100)),
            await settle(r.lset("l", 0, "x")),
            await settle(r.linsert("l", "BEFORE", "x", "y")),
            await settle(r.lrem("l", 1, "y")),
            await settle(r.lpos("l", "x")),
            await settle(r.lpop("l")),
            await settle(r.lpop("l", 2)),
            await settle(r.rpop("missing")),
            await settle(r.lmove("l", "l2", "LEFT", "RIGHT")),
            await settle(r.rpoplpush("l2", "l3")),
            await settle(r.ltrim("l3", 0, 0)),
            await settle(r.llen("l3")),
        ]


@case()
async def blocking_pops(app: RedisApp) -> Any:
    async with app.open() as r:
        await settle(r.rpush("q", "job"))
        return [
            await settle(r.blpop(["empty", "q"], timeout=0.05)),
            await settle(r.blpop("q", timeout=0.05)),
            await settle(r.brpop("q", timeout=0.05)),
            await settle(r.brpoplpush("q", "r", timeout=0.05)),
            await settle(r.bzpopmin("z", timeout=0.05)),
        ]


@case()
async def sets(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.sadd("s", "a", "b", app.binary, 1)),
            await settle(r.smembers("s")),
            await settle(r.smembers("missing")),
            await settle(r.sismember("s", "a")),
            await settle(r.smismember("s", ["a", "zz"])),
            await settle(r.scard("s")),
            await settle(r.sadd("t", "b", "c")),
            await settle(r.sinter("s", "t")),
            await settle(r.sunion("s", "t")),
            await settle(r.sdiff("s", "t")),
            await settle(r.sinterstore("u", "s", "t")),
            await settle(r.smove("s", "t", "a")),
            await settle(r.srem("s", "b", "zz")),
            await settle(r.spop("u")),
            await settle(r.spop("missing")),
            await settle(r.srandmember("missing", 2)),
        ]


@case()
async def sorted_sets(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.zadd("z", {"a": 1, "b": 2.5, "c": float("inf"), "d": float("-inf"), app.binary: 1e300})),
            await settle(r.zrange("z", 0, -1)),
            await settle(r.zrange("z", 0, -1, withscores=True)),
            await settle(r.zrange("z", 0, -1, desc=True, withscores=True, score_cast_func=str)),
            await settle(r.zrangebyscore("z", "-inf", 2, withscores=True)),
            await settle(r.zrevrangebyscore("z", 3, 0)),
            await settle(r.zscore("z", "b")),
            await settle(r.zscore("z", "missing")),
            await settle(r.zmscore("z", ["a", "missing"])),
            await settle(r.zrank("z", "a")),
            await settle(r.zrank("z", "missing")),
            await settle(r.zincrby("z", 0.5, "a")),
            await settle(r.zadd("z", {"a": 5}, incr=True)),
            await settle(r.zadd("z", {"a": 1}, nx=True)),
            await settle(r.zcount("z", 0, 10)),
            await settle(r.zcard("z")),
            await settle(r.zlexcount("z", "-", "+")),
            await settle(r.zpopmin("z")),
            await settle(r.zpopmax("z", 2)),
            await settle(r.zrem("z", "b")),
            await settle(r.zunionstore("u", {"z": 2})),
            await settle(r.zinter(["z", "z"], withscores=True)),
        ]


@case()
async def streams(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.xadd("x", {"a": 1, "b": app.binary}, id="1-1")),
            await settle(r.xadd("x", {"a": 2}, id="1-2")),
            await failing(lambda: r.xadd("x", {"a": 2}, id="1-1")),
            await settle(r.xlen("x")),
            await settle(r.xrange("x")),
            await settle(r.xrevrange("x", count=1)),
            await settle(r.xread({"x": "0"})),
            await settle(r.xread({"x": "$"}, block=20)),
            await settle(r.xgroup_create("x", "g", id="0")),
            await failing(lambda: r.xgroup_create("x", "g")),
            await settle(r.xreadgroup("g", "c", {"x": ">"}, count=1)),
            await settle(r.xpending("x", "g")),
            await settle(r.xack("x", "g", "1-1")),
            await settle(r.xreadgroup("g", "c", {"x": "0"})),
            await settle(r.xinfo_stream("x")),
            await settle(r.xinfo_groups("x")),
            await settle(r.xautoclaim("x", "g", "d", 0)),
            await settle(r.xtrim("x", maxlen=1)),
            await settle(r.xdel("x", "1-2")),
        ]


@case()
async def geography(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.geoadd("g", [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"])),
            await settle(r.geodist("g", "Palermo", "Catania", unit="km")),
            await settle(r.geodist("g", "Palermo", "missing")),
            await settle(r.geopos("g", "Palermo", "missing")),
            await settle(r.geohash("g", "Palermo")),
            await settle(
                r.geosearch(
                    "g",
                    longitude=15,
                    latitude=37,
                    radius=200,
                    unit="km",
                    withcoord=True,
                    withdist=True,
                    withhash=True,
                )
            ),
        ]


@case()
async def sketches(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.pfadd("p", "a", "b", "a")),
            await settle(r.pfcount("p")),
            await settle(r.pfmerge("q", "p")),
        ]


@case()
async def scans(app: RedisApp) -> Any:
    async with app.open() as r:
        for number in range(25):
            await settle(r.set(f"key:{number}", number))
            await settle(r.hset("h", f"f{number}", number))
            await settle(r.sadd("s", f"m{number}"))
            await settle(r.zadd("z", {f"m{number}": number / 4}))
        return [
            sorted([key async for key in each(r.scan_iter("key:*", count=7))]),
            sorted([item async for item in each(r.hscan_iter("h", count=200))]),
            sorted([item async for item in each(r.sscan_iter("s", count=5))]),
            sorted([item async for item in each(r.zscan_iter("z", count=200))]),
            len((await settle(r.scan(0, count=1000)))[1]),
            sorted([key async for key in each(r.scan_iter("nothing*"))]),
        ]


@case()
async def sorting(app: RedisApp) -> Any:
    async with app.open() as r:
        await settle(r.rpush("l", 3, 1, 2))
        await settle(r.mset({"w1": "one", "w2": "two", "w3": "three"}))
        return [
            await settle(r.sort("l")),
            await settle(r.sort("l", desc=True, get=["#", "w*"], groups=True)),
            await settle(r.sort("l", store="m")),
        ]


@case()
async def wrong_types(app: RedisApp) -> Any:
    async with app.open() as r:
        await settle(r.set("s", "text"))
        return [
            await failing(lambda: r.lpush("s", 1)),
            await failing(lambda: r.incr("s")),
            await failing(lambda: r.hgetall("s")),
            await failing(lambda: r.execute_command("NOSUCH", 1)),
            await failing(lambda: r.execute_command("GET")),
            await failing(lambda: r.set("a", object())),
            await settle(r.get("s")),
        ]


@case()
async def transactions(app: RedisApp) -> Any:
    async with app.open() as r:
        pipe = r.pipeline()
        pipe.set("a", 1).incr("a").get("a").hset("h", mapping={"x": 1}).hgetall("h").sadd("s", 1, 2).smembers("s")
        pipe.zadd("z", {"m": 1.5}).zrange("z", 0, -1, withscores=True).exists("missing").blpop("empty", timeout=0.05)
        seen = [await settle(pipe.execute())]
        # A pipeline can be used again; an empty one sends nothing.
        seen.append(await settle(pipe.execute()))
        pipe.get("a")
        seen.append(await settle(pipe.execute()))
        return seen


@case()
async def pipelines_without_transaction(app: RedisApp) -> Any:
    async with app.open() as r:
        pipe = r.pipeline(transaction=False)
        for number in range(200):
            pipe.set(f"k{number}", number)
            pipe.get(f"k{number}")
        return [await settle(pipe.execute()), await settle(pipe.execute())]


@case()
async def errors_inside_pipelines(app: RedisApp) -> Any:
    seen = []
    async with app.open() as r:
        for transaction in (True, False):
            pipe = r.pipeline(transaction=transaction)
            pipe.set("a", "text").incr("a").get("a").lpush("a", 1)
            seen.append(await settle(pipe.execute(raise_on_error=False)))
            pipe.set("a", "text").incr("a").get("a")
            seen.append(await failing(pipe.execute))
            # A command that the server refuses at once aborts a transaction.
            pipe.set("a", 1).execute_command("NOSUCH").get("a")
            seen.append(await failing(lambda pipe=pipe: pipe.execute(raise_on_error=False)))  # type: ignore[misc]
    return seen


@case()
async def watching(app: RedisApp) -> Any:
    async with app.open(single_connection_client=False) as r:
        seen: list[Any] = []
        await settle(r.set("n", 1))
        for interfere in (False, True):
            pipe = r.pipeline()
            await settle(pipe.watch("n"))
            seen.append(current := await settle(pipe.get("n")))
            if interfere:
                seen.append(await settle(r.set("n", 10)))
            pipe.multi()
            pipe.set("n", int(current) + 1)
            pipe.get("n")
            seen.append(await failing(pipe.execute))
            await settle(pipe.reset())
        seen.append(await settle(r.get("n")))
        return seen


@case()
async def watching_until_it_fits(app: RedisApp) -> Any:
    async with app.open(single_connection_client=False) as r:
        await settle(r.set("n", 1))
        tries = 0
        while True:
            pipe = r.pipeline()
            try:
                await settle(pipe.watch("n"))
                value = int(await settle(pipe.get("n")))
                if tries == 0:
                    await settle(r.incr("n"))
                tries += 1
                pipe.multi()
                pipe.set("n", value * 2)
                return [tries, await settle(pipe.execute()), await settle(r.get("n"))]
            except WatchError:
                continue
            finally:
                await settle(pipe.reset())


@case()
async def unwatching(app: RedisApp) -> Any:
    async with app.open() as r:
        pipe = r.pipeline()
        seen = [await settle(pipe.watch("a")), await settle(pipe.unwatch())]
        await settle(pipe.watch("a"))
        await settle(pipe.reset())
        return seen


@case()
async def scripts(app: RedisApp) -> Any:
    async with app.open() as r:
        await settle(r.script_flush())
        text = "return {KEYS[1], ARGV[1], 7, {1, {'deep'}}, redis.status_reply('FINE'), false, 3.9}"
        script = r.register_script(text)
        seen = [
            await failing(lambda: r.evalsha(script.sha, 1, "k", "v")),
            await settle(script(keys=["k"], args=[app.binary])),
            await settle(script(keys=["k"], args=[2])),
            await settle(r.script_exists(script.sha, "0" * 40)),
            await settle(r.eval("return redis.call('INCR', KEYS[1])", 1, "n")),
            await failing(lambda: r.eval("return redis.error_reply('MY own error')", 0)),
            await failing(lambda: r.eval("return redis.call('INCR')", 0)),
            await failing(lambda: r.eval("this is no Lua", 0)),
        ]
        pipe = r.pipeline()
        await settle(r.script_flush())
        await settle(script(keys=["k"], args=[3], client=pipe)) if not app.flavour.asynchronous else None
        pipe.get("n")
        seen.append(await settle(pipe.execute()))
        return seen


@case()
async def locks(app: RedisApp) -> Any:
    async with app.open() as r:
        lock = r.lock("lock", timeout=10, blocking_timeout=0.2, sleep=0.05)
        # It asks twice: at once, and after 0.5 s. A busy machine may be 0.4 s late, and no third time fits in.
        other = r.lock("lock", timeout=10, blocking=False, sleep=0.5)
        seen = [await settle(lock.acquire()), await settle(lock.locked()), await settle(lock.owned())]
        seen.append(await settle(other.acquire()))
        seen.append(await settle(other.acquire(blocking=True, blocking_timeout=0.95)))
        seen.append(await settle(lock.extend(5)))
        seen.append(await settle(lock.reacquire()))
        seen.append(await settle(lock.release()))
        seen.append(await failing(lock.release))
        seen.append(await settle(other.acquire()))
        seen.append(await settle(r.delete("lock")))
        seen.append(await failing(other.release))
        seen.append(await settle(other.acquire(token="mine")))
        seen.append(await settle(r.get("lock")))
        return seen


@case()
async def the_same_call_with_other_answers(app: RedisApp) -> Any:
    async with app.open() as r:
        return [await settle(r.incr("n")) for _ in range(5)] + [await settle(r.get("n"))]


@case()
async def several_databases_and_names(app: RedisApp) -> Any:
    async with app.open(db=1, client_name="tester") as one, app.open(db=2) as two:
        return [
            await settle(one.set("k", "one")),
            await settle(two.set("k", "two")),
            await settle(one.get("k")),
            await settle(two.get("k")),
            await settle(one.client_getname()),
            await settle(two.client_getname()),
        ]


@case()
async def from_url(app: RedisApp) -> Any:
    flavour = app.flavour
    client = flavour.module.from_url(app.server.url.replace("/0", "/3"), **flavour.choices)
    try:
        return [await settle(client.set("k", "v")), await settle(client.get("k"))]
    finally:
        await flavour.close(client)


@case()
async def a_unix_socket(app: RedisApp) -> Any:
    flavour = app.flavour
    client = flavour.module.Redis(unix_socket_path=app.server.socket_path, db=1, **flavour.choices)
    try:
        # redis-py 7 asks a socket for its host where it speaks RESP3, and fails.
        return [await failing(lambda: client.set("k", "v")), await failing(lambda: client.get("k"))]
    finally:
        await flavour.close(client)


@case()
async def settings(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.config_get("maxmemory*")),
            await settle(r.config_set("hz", 20)),
            await settle(r.config_get("hz")),
            await failing(lambda: r.config_set("no-such-setting", 1)),
            await settle(r.acl_whoami()),
            await settle(r.acl_cat("scripting")),
            await settle(r.command_count()),
            await settle(r.slowlog_get()),
            await settle(r.lastsave()) is not None,
        ]


@case()
async def health_checks(app: RedisApp) -> Any:
    async with app.open(health_check_interval=1) as r:
        seen = [await settle(r.set("a", 1))]
        pool = r.connection_pool
        for connection in list(getattr(pool, "_available_connections", [])):
            connection.next_health_check = 0
        seen.append(await settle(r.get("a")))
        return seen


@case(repeatable=False)
async def server_facts(app: RedisApp) -> Any:
    async with app.open() as r:
        return [
            await settle(r.info()),
            await settle(r.info("server")),
            await settle(r.time()),
            await settle(r.client_id()),
            await settle(r.client_list()),
            await settle(r.client_info()),
            await settle(r.memory_stats()),
            # Flags come as a set, of which no two runs have the same order.
            len(await settle(r.execute_command("COMMAND INFO", "get"))),
            sorted(await settle(r.command())),
            await settle(r.acl_list()),
            {
                name: sorted(part)
                for name, part in (await settle(r.acl_getuser("default"))).items()
                if name == "flags"
            },
            await settle(r.acl_genpass()) and None,
            await settle(r.role()),
        ]


CASES = case.cases
