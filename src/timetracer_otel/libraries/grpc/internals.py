"""Private names of grpcio (1.62 to 1.85): the core's calls and events, and the classes of calls that stand on them.

The core is ``grpc._cython.cygrpc``. A blocking channel asks it for a call by a batch of *operations* (send a message,
receive one, receive the status), and hears of their ends by *events*. An asyncio channel asks it for an ``_AioCall``,
which has a method for each operation.
"""

# pyright: reportAttributeAccessIssue=false
# The types that pyright has of grpcio leave out its private modules.

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, Final, NamedTuple

import grpc  # type: ignore[import-untyped]
from grpc import _channel as blocking
from grpc._cython import cygrpc  # type: ignore[import-untyped]
from grpc.aio import _call as awaited  # type: ignore[import-untyped]
from grpc.aio import _channel as async_channels

from timetracer_otel.types import HeaderPairs

__all__ = [
    "CANCELLED",
    "CLOSE",
    "DEADLINE",
    "EOF",
    "GREETING",
    "KINDS",
    "LIB",
    "MESSAGE",
    "SEND",
    "STATUS",
    "TELLING",
    "TELLS_ADDRESS",
    "Event",
    "ForkManagedThread",
    "Operation",
    "address_of",
    "async_channels",
    "awaited",
    "blocking",
    "code_text",
    "connectivity",
    "host_of",
    "is_closed",
    "let_send",
    "metadata_of",
    "method_of",
    "note_address",
    "number_of",
    "operation",
    "pairs_of",
    "shown_call",
    "slots_of",
    "status_of",
    "target_of",
    "text_of",
]

LIB: Final = "grpc"
EOF: Final = cygrpc.EOF
SEND: Final = cygrpc.OperationType.send_message
CLOSE: Final = cygrpc.OperationType.send_close_from_client
GREETING: Final = cygrpc.OperationType.receive_initial_metadata
MESSAGE: Final = cygrpc.OperationType.receive_message
STATUS: Final = cygrpc.OperationType.receive_status_on_client
KINDS: Final = (cygrpc.OperationType.send_initial_metadata, SEND, CLOSE, GREETING, MESSAGE, STATUS)
"""All operations of a client."""
CANCELLED: Final[int] = grpc.StatusCode.CANCELLED.value[0]
DEADLINE: Final[int] = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
TELLING: Final = (
    *("_next", "code", "debug_error_string", "details", "exception", "initial_metadata", "result", "traceback"),
    "trailing_metadata",
)
"""The methods of a call that wait for what the server says."""
ForkManagedThread: Final[Any] = cygrpc.ForkManagedThread
"""A thread of a blocking channel's. It runs in the context in which it was made."""
TELLS_ADDRESS: Final = hasattr(cygrpc.AioChannel, "target")
"""Whether the core of an asyncio channel tells its address, as it does in releases after 1.80."""
_addresses: Final[dict[int, str]] = {}
"""By the identity of an asyncio channel's core: the address, where the core does not tell it. The core takes neither
attributes nor weak references."""
_COMPRESSION: Final = "grpc-internal-encoding-request"
"""The metadata by which an app asks gRPC to compress."""
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_STATES: Final = {state.value[0]: state for state in grpc.ChannelConnectivity}


class Operation(NamedTuple):
    """An operation that has ended, in the form in which gRPC reads the core's own.

    gRPC's threads call what tells of it, and none of them could end by an error: so these are no functions of ours.
    """

    kind: Any
    greeting: Any
    received: Any
    status: tuple[int, Any, Any, Any]
    type: Callable[[], Any]
    """Which operation."""
    initial_metadata: Callable[[], Any]
    """What a server sends before its first message."""
    message: Callable[[], Any]
    """A message; None where there are no more."""
    code: Callable[[], int]
    """The number of the status."""
    details: Callable[[], Any]
    """The text of the status."""
    trailing_metadata: Callable[[], Any]
    """What a server sends after its last message."""
    error_string: Callable[[], Any]
    """What the core says of an error."""


def operation(
    kind: Any, greeting: Any = None, received: Any = None, status: tuple[int, Any, Any, Any] = (0, "", (), "")
) -> Operation:
    """An operation that has ended thus."""
    told = (kind, greeting, received, *status)
    return Operation(kind, greeting, received, status, *(repeat(each).__next__ for each in told))


class Event(NamedTuple):
    """Operations that have ended."""

    batch_operations: tuple[Operation, ...]
    tag: Any
    success: bool = True
    completion_type: Any = cygrpc.CompletionType.operation_complete


def slots_of(kind: Any) -> list[str]:
    """The slots of a class that calls methods in which the core is: to wait for events, and to hear of them."""
    return [name for name in ("_channel", "_managed_call") if name in vars(kind)]


def target_of(caller: Any) -> str:
    """The address of the channel that calls a method."""
    # The core of a channel that was closed must not be asked: that ends the process.
    target = getattr(caller, "_target", None)
    return text_of(target) if target else address_of(getattr(caller, "_channel", None))


def address_of(core: Any) -> str:
    """The address of an asyncio channel, by its core; empty where nothing tells it."""
    target = getattr(core, "target", None)
    if target is None:
        return _addresses.get(id(core), "")
    return "" if callable(target) else text_of(target)


def note_address(channel: Any, target: Any) -> None:
    """Note which address an asyncio channel was made for. Its core is closed when the channel is gone."""
    key = id(channel._channel)
    _addresses[key] = text_of(target)
    weakref.finalize(channel, _addresses.pop, key, None).atexit = False


def text_of(target: Any) -> str:
    """An address as a text."""
    return target.decode(errors="replace") if isinstance(target, bytes) else str(target)


def is_closed(core: Any) -> bool:
    """Whether the core of a blocking channel was closed."""
    try:
        core.check_connectivity_state(False)
    except ValueError:
        return True
    return False


def let_send(call: Any) -> None:
    """Let the app send over a call of asyncio that has not begun, and never will: it gets the reason thereby."""
    observer = getattr(call, "_metadata_sent_observer", None)
    if observer is not None:
        observer()


def host_of(target: str) -> str:
    """``host:port`` of a target, or the path of a socket.

    https://grpc.github.io/grpc/core/md_doc_naming.html
    """
    text = re.sub(r"^(dns|passthrough|xds|ipv4|ipv6):(//[^/]*/)?/?", "", target)
    if text.startswith("unix"):
        return re.sub(r"^unix(-abstract)?:(//)?", lambda found: "@" if found[1] else "", text)
    return text


def method_of(method: Any) -> tuple[str, str]:
    """The service and the name of a method, of ``/service/name``."""
    text = method.decode(errors="replace") if isinstance(method, bytes) else str(method)
    service, _, name = text.lstrip("/").rpartition("/")
    return service, name


def pairs_of(metadata: Any) -> HeaderPairs:
    """Metadata as header lines, without what gRPC tells itself by it."""
    return tuple((_bytes(key), _bytes(value)) for key, value in metadata or () if key != _COMPRESSION)


def metadata_of(pairs: Iterable[tuple[Any, Any]]) -> tuple[Any, ...]:
    """Header lines as the core gives metadata: bytes in what ends with ``-bin``, and text in all else."""
    made = []
    for key, value in pairs:
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        binary = name.endswith("-bin")
        made.append(cygrpc._Metadatum(name, _bytes(value) if binary else _text(value)))
    return tuple(made)


def _bytes(value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)


def _text(value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def status_of(status: tuple[int, Any, Any, Any]) -> Any:
    """A status as the core gives it to asyncio."""
    return cygrpc.AioRpcStatus(*status)


def code_text(code: int) -> str:
    """The name of a status."""
    known = _CODES.get(code)
    return known.name if known is not None else str(code)


def connectivity(state: int) -> grpc.ChannelConnectivity:
    """The state of a channel."""
    return _STATES[state]


def shown_call(status: Any) -> str:
    """A call of the core that has ended, as the core shows it. Newer ones show a success as they show an error."""
    if status.code() is cygrpc.StatusCode.ok:
        said = f'status = {_CODES[0]}\n\tdetails = "{status.details()}"'
        return f"<_AioCall of RPC that terminated with:\n\t{said}\n>"
    lines = [f"status = {status.details()}", f'details = "{_CODES.get(status.code())}"']
    lines.append(f'debug_error_string = "{status.debug_error_string()}"')
    return "<_AioCall of RPC that terminated with:\n" + "".join(f"\t{line}\n" for line in lines) + ">"


def number_of(state: grpc.ChannelConnectivity) -> int:
    """The number of a channel's state."""
    number: int = state.value[0]
    return number
