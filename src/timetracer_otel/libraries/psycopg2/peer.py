"""The other end of the socket of a connection in a replay.

psycopg2's connections are written in C over libpq, and one without a server is no connection: its cursors quote
values by it, and functions in C look into it. So the connection of a replay is a real one, and its server is a thread
of ours, which speaks a part of PostgreSQL's protocol. It says what the recorded server said when the connection was
opened, and lets the driver go on from one state of a transaction to the next. It answers no statement of the app's:
those are answered from the cassette. One that gets here went past the plugin, and gets an error.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import _socket
import _thread
import importlib
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.whose_error import outside

__all__ = ["Peer"]

extensions: Any = importlib.import_module("psycopg2.extensions")
_PORT: Final = "5432"
_TIMEOUT_S: Final = 10
_KEPT: Final = frozenset({"application_name", "client_encoding", "dbname", "options", "password", "user"})
"""Parameters of the app's that its connection has in a replay, too."""
_STATUSES: Final = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
}
"""What a server says that was not asked by the recording."""
_LETTERS: Final = {0: "I", 1: "T", 2: "T", 3: "E"}
"""By status of a transaction as libpq has it: the letter in the message ``ReadyForQuery``."""
_STATE: Final = "SET timetracer.transaction TO "
"""The statement, with one of these letters behind it, by which a connection is brought into another state."""
_SETS: Final = frozenset({"CLOSE", "DISCARD", "RESET", "SET"})
_BEGINS: Final = frozenset({"BEGIN", "START"})
_ENDS: Final = frozenset({"ABORT", "COMMIT", "PREPARE", "ROLLBACK"})
_OPEN_CURSORS: Final = "SELECT 1 FROM pg_catalog.pg_cursors"
"""A cursor on the server that has run nothing asks so whether there is something to close."""
_REFUSAL: Final = (
    "timetracer-otel: a connection of a replay reaches no server, and this statement went past what is recorded"
)


class Peer(ReplayObject):
    """The other end of one connection.

    Args:
        facts: What the recorded connection was told (`ServerTarget.connected`); empty where that is not known.
    """

    _lib = "psycopg2"

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts
        self.shown_dsn = ""
        """How the app connects, as psycopg2 tells it."""
        self.declared: set[str] = set()
        """Names of the cursors that a server would have."""
        self._folder: str | None = None
        self._socket: Any = None
        self._process = os.getpid()
        statuses = {**_STATUSES, **{name: value for name, value in facts.get("statuses", {}).items() if value}}
        self._greeting = b"".join(
            (
                _message(b"R", struct.pack("!I", 0)),
                *(_message(b"S", _texts(name, value)) for name, value in statuses.items()),
                _message(b"K", struct.pack("!II", facts.get("backend_pid", 0), 0)),
                _message(b"Z", b"I"),
            )
        )

    def dsn(self, given: str) -> str:
        """Listen, and give what connects here.

        Args:
            given: As the app connects.
        """
        if hasattr(_socket, "AF_UNIX"):
            host = self._folder = tempfile.mkdtemp(prefix="timetracer-")
            listener, port = _socket.socket(_socket.AF_UNIX), _PORT
            listener.bind(f"{host}/.s.PGSQL.{port}")
        else:
            host, listener = "127.0.0.1", _socket.socket()
            listener.bind((host, 0))
            port = str(listener.getsockname()[1])
        listener.listen(1)
        listener.settimeout(_TIMEOUT_S)
        _in_thread(self._greet, listener)
        parameters = extensions.parse_dsn(given)
        hidden = {"password": "xxx"} if "password" in parameters else {}
        self.shown_dsn = extensions.make_dsn(**{**parameters, **hidden}) if hidden else given
        known = {name: self.facts[name] for name in ("user", "dbname") if self.facts.get(name)}
        own = {name: value for name, value in parameters.items() if name in _KEPT}
        dsn: str = extensions.make_dsn(
            **{**known, **own},
            host=host,
            hostaddr="",
            port=port,
            connect_timeout=str(_TIMEOUT_S),
            sslmode="disable",
            gssencmode="disable",
        )
        return dsn

    def follow(self, connection: Any, status: int, transaction: int) -> None:
        """Bring the driver's connection into the state of the recorded one behind a statement.

        The driver begins a transaction by itself where it needs one.
        """
        if connection.closed or (connection.status, connection.get_transaction_status()) == (status, transaction):
            return
        self.ready(connection)
        if (connection.status, status) == (extensions.STATUS_BEGIN, extensions.STATUS_READY):
            # A transaction that ended by an error. No statement tells the driver so.
            outside(extensions.connection.rollback, connection)
            return
        outside(extensions.cursor.execute, extensions.cursor(connection), _STATE + _LETTERS.get(transaction, "I"))

    def wake(self) -> None:
        """Let the app find something to read, which psycopg2 then passes over."""
        self._socket.sendall(_message(b"S", _texts("timetracer", "")))

    def hang_up(self, connection: Any) -> None:
        """Let the connection be lost."""
        self._socket.shutdown(_socket.SHUT_RDWR)
        with suppress(importlib.import_module("psycopg2").Error):
            extensions.cursor.execute(extensions.cursor(connection), _STATE)

    def ready(self, connection: Any) -> None:
        """Answer in this process. A connection may be older than its process, which has no thread of its parent's.

        It gets a socket of its own: the parent's thread reads from the one that both have, and would take parts of
        what is said here.
        """
        if self._process != os.getpid():
            self._process = os.getpid()
            ours, of_libpq = _socket.socketpair()
            os.dup2(of_libpq.fileno(), connection.fileno())
            of_libpq.close()
            self._socket.close()
            self._socket = ours
            _in_thread(self._serve)

    def _greet(self, listener: Any) -> None:
        try:
            number, _ = listener._accept()
        except OSError:
            # Nobody connected: libpq did not take the app's parameters.
            return
        finally:
            listener.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
        self._socket = _socket.socket(fileno=number)
        self._read(0)
        self._socket.sendall(self._greeting)
        self._serve()

    def _serve(self) -> None:
        state = b"I"
        while (message := self._read(1))[:1] == b"Q":
            answer, state = self._answer(message[1:].rstrip(b"\0").decode("utf-8", "replace"), state)
            self._socket.sendall(answer + _message(b"Z", state))
        self._socket.close()

    def _answer(self, text: str, state: bytes) -> tuple[bytes, bytes]:
        """The answer to a statement, and the state of the transaction behind it."""
        # To a server whose release it does not know, psycopg2 sends "BEGIN;SET TRANSACTION ...".
        verb = text.split(None, 1)[0].partition(";")[0].upper() if text.strip() else ""
        if text.startswith(_OPEN_CURSORS):
            empty = struct.pack("!H", 0)
            row = _message(b"D", empty) if any(repr(name) in text for name in self.declared) else b""
            return _message(b"T", empty) + row + _message(b"C", _texts("SELECT")), state
        if verb in _BEGINS:
            state = b"T"
        elif verb in _ENDS and " TO " not in text.upper():
            state = b"I"
        elif text.startswith(_STATE):
            state = text[len(_STATE) :].encode() or state
        elif verb not in _SETS:
            return _message(b"E", b"SERROR\0C0A000\0M" + _texts(f"{_REFUSAL}: {text[:200]}") + b"\0"), state
        return _message(b"C", _texts(verb)), state

    def _read(self, kind_bytes: int) -> bytes:
        """One message, without its length; empty where the connection was closed."""
        head = self._bytes(kind_bytes + 4)
        if not head:
            return b""
        return head[:kind_bytes] + self._bytes(struct.unpack("!I", head[kind_bytes:])[0] - 4)

    def _bytes(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            try:
                more = self._socket.recv(count - len(found))
            except OSError:
                more = b""
            if not more:
                return b""
            found += more
        return found


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _texts(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def _in_thread(work: Callable[..., None], *args: Any) -> None:
    """Run it in a thread of the system's, which no session follows: libpq blocks the one that calls it."""
    gevent = sys.modules.get("gevent.monkey")
    start = gevent.get_original("_thread", "start_new_thread") if gevent is not None else _thread.start_new_thread
    start(work, args)
