"""The closed world: refusing every connection that no plugin makes for the session.

A replay refuses them for code whose current session is the replay. ``block_network`` refuses them while recording as
well, and for threads without a session.

The interpreter calls audit hooks before each connection (``sys.addaudithook``, PEP 578). A hook cannot be removed, so
it is added when the first replay begins, and does nothing while there is none. Audit hooks hear nothing of
connections that C code makes by itself. Example: libpq, when psycopg asks it. The functions by which Python asks C
code are replaced instead (`c_connections`). A connection that is open already makes itself known by the span of the
next call (`client_span_began`).

What is let out is counted in the session (`UncoveredCalls`), so that the account of a replay names it.

A recording refuses nothing. It notes the connections of clients that leave no span, since a replay of it will refuse
them (`watch_recording`). No audit hook is needed for that: it would cost something at each `id` of the app.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base import faults
from timetracer_otel.base.attributes import first_of
from timetracer_otel.base.holds import Holds
from timetracer_otel.base.hosts import Address, Hosts, address_of_url
from timetracer_otel.base.otel_context import current_context, instrumentation_suppressed
from timetracer_otel.base.patching import Patch, SeamFailure
from timetracer_otel.base.plugin_names import is_captured_now, is_covered_scope, library_of_scope
from timetracer_otel.base.tracebacks import CAN_LEAVE_NO_FRAME, leave_no_frame
from timetracer_otel.calls import hooks
from timetracer_otel.calls.guarded import contain
from timetracer_otel.calls.registry import Activatable, UncapturedClients, load_plugins
from timetracer_otel.current import get_current_session
from timetracer_otel.exceptions import NetworkBlockedError, TimetracerError
from timetracer_otel.guard.c_connections import CConnections, asking
from timetracer_otel.guard.noted_connections import Noting
from timetracer_otel.guard.places import (
    Place,
    caller_of,
    is_own_plumbing,
    is_telemetry,
    library_of,
    maker_of,
    places,
)
from timetracer_otel.guard.verifiers import Verifiers
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = [
    "ClosedReplays",
    "begin",
    "end",
    "guarded",
    "know",
    "unwatch",
    "unwatch_recording",
    "watch",
    "watch_recording",
]

_SENDS = frozenset({"socket.sendto", "socket.sendmsg"})
_CONNECTIONS = _SENDS | {"socket.connect"}
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_EVENTS = _CONNECTIONS | _LOOKUPS

_Let: TypeAlias = "tuple[Token[bool], Token[Context]]"

guarded: bool = False
"""Whether the guard listens: some session may refuse connections."""
_sessions: tuple[BaseSession, ...] = ()
"""The sessions that set ``block_network``."""
_watching = Holds()
"""The replays that are under way."""
_noting = Holds()
"""The recordings that are under way."""
_closed: tuple[SeamFailure, ...] = ()
"""The libraries whose calls cannot be refused otherwise: every session that replays one refuses connections."""
_clients = UncapturedClients()
_lock = threading.RLock()
_hooked = False
_let: ContextVar[bool] = ContextVar("timetracer_otel_let", default=False)
_LET_KEY = otel_context.create_key("timetracer-otel-let")
"""The same in the OpenTelemetry context, which the room ``threads`` carries into threads. Example: asyncio looks up
names in a thread."""
_owners: dict[str, dict[str, Activatable]] = {}
"""By package: the plugins that its connections belong to, by name."""
_known: Sequence[Activatable] = ()
"""The plugins that `_owners` was made of."""
_resolved: dict[str, str] = {}
"""By IP address: the name in ``live_hosts`` that it was looked up by. Who connects names the IP address alone."""
_MOST_RESOLVED = 10_000

_BLOCK_HINT = (
    "record the call through a library that has a plugin, add a plugin (docs/how-to-add-a-plugin.md), "
    "name the host in live_hosts, or unset block_network."
)
_NO_SESSION_HINT = (
    "this thread has no session: run it in a copy of the context (contextvars.copy_context().run), "
    "or unset block_network."
)


def know(clients: UncapturedClients) -> None:
    """Say which clients have no plugin, before `watch` or `begin`. The last word counts."""
    global _clients
    with _lock:
        if clients is not _clients:
            _clients = clients
            for functions in (_asked, _in_c):
                functions.know(clients.connectors, clients.names)
            _verifiers.know(clients.verifiers)


def begin(session: BaseSession) -> None:
    """Refuse connections from now on, also of threads without a session, until `end` with the same session."""
    global _sessions
    _know_owners()
    with _lock:
        _sessions = (*_sessions, session)
        _guard()


def end(session: BaseSession) -> None:
    """Undo `begin`; harmless when repeated."""
    global _sessions
    with _lock:
        left = tuple(other for other in _sessions if other is not session)
        # Every session ends here; few have begun here.
        if len(left) != len(_sessions):
            _sessions = left
            _guard()


def watch(session: BaseSession | None = None, *, by_name: bool = False) -> bool:
    """Look after the replays from now on, as one has begun, until `unwatch`.

    Which of them refuse connections, their own settings say.

    Args:
        session: The replay, where nobody need call `unwatch`: it is held weakly.
        by_name: Whether it names hosts that may be connected to, so that their addresses must be known.

    Returns:
        Whether this is the first call for the session.
    """
    with _lock:
        is_new = _watching.add(session)
    if is_new:
        _know_owners()
        with _lock:
            _guard()
            if by_name:
                _lookup.apply()
    return is_new


def unwatch(session: BaseSession | None = None) -> None:
    """Undo one `watch`."""
    with _lock:
        _watching.remove(session)
        _guard()


def watch_recording(session: BaseSession | None = None) -> None:
    """Note the connections of recordings that no plugin makes, until `unwatch_recording`.

    Args:
        session: The recording, where nobody need call `unwatch_recording`: it is held weakly.
    """
    if not CAN_LEAVE_NO_FRAME:
        # A frame of ours would stand in the traceback of each connection that fails.
        return
    with _lock:
        is_new = _noting.add(session)
    if is_new:
        _know_owners()
        with _lock:
            _guard()


def unwatch_recording(session: BaseSession | None = None) -> None:
    """Undo one `watch_recording`."""
    with _lock:
        _noting.remove(session)
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
    global _known
    plugins = load_plugins()
    with _lock:
        if plugins is _known:
            return
        _known = plugins
        for plugin in plugins:
            # It may be a `Connecting` and a `ConnectingInC`. Not `isinstance`: Python 3.11 reads all bases of a
            # protocol anew for each plugin, 20 ms for ours.
            for package in getattr(plugin, "packages", ()):
                _owners.setdefault(package, {})[plugin.name] = plugin
            for functions in (_asked, _in_c):
                functions.know(getattr(plugin, "connectors", {}))


def _guard() -> None:
    """Begin to listen, or stop, as the sessions of now need it."""
    global guarded, _hooked
    before, guarded = guarded, bool(_sessions or _watching or _closed)
    if guarded or _noting:
        _asked.install()
    else:
        _asked.remove()
    for patch in _sockets:
        if _noting:
            patch.apply()
        else:
            patch.undo()
    if guarded:
        hooks.guard = _GUARD
        # Also where it listens already: a plugin may have been registered since.
        _in_c.install()
        _verifiers.install()
    elif before:
        hooks.guard = None
        _in_c.remove()
        _verifiers.remove()
        _lookup.undo()
        _resolved.clear()
    if guarded and not _hooked:
        _hooked = True
        sys.addaudithook(_hook)


class _Guard:
    """What `flow` calls around each real call, and the span processor at each span, while the guard listens."""

    @staticmethod
    def let() -> _Let:
        """Allow connections of a plugin in this context, and in threads that get the OpenTelemetry context.

        They are not allowed where the session refuses those of plugins as well.
        """
        session = get_current_session()
        if session is not None and session.refuses_plugins:
            return _let.set(False), otel_context.attach(current_context())
        return _let_all()

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

    @staticmethod
    def client_span_began(span: Any) -> None:
        """Refuse a call that no plugin captures, where its library may use a connection that is open already.

        Args:
            span: The live span (`otel.spans.LiveSpan`).

        Raises:
            NetworkBlockedError: The call is refused.
        """
        session = span.session
        if isinstance(session, ReplaySession) and not is_captured_now(span.scope):
            _check_open_connection(span, session)
            session.uncovered.span_began(span)


def _let_all() -> _Let:
    return _let.set(True), otel_context.attach(otel_context.set_value(_LET_KEY, True))


_GUARD = _Guard()


def _check_open_connection(span: Any, session: ReplaySession) -> None:
    # What traces the call does not make it.
    stack = [place for place in places() if place.package != "opentelemetry"]
    if _is_let() or instrumentation_suppressed() or any(_goes_out(place.package, session) for place in stack):
        # A plugin makes a real call, and its library stands on one that is instrumented as well.
        session.uncovered.accounted.add(span.span_id)
        return
    library = library_of_scope(span.scope)
    if library in _clients.within_the_process or not (session.is_closed or session in _sessions):
        return
    if library not in _clients.keep_connections and library not in session.uncovered.that_connect:
        return
    address = _address_in(span.span.attributes or {})
    if address is None and library in _clients.seen_at_each_call:
        return
    if _is_named_live(session, library) or (session.live_hosts is not None and address is None):
        # Where it goes is not known yet. If it connects, that is seen; if not, it is counted when it ends.
        return
    if address is not None and _allows(session, address):
        return
    cures = _cures(stack, library, address)
    error = _error(str(address or "its server"), stack, session, library, cures, open_already=True)
    session.blocked.append(error)
    raise error


def _address_in(attributes: Mapping[str, Any]) -> Address | None:
    """Where the call of a span goes, as far as its attributes say so when it begins."""
    host = first_of(attributes, "server.address", "net.peer.name")
    if host:
        port = first_of(attributes, "server.port", "net.peer.port")
        return Address(str(host), None if port is None else str(port))
    # All that urllib3's say by the older conventions.
    url = first_of(attributes, "url.full", "http.url")
    return address_of_url(str(url)) if url else None


def _is_let() -> bool:
    return _let.get() or current_context().get(_LET_KEY) is True


def _check(address: str, library: str | None, is_open: bool) -> None:
    """Refuse a connection that Python code asks C code for, or a call over one that is open."""
    if guarded and not _is_let():
        addresses = [Address.parsed(part.strip()) for part in address.split(",")]
        error = _refusal(addresses, library, is_open=is_open)
        if error is not None:
            raise error
    if not is_open:
        _note(address, library)


def _note(address: str, library: str | None) -> None:
    if _noting and not _is_let():
        _noted.note(address, library)


def _noting_sockets(original: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        # A guard (see `calls.guarded`): a fault of ours does not keep anybody from connecting.
        try:
            # What asked C code for a connection has noted it already.
            if asking.get() is None:
                _note(str(_address("socket.connect", (self, address))), None)
        except Exception as fault:
            faults.contain("guard.sockets", fault)
        try:
            return original(self, address)
        except BaseException as error:
            leave_no_frame(error)
            raise

    return connect


_asked = CConnections(_check, in_recordings=True)
_in_c = CConnections(_check, in_recordings=False)
_noted = Noting(_owners, lambda: _clients)
_sockets = [Patch(socket.socket, name, _noting_sockets) for name in ("connect", "connect_ex")]
_verifiers = Verifiers()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if guarded and event in _EVENTS:
        # A guard (see `calls.guarded`): a fault of ours is a miss.
        try:
            _heard(event, arguments)
        except TimetracerError:
            raise
        except Exception as fault:
            contain("guard", None, fault)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    # `sendto` and `sendmsg` without an address use a connection that was checked when it was made. (asyncio sends so
    # since Python 3.12.)
    if (event in _SENDS and arguments[1] is None) or _is_let():
        return
    address = _address(event, arguments)
    is_lookup = event in _LOOKUPS
    if is_lookup and _is_own_name(address.host):
        return
    error = _refusal([address], is_lookup=is_lookup)
    if error is None:
        return
    if event == "socket.connect":
        # Callers close the socket themselves only where an OSError is raised, and ours is none.
        arguments[0].close()
    raise error


def _refusal(
    addresses: Sequence[Address], library: str | None = None, *, is_lookup: bool = False, is_open: bool = False
) -> NetworkBlockedError | None:
    session = get_current_session()
    if session is None:
        # A thread without a context may look up a name for anybody, for instance for a plugin's real call. Only its
        # connections are refused.
        sessions = _sessions
        if is_lookup or not sessions:
            return None
        responsible, hint = sessions[-1], _NO_SESSION_HINT
    elif session in _sessions:
        responsible, hint = session, session.block_hint or _BLOCK_HINT
    elif isinstance(session, ReplaySession):
        responsible, hint = session, None
        failure = _closed_for(session)
        if failure is not None:
            hint = f"{failure.next_step} The reason: {failure.reason}."
    else:
        return None
    if instrumentation_suppressed():
        return None
    stack = places()
    if (
        any(_is_live(place.package, responsible) for place in stack)
        or is_telemetry(stack, _clients.transports)
        or is_own_plumbing(stack, is_path=addresses[0].is_path)
    ):
        return None
    library = _span_above() or library or library_of(stack)
    if isinstance(responsible, ReplaySession) and (
        (hint is None and not responsible.is_closed)
        or _is_named_live(responsible, library, *(place.package for place in stack))
        or all(_allows(responsible, address, is_lookup=is_lookup) for address in addresses)
    ):
        if not is_lookup and not _is_counted(responsible, library, stack, is_open):
            responsible.uncovered.connected(library, is_open=is_open)
        return None
    if isinstance(responsible, TraceSession):
        named = [Hosts(responsible.config.live_hosts), *filter(None, [responsible.allowed_hosts])]
        if all(any(_is_in(hosts, address, is_lookup) for hosts in named) for address in addresses):
            return None
    text = ", ".join(map(str, addresses))
    hint = hint or _cures(stack, library, addresses[0])
    error = _error(text, stack, responsible, library, hint, open_already=is_open)
    if isinstance(responsible, ReplaySession):
        _note_blocked(responsible)
    if isinstance(responsible, (ReplaySession, TraceSession)):
        responsible.blocked.append(error)
    return error


def _is_counted(session: ReplaySession, library: str, stack: Sequence[Place], is_open: bool) -> bool:
    """Whether what goes out is part of a call that the account has already: a plugin's or a C function's."""
    return any(_goes_out(place.package, session) for place in stack) or (not is_open and asking.get() == library)


def _note_blocked(session: ReplaySession) -> None:
    """The call whose span is current did not go out: its span is none of a live call."""
    where = hooks.whereabouts(None)
    if type(where) is not hooks.Unseen:
        session.uncovered.accounted.add(where.context.span_id)


def _span_above() -> str | None:
    """The library whose call is under way, by its span; None where that is no call which plugins do not capture."""
    where: Any = hooks.whereabouts(None)
    scope = where.scope if getattr(where, "is_client", False) else None
    return None if scope is None or is_covered_scope(scope) else library_of_scope(scope)


def _closed_for(session: ReplaySession) -> SeamFailure | None:
    """Why a session refuses connections whatever its settings say; None where it does not."""
    return next((failure for failure in _closed if session.should_mock_plugin(failure.library)), None)


def _is_live(package: str, session: BaseSession) -> bool:
    """Whether a package on the stack belongs to a plugin that makes real calls in this session."""
    plugins = _owners.get(package, ())
    if isinstance(session, ReplaySession):
        # A new call that is recorded may use its connection later: for further rows, or to commit.
        return any(session.adds_new_calls or not session.should_mock_plugin(name) for name in plugins)
    return isinstance(session, TraceSession) and any(map(session.wants, plugins))


def _goes_out(package: str, session: ReplaySession) -> bool:
    """Whether a package on the stack belongs to a plugin that makes real calls, or has made some to a live host."""
    return any(
        not session.should_mock_plugin(name) or (session.live_hosts is not None and session.live_calls.get(name))
        for name in _owners.get(package, ())
    )


def _is_named_live(session: ReplaySession, library: str, *packages: str) -> bool:
    """Whether the mock and live lists let a library out that has no plugin, by a name of it, a package or a group."""
    if session.config is None:
        return False
    live, mock = session.config.live_plugins, session.config.mock_plugins
    names = (library, library.partition(".")[0], *packages)
    names = (*names, *(_clients.groups[name] for name in names if name in _clients.groups))
    # As for plugins: a list of what is answered leaves all else live.
    return any(name in live for name in names) or (bool(mock) and not any(name in mock for name in names))


def _allows(session: ReplaySession, address: Address, *, is_lookup: bool = False) -> bool:
    """Whether ``live_hosts`` or `BaseSession.allowed_hosts` names an address."""
    named = (session.live_hosts, session.allowed_hosts)
    return any(hosts is not None and _is_in(hosts, address, is_lookup) for hosts in named)


def _is_in(hosts: Hosts, address: Address, is_lookup: bool) -> bool:
    # Some look a name up without the port. The connection is checked with it.
    if hosts.allow(address, any_port=is_lookup and address.port is None):
        return True
    if is_lookup:
        # Only the IP addresses tell whether a name belongs to a network. The connection is checked by them.
        return hosts.has_networks
    name = _resolved.get(address.host)
    if name is not None and hosts.allow(address._replace(host=name)):
        return True
    return any(address.host in _ips(name) and hosts.allow(address._replace(host=name)) for name in hosts.names)


def _ips(name: str) -> set[str]:
    """The IP addresses of a name that the user gave. Asked where a resolver looked the name up that we do not see."""
    token = _let_all()
    try:
        with suppress(OSError, UnicodeError):
            return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
        return set()
    finally:
        _GUARD.unlet(token)


def _getaddrinfo(original: Any) -> Any:
    """Remember the addresses of names, so that a connection to an address is known by its name."""

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(host, *args, **kwargs)
        session = get_current_session()
        if isinstance(session, ReplaySession) and session.live_hosts is not None and len(_resolved) < _MOST_RESOLVED:
            name = host.decode("latin-1") if isinstance(host, bytes) else str(host)
            _resolved.update((str(entry[4][0]), name) for entry in found)
        return found

    return getaddrinfo


_lookup = Patch(socket, "getaddrinfo", _getaddrinfo)


def _is_own_name(host: str) -> bool:
    """Whether a lookup asks about this machine, or about no name at all. Servers look up what they listen on."""
    if host.lower() in {"", "none", "localhost"} or host.lower() == socket.gethostname().lower():
        return True
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    except OSError:
        return False
    return True


def _cures(stack: Sequence[Place], library: str, address: Address | None) -> str:
    live = (
        f'by live_hosts=["{address}"] or TIMETRACER_LIVE_HOSTS={address}'
        if address is not None
        else f"by its host in live_hosts or TIMETRACER_LIVE_HOSTS, or by its name: "
        f'live_plugins=["{library}"] or TIMETRACER_LIVE_PLUGINS={library}'
    )
    switched_off = _switched_off(stack)
    plugin = (
        f"write one for {library} (docs/how-to-add-a-plugin.md), or call by a library that has one"
        if switched_off is None
        else f"{switched_off} has a plugin, which is not switched on (timetracer_otel.plugins, or with replay(...))"
    )
    lines = (
        "one of three:",
        f"    a plugin: {plugin}",
        f"    live_hosts: let it out, {live}",
        f"    an issue: ask the developers of timetracer-otel for a plugin for {library}",
    )
    return "\n".join(lines)


def _switched_off(stack: Sequence[Place]) -> str | None:
    """The plugin that the call belongs to and that nobody has switched on, as in a session that was set by hand."""
    for place in stack:
        for name, plugin in _owners.get(place.package, {}).items():
            if not getattr(plugin, "is_on", True):
                return name
    return None


def _error(
    address: str, stack: list[Place], session: BaseSession, library: str, hint: str, *, open_already: bool = False
) -> NetworkBlockedError:
    caller = caller_of(stack)
    in_cassette = None
    if isinstance(session, ReplaySession):
        observed = session.uncovered.of_library(library, *address.split(", "))
        in_cassette = observed or f"nothing of {library}"
    return NetworkBlockedError(
        address,
        str(maker_of(stack)),
        str(caller) if caller is not None else None,
        hint,
        library,
        in_cassette=in_cassette,
        open_already=open_already,
    )


def _address(event: str, arguments: tuple[Any, ...]) -> Address:
    if event in _LOOKUPS:
        host, port = (*arguments, None)[:2]
        host = host.decode("latin-1") if isinstance(host, bytes) else host
        return Address(str(host), str(port) if port is not None else None)
    address = arguments[1]
    if isinstance(address, tuple) and len(address) >= 2:
        return Address(str(address[0]), str(address[1]))
    text = address.decode(errors="replace") if isinstance(address, bytes) else str(address)
    return Address(f"@{text[1:]}" if text.startswith("\0") else text, is_path=True)
