"""Lines about Redis. ``REDIS_PORT`` in the environment is a server's port on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from typing import Any

import celery
import redis
import redis.asyncio
import rq

from tests.lines._line import Lines

PORT = int(os.environ.get("REDIS_PORT", "1"))
NAME = ("_",) if int(redis.__version__.partition(".")[0]) < 6 else ()
"""What a pool wants to know with redis-py 5, and warns of later."""
NAMES = {"ada", "bob", "cleo", "dan", "eve"}
LINES = Lines()


def _client(**options: Any) -> Any:
    return redis.Redis(port=PORT, **options)


@LINES.add
def commands_made_of_sets() -> Any:
    """Their words have the order that the set has in this process."""
    with _client() as client:
        client.flushall()
        return [
            client.sadd("set", *NAMES),
            client.pfadd("hll", *NAMES),
            client.hset("hash", mapping={name: len(name) for name in NAMES}),
            client.mset({name: name * 2 for name in NAMES}),
            client.zadd("sorted", {name: ord(name[0]) for name in NAMES}, ch=True),
            client.exists(*NAMES),
            client.smembers("set"),
            client.srem("set", *(NAMES - {"ada"})),
            client.hdel("hash", *NAMES),
            client.pipeline().sadd("set", *NAMES).delete(*NAMES).execute(),
            client.sunion({"set", *NAMES}),
            client.touch(*NAMES),
        ]


def _made(connection: Any) -> list[Any]:
    names = [name for name in ("_sock", "_reader", "_writer") if hasattr(connection, name)]
    return [*(getattr(connection, name) is not None for name in names), getattr(connection, "is_connected", None)]


@LINES.add
def connections_say_that_they_are_made() -> Any:
    client = _client()
    connection = client.connection_pool.get_connection(*NAME)
    found = [_made(connection)]
    connection.send_command("PING")
    found += [connection.read_response(), _made(connection)]
    connection.disconnect()
    found.append(_made(connection))
    connection.connect()
    found.append(_made(connection))
    client.connection_pool.release(connection)
    client.close()
    return [*found, _made(connection)]


@LINES.add
def connections_of_asyncio_say_it_too() -> Any:
    async def run() -> Any:
        client = redis.asyncio.Redis(port=PORT)
        connection = await client.connection_pool.get_connection(*NAME)
        found = [_made(connection)]
        await connection.disconnect()
        found.append(_made(connection))
        await connection.connect()
        found.append(_made(connection))
        await client.connection_pool.release(connection)
        await getattr(client, "aclose", client.close)()
        return [*found, _made(connection)]

    return asyncio.run(run())


@LINES.add
def replies_that_are_never_read() -> Any:
    client = _client()
    connection = client.connection_pool.get_connection(*NAME)
    connection.send_command("PING")
    connection.send_command("SET", "unread", "value")
    found = [connection.read_response()]
    connection.disconnect()
    client.connection_pool.release(connection)
    found.append(client.get("unread"))
    client.close()
    return found


@LINES.add
def messages_of_celery() -> Any:
    """An app that writes its trace into their headers by itself."""
    trace = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    headers = {"lang": "py", "task": "add", "traceparent": trace}
    with _client() as client:
        client.delete("celery", "job")
        return [
            client.lpush("celery", json.dumps({"body": "W1tdXQ==", "headers": headers})),
            client.hset("job", mapping=headers),
        ]


@LINES.add
def jobs_that_another_program_does() -> Any:
    """The instrumentation of Celery ends the span of a job that is not registered here before it is sent."""
    queue = celery.Celery("shop", broker=f"redis://127.0.0.1:{PORT}/0")
    queue.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=False)
    sent = queue.send_task("warehouse.ship", args=[7], kwargs={"to": "Ada"}, task_id=str(uuid.uuid4()))
    with _client() as client:
        found = client.llen("celery")
    queue.close()
    return [type(sent).__name__, found]


@LINES.add
def jobs_of_rq() -> Any:
    """Their ids, times and arguments are made anew in each run; the arguments stand in a packed pickle."""
    with _client() as client:
        jobs = rq.Queue("mail", connection=client)
        order = str(uuid.uuid4())
        jobs.enqueue("shop.mail", 7, to="Ada")
        found = jobs.enqueue("shop.ship", order, note=f"of {order}")
        kept = rq.job.Job.fetch(found.id, connection=client)
        return [jobs.count, kept.args == (order,), kept.kwargs["note"] == f"of {order}", kept.origin]
