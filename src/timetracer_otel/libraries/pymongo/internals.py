"""Private names of pymongo (4.13 to 4.20): its blocking and asyncio modules, which one source is written for.

A command goes out by ``sendall``, and its reply comes by ``receive_message``, both of them functions in the modules
that use them. Earlier releases send commands from a module ``network``; the messages of cursors, and later all of
them, by methods of a connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import bson
from pymongo import hello, message, monitoring, server_description
from pymongo.compression_support import decompress

from timetracer_otel.calls.guarded import Flow
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.exceptions import ReplayMismatchError

__all__ = [
    "EXHAUST_ALLOWED",
    "LIB",
    "MORE_TO_COME",
    "AsyncStandIn",
    "Flavour",
    "Sent",
    "StandIn",
    "connect_again",
    "description_of",
    "dns_records",
    "flavours",
    "hello_of",
    "is_closed",
    "is_for_events",
    "is_handshake",
    "miss_of",
    "note_hello",
    "note_servers",
    "request_checks",
    "reply_bytes",
    "reply_of",
    "seeds_of",
    "selects_any",
    "sent",
    "span_of",
    "stand_in_of",
]

LIB: Final = "pymongo"
MORE_TO_COME: Final = 2
"""The flag of a message that another one follows without being asked for, or that wants no reply."""
EXHAUST_ALLOWED: Final = 1 << 16
"""The flag of a request that allows for several replies."""
_CHECKSUM: Final = 1
_OP_MSG: Final = 2013
_OP_COMPRESSED: Final = 2012
_HEADER: Final = struct.Struct("<iiii")
_COMPRESSED: Final = struct.Struct("<iiB")
_INT32: Final = struct.Struct("<i")
_LARGEST: Final = 48_000_000
"""Bytes of a message that servers take."""
_HELLO: Final = "_timetracer_hello"
_SERVER: Final = "_timetracer_server"


class Flavour(NamedTuple):
    """The blocking part of pymongo, or its part for asyncio.

    Attributes:
        asynchronous: Which.
        pool: Its module of connections.
        connection: Their class.
        sending: The modules that have the functions for messages.
        topology: Its module of the servers that a client knows.
        auth: Its module that signs in.
        resolver: Its module that asks the DNS.
        connect: The name in ``pool`` of what opens a socket.
        send: The name of what sends a message.
        receive: The name of what receives one.
        executor: The class that runs a thread or a task in the background.
    """

    asynchronous: bool
    pool: Any
    connection: Any
    sending: tuple[Any, ...]
    topology: Any
    auth: Any
    resolver: Any
    connect: str
    send: str
    receive: str
    executor: Any


def flavours() -> Iterator[Flavour]:
    """Both of them."""
    executors = import_module("pymongo.periodic_executor")
    for package, names, executor in (
        ("synchronous", ("_configured_socket_interface", "sendall", "receive_message"), executors.PeriodicExecutor),
        (
            "asynchronous",
            ("_configured_protocol_interface", "async_sendall", "async_receive_message"),
            executors.AsyncPeriodicExecutor,
        ),
    ):
        pool, topology, auth, resolver = (
            import_module(f"pymongo.{package}.{name}") for name in ("pool", "topology", "auth", "srv_resolver")
        )
        sending = [pool]
        if find_spec(f"pymongo.{package}.network") is not None:
            sending.append(import_module(f"pymongo.{package}.network"))
        connect, send, receive = names
        asynchronous = package == "asynchronous"
        connection = pool.AsyncConnection if asynchronous else pool.Connection
        modules = (pool, connection, tuple(sending), topology, auth, resolver)
        yield Flavour(asynchronous, *modules, connect, send, receive, executor)


# Messages


class Sent(NamedTuple):
    """A message that goes out.

    Attributes:
        request_id: Its number.
        flags: Those of OP_MSG.
        name: Of the command.
        body: The document of the command.
        sequences: The documents that stand beside it, by the name of their field.
    """

    request_id: int
    flags: int
    name: str
    body: bytes
    sequences: dict[str, list[bytes]]


def sent(data: bytes) -> Sent | None:
    """A message in its parts; None where it is no OP_MSG."""
    _, request_id, _, operation = _HEADER.unpack_from(data)
    content = memoryview(data)[_HEADER.size :]
    if operation == _OP_COMPRESSED:
        operation, _, compressor = _COMPRESSED.unpack_from(content)
        content = memoryview(_decompressed(bytes(content[_COMPRESSED.size :]), compressor))
    if operation != _OP_MSG:
        return None
    (flags,) = _INT32.unpack_from(content)
    position, end = _INT32.size, len(content) - (_INT32.size if flags & _CHECKSUM else 0)
    body, sequences = b"", {}
    while position < end:
        kind, start = content[position], position + 1
        (size,) = _INT32.unpack_from(content, start)
        position = start + size
        if kind == 0:
            body = bytes(content[start:position])
        else:
            field, _, documents = bytes(content[start + _INT32.size : position]).partition(b"\0")
            sequences[field.decode()] = list(_documents(documents))
    # The type of the first value, and its name.
    name = body[_INT32.size + 1 : body.index(b"\0", _INT32.size + 1)].decode()
    return Sent(request_id, flags, name, body, sequences)


def _decompressed(data: bytes, compressor: int) -> Any:
    try:
        return decompress(data, compressor, _LARGEST)
    except TypeError:
        # Earlier releases ask for no limit.
        return decompress(data, compressor)  # type: ignore[call-arg]


def _documents(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        (size,) = _INT32.unpack_from(data, position)
        yield data[position : position + size]
        position += size


def reply_of(document: bytes, flags: int = 0) -> Any:
    """A reply, as the driver unpacks it."""
    return message._OpMsg(flags, document)


def reply_bytes(reply: Any) -> tuple[bytes, int]:
    """The document of a reply, and its flags."""
    return bytes(reply.payload_document), int(reply.flags)


# Connections


class StandIn(ReplayObject):
    """Stands for the socket of a blocking connection in a replay. It reaches nothing.

    Args:
        hello: What the recorded server said when it was greeted, in BSON.
    """

    _lib = LIB

    def __init__(self, hello: bytes) -> None:
        self.hello = hello

    @property
    def get_conn(self) -> Any:
        """What messages are sent over."""
        return self

    sock = get_conn

    def gettimeout(self) -> float | None:
        """No timeout."""
        return None

    def settimeout(self, timeout: float | None) -> None:
        """Nothing: nobody waits for it."""

    def is_closing(self) -> bool:
        """Never: nobody closes it at the other end."""
        return False

    def fileno(self) -> int:
        """None: a pool that asks after an idle connection makes a new one."""
        return -1

    def close(self) -> Any:
        """Nothing; harmless when repeated."""

    def sendall(self, data: bytes) -> Any:
        """Refuse what is sent without a replay, as a socket does that the server has closed."""
        raise_for_app(ConnectionResetError("the connection was opened in a replay, which has ended"))


class AsyncStandIn(StandIn):
    """The same for asyncio."""

    @in_steps
    def close(self) -> Flow:
        """Nothing; harmless when repeated."""
        yield from ()

    @in_steps
    def write(self, data: bytes) -> Flow:
        """Refuse it, too."""
        self.sendall(data)
        yield from ()


def stand_in_of(connection: Any) -> StandIn | None:
    """What stands for the socket of a connection; None where it has one of its own."""
    interface = connection.conn
    return interface if isinstance(interface, StandIn) else None


def is_handshake(connection: Any) -> bool:
    """Whether what is sent now is none of an app's: a greeting, a sign-in, or a look at the state of a server."""
    return bool(connection.is_sdam) or not connection.ready


def connect_again(connection: Any, interface: Any) -> None:
    """Let a connection go over another socket, over which nothing was sent."""
    connection.conn = interface
    connection.ready = connection.performed_handshake = False


def note_hello(greeting: Any, connection: Any, *_: Any) -> None:
    """Keep what the server of a connection said when it was greeted."""
    vars(connection)[_HELLO] = greeting.document


def hello_of(connection: Any) -> bytes:
    """What the server of a connection said when it was greeted, without what signs in.

    For a connection that was opened before anybody looked, it is made of what the client knows of the server.
    """
    document = dict(vars(connection).get(_HELLO) or _made_hello(connection))
    for name in ("speculativeAuthenticate", "saslSupportedMechs", "$clusterTime"):
        document.pop(name, None)
    return bson.encode(document)


def note_servers(servers: Any) -> None:
    """Keep what a client knows of servers with their pools."""
    for server in servers:
        vars(server.pool)[_SERVER] = server.description


def _made_hello(connection: Any) -> dict[str, Any]:
    known = vars(connection.pool_ref())[_SERVER]
    made = {
        "ok": 1.0,
        "isWritablePrimary": known.is_writable,
        "minWireVersion": known.min_wire_version,
        "maxWireVersion": known.max_wire_version,
        "maxBsonObjectSize": known.max_bson_size,
        "maxMessageSizeBytes": known.max_message_size,
        "maxWriteBatchSize": known.max_write_batch_size,
    }
    if known.logical_session_timeout_minutes is not None:
        made["logicalSessionTimeoutMinutes"] = known.logical_session_timeout_minutes
    if known.mongos:
        made["msg"] = "isdbgrid"
    if known.replica_set_name is not None:
        hosts = sorted(_text_of(address) for address in known.all_hosts)
        made.update(setName=known.replica_set_name, hosts=hosts, secondary=not known.is_writable)
        made.update({name: _text_of(address) for name in ("me", "primary") if (address := getattr(known, name))})
        others = {"tags": dict(known.tags), "setVersion": known.set_version, "electionId": known.election_id}
        made.update({name: value for name, value in others.items() if value})
    return made


def _text_of(address: tuple[str, int | None]) -> str:
    host, port = address
    return host if port is None else f"{host}:{port}"


def description_of(topology: Any, address: Any, document: bytes) -> Any:
    """What a client knows of a server that said this when it was greeted.

    A client that knows of a later election, from a time before the replay, would take what was recorded for stale.
    """
    known = topology.description
    elected = {"setVersion": known.max_set_version, "electionId": known.max_election_id}
    greeting = {**bson.decode(document), **{name: value for name, value in elected.items() if value is not None}}
    return server_description.ServerDescription(address, hello.Hello(greeting), round_trip_time=0.0)


def selects_any(topology: Any, selector: Any, address: Any) -> bool:
    """Whether a client knows a server that its choice may fall on."""
    chosen = topology.description.apply_selector(
        selector, address, custom_selector=topology._settings.server_selector
    )
    return bool(chosen)


def dns_records(name: str, kind: str, texts: Sequence[str]) -> Any:
    """Records of the DNS, of the class of the package that pymongo asks by."""
    return import_module("dns.rrset").from_text(name, 0, "IN", kind, *texts)


def seeds_of(topology: Any) -> list[tuple[str, int | None]]:
    """The addresses that a client was given."""
    return sorted(topology._settings.seeds, key=str)


def is_closed(topology: Any) -> bool:
    """Whether the client was closed."""
    return bool(topology._closed)


def miss_of(topology: Any) -> ReplayMismatchError | None:
    """The miss that a client's monitor met when it looked at a server; None without one."""
    errors = (known.error for known in topology.description.server_descriptions().values())
    return next((error for error in errors if isinstance(error, ReplayMismatchError)), None)


def request_checks(topology: Any) -> None:
    """Let the monitors look at the servers soon."""
    for server in list(topology._servers.values()):
        server.request_check()


def is_for_events(executor: Any) -> bool:
    """Whether what runs in the background only tells the app's listeners of events."""
    return bool(executor._name == "pymongo_events_thread")


def span_of(connection: Any, request_id: int) -> Any:
    """The span that OpenTelemetry's listener has begun for a command; None where there is none."""
    listeners: monitoring._EventListeners | None = connection.listeners
    if listeners is None or not listeners.enabled_for_commands:
        return None
    for listener in listeners.event_listeners():
        spans = getattr(listener, "_span_dict", None)
        if spans:
            found = spans.get((request_id, connection.address)) or spans.get(request_id)
            if found is not None:
                return found
    return None
