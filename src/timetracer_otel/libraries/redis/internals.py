"""What redis-py (5 to 8) does not promise in its manual, and we rely upon.

Connections are the narrowest place that all clients share (pools, pipelines, pub/sub, locks, sentinels, clusters,
sync and asyncio): commands go in packed, replies come out parsed, and response callbacks, retries and redirections
happen above. Seen in redis-py 5.0 to 8.1:

- a connection connects itself in ``send_packed_command``, where nobody called ``connect`` before;
- ``connect`` runs the handshake (``HELLO``, ``AUTH``, ``SELECT``, ``CLIENT SETINFO`` …) by the same methods, and then
  the callbacks that pub/sub registered to subscribe again;
- a connection with client-side caching (from 5.1 on) is a proxy around the real one, ``_conn``.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakSet

from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.redis.commands import Command, parse

__all__ = [
    "ENTRY_POINTS",
    "HEALTH_CHECK",
    "NOT_IN_ALL",
    "RELIED_UPON",
    "Decoding",
    "Described",
    "Place",
    "Pushed",
    "SeemingConnections",
    "asks_whether_clustered",
    "awaits_push_handler",
    "checks_health",
    "connect_callbacks",
    "decoding_of",
    "found_address",
    "is_clustered",
    "is_health_check_answer",
    "is_in_process",
    "is_open",
    "is_proxy",
    "is_reply",
    "learning_places",
    "lock_name",
    "nothing_sent",
    "now_s",
    "packed",
    "places",
    "protocol_of",
    "put_off_check",
    "push_handler",
    "seem_closed",
    "seem_found",
    "seem_open",
    "set_push_handler",
    "socket_of",
    "stay_healthy",
    "token_of",
    "url_of",
]

HEALTH_CHECK = b"redis-py-health-check"
"""What pub/sub sends with its own ``PING``, to know the answer from a message."""

Described: TypeAlias = Callable[[Any, tuple[Any, ...]], "list[tuple[Any, ...]]"]
"""The commands of an operation, from the client that it is called on and its arguments."""


Decoding: TypeAlias = "tuple[str, str] | None"
"""Encoding and error handler of a client that decodes its replies; None for one that does not."""


_OF_CONNECTIONS = (
    "connection:AbstractConnection.connect",
    "connection:AbstractConnection.send_packed_command",
    "connection:AbstractConnection.read_response",
    "connection:AbstractConnection.disconnect",
    "connection:AbstractConnection.pack_commands",
    "connection:AbstractConnection._connect_callbacks",
    "connection:AbstractConnection.db",
    "connection:AbstractConnection.encoder",
    "connection:AbstractConnection.check_health",
    "connection:AbstractConnection.health_check_interval",
    "connection:AbstractConnection.next_health_check",
    "connection:AbstractConnection.protocol",
    "connection:AbstractConnection.redis_connect_func",
    "sentinel:SentinelManagedConnection.connect",
    "client:Redis.execute_command",
    "client:PubSub.execute_command",
    "client:Pipeline.command_stack",
    "client:Pipeline.execute",
    "client:Pipeline.explicit_transaction",
    "client:Pipeline.immediate_execute_command",
    "lock:Lock.acquire",
)

RELIED_UPON = (
    *(f"redis{package}.{name}" for package in ("", ".asyncio") for name in _OF_CONNECTIONS),
    "redis.connection:AbstractConnection.can_read",
    "redis.connection:AbstractConnection._sock",
    "redis.connection:time",
    "redis.cluster:RedisCluster._execute_command",
    "redis.cluster:RedisCluster.reinitialize_counter",
    "redis.asyncio.connection:AbstractConnection.can_read_destructive",
    "redis.asyncio.connection:AbstractConnection._reader",
    "redis.asyncio.connection:AbstractConnection._writer",
    "redis.asyncio.cluster:ClusterNode.execute_command",
    "redis.asyncio.cluster:RedisCluster.reinitialize_counter",
    "redis.exceptions:ResponseError",
)
"""Names that the plugin cannot do without."""

NOT_IN_ALL = {
    "redis.connection:CacheProxyConnection._conn": "before 5.1 there is no proxy for caching by the client",
    "redis.connection:AbstractConnection._parser": "a handler of pushes is not called in a replay",
    "redis.asyncio.connection:AbstractConnection._parser": "a handler of pushes is not called in a replay",
    "redis._parsers:_RESP2Parser": "a handler of pushes is not called in a replay",
    "redis._parsers:_RESP3Parser": "a handler of pushes is not called in a replay",
    "redis._parsers:_AsyncRESP2Parser": "a handler of pushes is not called in a replay",
    "redis._parsers:_AsyncRESP3Parser": "a handler of pushes is not called in a replay",
    "redis.cluster:NodesManager.initialize": "what a cluster was asked before the first session is not known",
    "redis.asyncio.cluster:NodesManager.initialize": "what a cluster was asked before the first session is not known",
    "redis._parsers.commands:CommandsParser.initialize": "the commands of a cluster are not known before a session",
    "redis._parsers.commands:AsyncCommandsParser.initialize": "the same for asyncio",
}
"""Names that a release may lack, and what is done without them."""

_WAYS_IN = (
    "client:Redis.execute_command",
    "client:PubSub.execute_command parse_response",
    "client:Pipeline.execute immediate_execute_command",
    "client:Monitor.next_command",
    "cluster:RedisCluster.execute_command",
    "cluster:ClusterPipeline.execute",
)

ENTRY_POINTS = tuple((f"redis{package}.{name}",) for package in ("", ".asyncio") for name in _WAYS_IN)
"""Where calls are refused in a replay if the plugin cannot see them."""


class Place(NamedTuple):
    """One function to replace.

    Attributes:
        kind: What it does: ``connect``, ``send``, ``read``, ``poll`` (is there something to read), ``disconnect``,
            ``operation`` or ``lock``.
        owner: Its class.
        name: Its name there.
        asynchronous: Whether it is awaited.
        describe: For operations: what commands it is about to send.
        packs: Whether it takes a command's words, where others take packed commands.
        clustered: For operations: whether a cluster client has chosen the node.
    """

    kind: str
    owner: Any
    name: str
    asynchronous: bool
    describe: Described | None = None
    packs: bool = False
    clustered: bool = False


def places(module: ModuleType) -> list[Place]:
    """Every function of redis-py that is replaced; those that an older version lacks are left out."""
    wanted = [place for name, asynchronous in (("", False), (".asyncio", True)) for place in _of(name, asynchronous)]
    return [place for place in wanted if place.name in vars(place.owner)]


def _of(package: str, asynchronous: bool) -> Iterator[Place]:
    def part(name: str) -> Any:
        return import_module(f"redis{package}.{name}")

    connection, client, cluster, sentinel, lock = map(part, ("connection", "client", "cluster", "sentinel", "lock"))
    base, managed = connection.AbstractConnection, sentinel.SentinelManagedConnection
    cached = getattr(connection, "CacheProxyConnection", None)
    for owner in (base, managed, cached):
        if owner is not None:
            yield Place("connect", owner, "connect", asynchronous)
    for owner in (base, cached):
        if owner is not None:
            yield Place("send", owner, "send_packed_command", asynchronous)
            yield Place("read", owner, "read_response", asynchronous)
            yield Place("poll", owner, "can_read", asynchronous)
            yield Place("poll", owner, "can_read_destructive", asynchronous)
            yield Place("disconnect", owner, "disconnect", asynchronous)
    if cached is not None:
        yield Place("send", cached, "send_command", asynchronous, packs=True)
    yield Place("operation", client.Redis, "execute_command", asynchronous, _command)
    yield Place("operation", client.PubSub, "execute_command", asynchronous, _command)
    yield Place("operation", client.Pipeline, "immediate_execute_command", asynchronous, _command)
    yield Place("operation", client.Pipeline, "execute", asynchronous, _pipeline)
    if asynchronous:
        yield Place("operation", cluster.ClusterNode, "execute_command", asynchronous, _command, clustered=True)
    else:
        yield Place("operation", cluster.RedisCluster, "_execute_command", asynchronous, _cluster, clustered=True)
    yield Place("lock", lock.Lock, "acquire", asynchronous)


def learning_places(module: ModuleType) -> Iterator[tuple[Any, str]]:
    """The functions in which a cluster client asks which node has which slots, and what commands there are.

    Without them, what it asked before the first session is not known.
    """
    found = [
        *((import_module(f"{module.__name__}{package}.cluster"), "NodesManager") for package in ("", ".asyncio")),
        *((import_module(f"{module.__name__}._parsers.commands"), name) for name in _COMMAND_PARSERS),
    ]
    for part, name in found:
        owner = getattr(part, name, None)
        if "initialize" in getattr(owner, "__dict__", ()):
            yield owner, "initialize"


_COMMAND_PARSERS = ("CommandsParser", "AsyncCommandsParser")


def _command(client: Any, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [args]


def _cluster(client: Any, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [args[1:]]


def _pipeline(client: Any, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    commands = [tuple(words) for words, _ in client.command_stack]
    # The sync class has the flag as `transaction`; in the async class that name is a method.
    if vars(client).get("is_transaction", vars(client).get("transaction")) or client.explicit_transaction:
        return [("MULTI",), *commands, ("EXEC",)]
    return commands


def packed(connection: Any, commands: list[tuple[Any, ...]]) -> list[Command]:
    """Commands as the connection will send them."""
    return parse(connection.pack_commands(commands))


def _real(connection: Any) -> Any:
    """The connection itself, where client-side caching has put a proxy around it."""
    return getattr(connection, "_conn", connection)


_BY_SENTINEL = "redis+sentinel://"


def url_of(connection: Any) -> str:
    """Where a connection goes, without credentials, as in `redis.from_url`.

    A connection by way of sentinels has the service's name for its host: which server that is may change.
    """
    connection = _real(connection)
    db = connection.db or 0
    service = getattr(getattr(connection, "connection_pool", None), "service_name", None)
    if service is not None:
        role = "master" if connection.connection_pool.is_master else "replica"
        return f"{_BY_SENTINEL}{service}/{db}?role={role}"
    path = getattr(connection, "path", None)
    if path:
        return _url_of_socket(path, db)
    # TLS connections have a context, or what it takes to make one.
    scheme = "rediss" if hasattr(connection, "ssl_context") or hasattr(connection, "check_hostname") else "redis"
    return _url_of_host(scheme, connection.host, connection.port, db)


# An app has few servers, and asks for their URLs with each command.
@lru_cache(maxsize=256)
def _url_of_socket(path: Any, db: Any) -> str:
    return f"unix://{path}?db={db}"


@lru_cache(maxsize=256)
def _url_of_host(scheme: str, host: Any, port: Any, db: Any) -> str:
    host = str(host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{db}"


def found_address(connection: Any, url: str) -> list[Any] | None:
    """Host and port that sentinels named for a connection with this `url_of`; None for one without sentinels."""
    if not url.startswith(_BY_SENTINEL):
        return None
    real = _real(connection)
    return [real.host, real.port]


def seem_found(connection: Any, address: list[Any]) -> None:
    """Let a connection of a replay, and its pool, have the address that sentinels named when this was recorded.

    Raises:
        ValueError: That is no address.
    """
    host, port = address
    if type(host) is not str or type(port) is not int:
        raise ValueError("the address of its server is none")
    real = _real(connection)
    pool: Any = getattr(real, "connection_pool", None)
    if getattr(pool, "service_name", None) is None:
        return
    real.host, real.port = host, port
    if pool.is_master:
        pool.master_address = (host, port)


def protocol_of(connection: Any) -> int:
    """Version of the Redis protocol (2 or 3) that a connection speaks: replies have other shapes in either."""
    return int(getattr(connection, "_conn", connection).protocol)


def decoding_of(connection: Any) -> Decoding:
    """How a connection decodes replies."""
    encoder = getattr(connection, "_conn", connection).encoder
    return (encoder.encoding, encoder.encoding_errors) if encoder.decode_responses else None


def is_clustered(connection: Any) -> bool:
    """Whether a connection belongs to a cluster client, which picks a node at random for some commands."""
    owner = getattr(getattr(_real(connection), "redis_connect_func", None), "__self__", None)
    return hasattr(owner, "reinitialize_counter")


def asks_whether_clustered(connection: Any, chosen: bool) -> bool:
    """Whether it is the client that asks for ``INFO``, and not the app: redis-py 5.0 does to find its nodes.

    The asynchronous client does it just like the app.

    Args:
        connection: Where it is asked.
        chosen: Whether a cluster client has chosen the node, for the operation under way.
    """
    from redis import __version__

    if not __version__.startswith("5.0."):
        return False
    return inspect.iscoroutinefunction(connection.connect) or (is_clustered(connection) and not chosen)


_in_process: dict[type, bool] = {}
"""By class of connections, but for the proxies of client-side caching: each stands for one of another class."""


def is_in_process(connection: Any) -> bool:
    """Whether a connection reaches no network: one of fakeredis, which brings its server along, or a mock."""
    known = _in_process.get(type(connection))
    return _looked_up(connection) if known is None else known


def _looked_up(connection: Any) -> bool:
    real = _real(connection)
    packages = {base.__module__.partition(".")[0] for base in type(real).__mro__}
    found = "fakeredis" in packages or "redis" not in packages
    if real is connection:
        _in_process[type(connection)] = found
    return found


def is_open(connection: Any) -> bool:
    """Whether a real connection is made, so that connecting does nothing."""
    real = getattr(connection, "_conn", connection)
    return getattr(real, "_sock", None) not in _CLOSED or getattr(real, "_writer", None) not in _CLOSED


def socket_of(connection: Any) -> str:
    """The attribute in which a connection has its socket, or its stream, while it is open."""
    return "_sock" if hasattr(connection, "_sock") else "_writer"


def is_proxy(connection: Any) -> bool:
    """Whether it is a proxy that client-side caching has put around the connection."""
    return _real(connection) is not connection


class _NoSocket:
    """Stands for the socket, or the streams, of a connection that a replay plays: the library looks whether there is
    one, and closes it.
    """

    def shutdown(self, *_: Any) -> None: ...

    def settimeout(self, *_: Any) -> None: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what mocks, copies and inspection look for
            raise AttributeError(name)
        raise ReplayMismatchError(
            f"redis: {name} of a socket: a connection of a replay has none",
            hint="name redis in live_plugins, or do without the connection's socket in replay.",
        )

    def __repr__(self) -> str:
        return "<no socket: the connection of a replay>"


_NO_SOCKET = _NoSocket()
_CLOSED = (None, _NO_SOCKET)
_SOCKETS = ("_sock", "_reader", "_writer")
"""Attributes in which a connection has its socket (sync), or its two streams (asyncio); None while it has none."""
_seeming: WeakSet[Any] = WeakSet()


def seem_open(connection: Any) -> None:
    """Let a connection that a replay plays look as it does when it is made."""
    real = _with_sockets(connection, None, _NO_SOCKET)
    _seeming.add(real)
    _read_as_made(real)


_PARSERS = {"_RESP2Parser": "_RESP3Parser", "_AsyncRESP2Parser": "_AsyncRESP3Parser"}
"""The parser that a connection of the library may have before it is made, and that which it has then, with RESP3."""


def _read_as_made(real: Any) -> None:
    """Give a connection the parser that the handshake would give it: that one takes the app's handler of pushes."""
    parser: Any = getattr(real, "_parser", None)
    name = _PARSERS.get(type(parser).__name__) if protocol_of(real) == 3 else None
    kind = getattr(sys.modules.get("redis._parsers"), name, None) if name is not None else None
    if kind is not None:
        real.set_parser(kind)
        real._parser.EXCEPTION_CLASSES = parser.EXCEPTION_CLASSES


def seem_closed(connection: Any) -> None:
    """Undo `seem_open`. The library must not take it for a connection that it can use."""
    _seeming.discard(_with_sockets(connection, _NO_SOCKET, None))


def _with_sockets(connection: Any, before: Any, now: Any) -> Any:
    """The library's own connection, with one value of its sockets exchanged for another."""
    real = _real(connection)
    for name in _SOCKETS:
        if getattr(real, name, now) is before:
            setattr(real, name, now)
    return real


class SeemingConnections:
    """Stands among the patches: when they are undone, nothing plays connections any more."""

    def apply(self) -> None:
        """Nothing; harmless when repeated."""

    def undo(self) -> None:
        """Close what seems open; harmless when repeated."""
        for connection in list(_seeming):
            seem_closed(connection)


def connect_callbacks(connection: Any) -> list[Callable[[Any], Any]]:
    """What is to be called when a connection was made: pub/sub subscribes again.

    Not what switches the server's tracking on for client-side caching, which belongs to the handshake.
    """
    real = _real(connection)
    references = getattr(real, "_connect_callbacks", None)
    # A mock of a connection has something else there, or nothing.
    callbacks = [reference() for reference in references] if isinstance(references, list) else []
    return [callback for callback in callbacks if callback and getattr(callback, "__self__", None) is not connection]


class Pushed:
    """Hears what a connection's parser gives a handler of the app: with one, a read gives what the handler returns.

    Args:
        handler: The app's.

    Attributes:
        messages: What it was given since this was last put in front of it.
    """

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler
        self.messages: list[Any] = []

    def __call__(self, message: Any) -> Any:
        """What the handler returns. A guard (see `calls.guarded`): nothing else here can fail."""
        self.messages.append([*message])
        return self.handler(message)


_PUSH_HANDLERS = (
    ("pubsub_push_handler_func", "handle_pubsub_push_response"),
    ("push_handler_func", "handle_push_response"),
)
"""The parser's handler of what is published, and its own one where the app gave none; before redis-py 5.1, the
second."""


def push_handler(connection: Any) -> Callable[[Any], Any] | None:
    """The app's own handler of what is published (``push_handler_func``, with RESP3); None where it has none."""
    parser = getattr(_real(connection), "_parser", None)
    for handler, own in _PUSH_HANDLERS:
        found: Any = getattr(parser, handler, None)
        if found is not None:
            return None if found == getattr(parser, own, None) else found
    return None


def awaits_push_handler(connection: Any) -> bool:
    """Whether the library awaits what the handler returns, of a connection of asyncio; before redis-py 5.1 not."""
    return hasattr(_real(connection)._parser, _PUSH_HANDLERS[0][0])


def set_push_handler(connection: Any, handler: Callable[[Any], Any]) -> None:
    """Let the parser give a handler what is published."""
    parser = _real(connection)._parser
    set_it = getattr(parser, "set_pubsub_push_handler", None) or parser.set_push_handler
    set_it(handler)


def stay_healthy(connection: Any) -> None:
    """Let the library make no health check: the answer would be taken for a message of the subscription."""
    _real(connection).next_health_check = math.inf


def checks_health(connection: Any) -> bool:
    """Whether a connection makes health checks in a replay.

    The proxy of client-side caching leaves them to the connection that it stands for, which a replay does not use.
    """
    return _real(connection) is connection and bool(connection.health_check_interval)


def now_s() -> float:
    """The time, by the clock that connections which are not asyncio's ask whether a health check is due.

    Before redis-py 6 that is ``time.time``.
    """
    from redis import connection

    clock: Any = vars(connection)["time"]
    seconds: float = clock.monotonic() if isinstance(clock, ModuleType) else clock()
    return seconds


def put_off_check(connection: Any, heard_s: float) -> None:
    """Let the next health check be due as much later as the library has it after a reply.

    Args:
        connection: The connection.
        heard_s: When the reply was read, by the clock that the library asks.
    """
    connection.next_health_check = heard_s + connection.health_check_interval


def is_health_check_answer(value: Any) -> bool:
    """Whether a message is the answer to pub/sub's own ``PING``."""
    last = value[-1] if isinstance(value, list) and len(value) == 2 and value[0] in (b"pong", "pong") else value
    return last in (HEALTH_CHECK, HEALTH_CHECK.decode()) if type(last) in (bytes, str) else False


def is_reply(error: BaseException) -> bool:
    """Whether an error is what the server answered, so that the connection goes on."""
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError)


def token_of(acquire: Callable[..., Any], lock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The token that ``Lock.acquire`` was given; None where it will make one up."""
    return inspect.signature(acquire).bind(lock, *args, **kwargs).arguments.get("token")


def lock_name(lock: Any) -> bytes:
    """The key of a lock, as it is sent."""
    name: bytes = lock.redis.get_encoder().encode(lock.name)
    return bytes(name)


def nothing_sent(connection: Any) -> ReplayMismatchError:
    """The error for a read that answers nothing."""
    return ReplayMismatchError(
        f"redis {url_of(connection)}: a reply is read, but no command was sent on this connection in the replay",
        hint="commands and replies of one connection belong into the same replay.",
    )
