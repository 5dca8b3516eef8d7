"""Blobs of sqlite3 (``Connection.blobopen``): a value of a column that an app reads and writes in pieces.

A recording reads the whole value when the blob is opened. A replay gives a blob of the same value in a database in
memory, so all that an app does with it runs for real.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from timetracer_otel.calls.flow import Recording, flow
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.kits.dbapi.direct import held_by
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.sqlite3.answer import Twin
from timetracer_otel.session import BaseSession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["begin_blob"]

_BY_POSITION = ("table", "column", "row")
_NOT_KNOWN = (None,) * 6
"""What a description has besides the name of the column (PEP 249)."""
_BY_NAME = frozenset({"name", "readonly"})


def begin_blob(session: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any) -> Flow | None:
    """The app opens a blob of a connection."""
    held = held_by(connection)
    if held is None or len(args) != len(_BY_POSITION) or not _BY_NAME.issuperset(kwargs):
        # Where the arguments are wrong, sqlite3 says so by itself.
        return None
    given = {**dict(zip(_BY_POSITION, args, strict=True)), **kwargs}
    if held.replays(session):
        for_real = partial(_opened_for_real, held.twin, *args, **kwargs)
        return flow(_BlobSite(held.target, held.twin, for_real, given), session)  # type: ignore[arg-type]
    if session is None or not held.target.takes_part(session):
        return None
    live: Any = AppStep(sqlite3.Connection.blobopen, connection, *args, **kwargs)  # type: ignore[attr-defined]
    return flow(_BlobSite(held.target, connection, live, given), session)


class _BlobSite(PlainSite):
    """The opening of a blob.

    Args:
        target: The database.
        connection: The app's; in a replay, what answers for it.
        live: Opens it for real.
        given: The arguments by name.
    """

    _content: bytes | None = None

    def __init__(self, target: Target, connection: Any, live: Callable[[], Any], given: dict[str, Any]) -> None:
        super().__init__(target, "BLOBOPEN", live, connection, given=given)
        self._given = given

    def returned(self, value: Any, recording: Recording) -> Any:
        """The blob, at its beginning."""
        if recording.session.limits.take(len(value)):
            self._content = value.read()
            value.seek(0)
        else:
            recording.not_replayable = "it had no room left under TIMETRACER_MAX_SESSION_KB"
        return super().returned(value, recording)

    def result(self, recording: Recording) -> EventResult:
        """The value, as a statement's only row: a column with a secret name is replaced there."""
        made = super().result(recording)
        if self._content is not None:
            made.reply |= {"description": [(self._given["column"], *_NOT_KNOWN)], "rows": [[self._content]]}
        return made

    def rebuild(self, event: DependencyEvent | None, session: Any) -> Any:
        """A blob of the recorded value."""
        assert event is not None
        super().rebuild(event, session)
        ((content,),) = event.result.reply["rows"]
        return _blob_of(content, bool(self._given.get("readonly")), self.connection)


@guarded_method
def _opened_for_real(twin: Twin, *args: Any, **kwargs: Any) -> Any:
    """A new call: the real connection behind that of the replay opens the blob."""
    return outside(twin.real.opened().blobopen, *args, **kwargs)


def _blob_of(content: bytes, is_readonly: bool, twin: Twin) -> Any:
    connection: Any = sqlite3.Connection(":memory:")
    connection.execute("CREATE TABLE opened AS SELECT ? AS content", (content,))
    # It is closed with the app's connection, as that closes its blobs.
    twin.blobs.append(connection)
    return connection.blobopen("opened", "content", 1, readonly=is_readonly)
