"""``block_network``: refusing every connection that no plugin makes for the session.

The interpreter calls audit hooks before each connection (``sys.addaudithook``, PEP 578). A hook cannot be removed, so
it is added for the first session that sets ``block_network``, and does nothing while there is no such session. Audit
hooks hear nothing of connections that C code makes by itself. Example: libpq, when psycopg asks it. The functions by
which Python asks C code are replaced instead (`c_connections`).

The guard also refuses connections in replays of a library whose calls can be neither answered nor refused
(`ClosedReplays`).
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar, Token
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base.otel_context import current_context, instrumentation_suppressed
from timetracer_otel.base.patching import SeamFailure
from timetracer_otel.calls import hooks
from timetracer_otel.calls.registry import Connecting, ConnectingInC, load_plugins
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import NetworkBlockedError
from timetracer_otel.guard.c_connections import CConnections
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["ClosedReplays", "begin", "end", "guarded"]

_SENDS = frozenset({"socket.sendto", "socket.sendmsg"})
_CONNECTIONS = _SENDS | {"socket.connect"}
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_EVENTS = _CONNECTIONS | _LOOKUPS

_Let: TypeAlias = "tuple[Token[bool], Token[Context]]"

guarded: bool = False
"""Whether the guard listens: some session may refuse connections."""
_sessions: tuple[BaseSession, ...] = ()
"""The sessions that set ``block_network``."""
_closed: tuple[SeamFailure, ...] = ()
"""The libraries whose calls cannot be refused otherwise: every session that replays one refuses connections."""
_lock = threading.RLock()
_hooked = False
_let: ContextVar[bool] = ContextVar("timetracer_otel_let", default=False)
_LET_KEY = otel_context.create_key("timetracer-otel-let")
"""The same in the OpenTelemetry context, which the room ``threads`` carries into threads. Example: asyncio looks up
names in a thread."""
_owners: dict[str, set[str]] = {}
"""By package: the plugins that its connections belong to."""
_OWN = str(Path(__file__).parents[1]) + os.sep
_STDLIB = (str(Path(os.__file__).parent) + os.sep, "<frozen ")
_INSTALLED = ("site-packages" + os.sep, "dist-packages" + os.sep)

_REPLAY_HINT = (
    "record the call through a library that has a plugin, add a plugin (docs/how-to-add-a-plugin.md), "
    "or unset block_network."
)
_NO_SESSION_HINT = (
    "this thread has no session: run it in a copy of the context (contextvars.copy_context().run), "
    "or unset block_network."
)


def begin(session: BaseSession) -> None:
    """Refuse connections from now on, until `end` with the same session."""
    global _sessions
    _know_owners()
    with _lock:
        _sessions = (*_sessions, session)
        _guard()


def end(session: BaseSession) -> None:
    """Undo `begin`; harmless when repeated."""
    global _sessions
    with _lock:
        _sessions = tuple(other for other in _sessions if other is not session)
        _guard()


class ClosedReplays:
    """While applied, every session that replays a certain library refuses connections, as its calls cannot be
    refused otherwise.

    Args:
        failure: The library, and why its calls cannot be seen.
    """

    def __init__(self, failure: SeamFailure) -> None:
        self._failure = failure

    def apply(self) -> None:
        """Refuse connections from now on; harmless when repeated."""
        global _closed
        _know_owners()
        with _lock:
            _closed = (*(other for other in _closed if other is not self._failure), self._failure)
            _guard()

    def undo(self) -> None:
        """Undo `apply`; harmless when repeated."""
        global _closed
        with _lock:
            _closed = tuple(other for other in _closed if other is not self._failure)
            _guard()


def _know_owners() -> None:
    plugins = load_plugins()
    with _lock:
        for plugin in plugins:
            for package in plugin.packages if isinstance(plugin, Connecting) else ():
                _owners.setdefault(package, set()).add(plugin.name)
            if isinstance(plugin, ConnectingInC):
                _in_c.know(plugin.connectors)


def _guard() -> None:
    """Begin to listen, or stop, as the sessions of now need it."""
    global guarded, _hooked
    before, guarded = guarded, bool(_sessions or _closed)
    if guarded:
        hooks.guard = _GUARD
        # Also where it listens already: a plugin may have been registered since.
        _in_c.install()
    elif before:
        hooks.guard = None
        _in_c.remove()
    if guarded and not _hooked:
        _hooked = True
        sys.addaudithook(_hook)


class _Guard:
    """What `flow` calls around each real call, while the guard listens."""

    @staticmethod
    def let() -> _Let:
        """Allow connections in this context, and in threads that get the OpenTelemetry context."""
        return _let.set(True), otel_context.attach(otel_context.set_value(_LET_KEY, True))

    @staticmethod
    def unlet(token: _Let) -> None:
        """Undo `let`."""
        own, carried = token
        try:
            _let.reset(own)
        except ValueError:
            # Python closes the coroutine of a task that never finished in whatever context is current then. A token
            # can only be reset in its own context, and that context is gone with its task.
            return
        otel_context.detach(carried)


_GUARD = _Guard()


def _is_let() -> bool:
    return _let.get() or current_context().get(_LET_KEY) is True


def _check(address: str) -> None:
    """Refuse a connection that Python code asks C code for."""
    if guarded and not _is_let():
        error = _refusal(address, is_lookup=False)
        if error is not None:
            raise error


_in_c = CConnections(_check)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # `sendto` and `sendmsg` without an address use a connection that was checked when it was made. (asyncio sends so
    # since Python 3.12.)
    if guarded and event in _EVENTS and (event not in _SENDS or arguments[1] is not None) and not _is_let():
        error = _refusal(_address(event, arguments), is_lookup=event in _LOOKUPS)
        if error is None:
            return
        if event == "socket.connect":
            # Callers close the socket themselves only where an OSError is raised, and ours is none.
            arguments[0].close()
        raise error


def _refusal(address: str, *, is_lookup: bool) -> NetworkBlockedError | None:
    session = get_current_session()
    if session is None:
        # A thread without a context may look up a name for anybody, for instance for a plugin's real call. Only its
        # connections are refused.
        sessions = _sessions
        if is_lookup or not sessions:
            return None
        responsible, hint = sessions[-1], _NO_SESSION_HINT
    elif session in _sessions:
        responsible, hint = session, _REPLAY_HINT
    elif (failure := _closed_for(session)) is not None:
        responsible, hint = session, f"{failure.next_step} The reason: {failure.reason}."
    else:
        return None
    if instrumentation_suppressed():
        return None
    places = _places()
    if any(_is_live(place.package, responsible) for place in places):
        return None
    error = _error(address, places, hint)
    if isinstance(responsible, (ReplaySession, TraceSession)):
        responsible.blocked.append(error)
    return error


def _closed_for(session: BaseSession) -> SeamFailure | None:
    """Why a session without ``block_network`` refuses connections all the same; None where it does not."""
    if not isinstance(session, ReplaySession):
        return None
    return next((failure for failure in _closed if session.should_mock_plugin(failure.library)), None)


def _is_live(package: str, session: BaseSession) -> bool:
    """Whether a package on the stack belongs to a plugin that makes real calls in this session."""
    plugins = _owners.get(package, ())
    if isinstance(session, ReplaySession):
        return any(not session.should_mock_plugin(name) for name in plugins)
    return isinstance(session, TraceSession) and any(map(session.wants, plugins))


class _Place(NamedTuple):
    package: str
    module: str
    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.module} ({Path(self.file).name}:{self.line}, in {self.function})"


def _places() -> list[_Place]:
    """The places on the stack, innermost first, without our own frames."""
    places = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_OWN):
            module = str(frame.f_globals.get("__name__", "?"))
            places.append(_Place(module.partition(".")[0], module, file, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return places


def _error(address: str, places: list[_Place], hint: str) -> NetworkBlockedError:
    foreign = [place for place in places if _is_installed(place) or not place.file.startswith(_STDLIB)]
    made_by = (foreign or places)[0]
    users = [place for place in foreign if not _is_installed(place)]
    called_from = users[0] if users and users[0] != made_by else None
    return NetworkBlockedError(address, str(made_by), str(called_from) if called_from is not None else None, hint)


def _is_installed(place: _Place) -> bool:
    return any(folder in place.file for folder in _INSTALLED)


def _address(event: str, arguments: tuple[Any, ...]) -> str:
    if event in _LOOKUPS:
        host, port = (*arguments, None)[:2]
        host = host.decode("latin-1") if isinstance(host, bytes) else host
        return f"{host}:{port}" if port is not None else str(host)
    address = arguments[1]
    if isinstance(address, tuple) and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    return address.decode(errors="replace") if isinstance(address, bytes) else str(address)


hooks.closed_replays = ClosedReplays
