"""``COPY``: the app gives a file, from which psycopg2 reads what it sends, or into which it writes what comes.

What is sent is a part of what the call is matched by, and what comes is its answer.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.kits.dbapi.call import StatementSite
from timetracer_otel.libraries.kits.dbapi.statements import quoted_identifier, text_of
from timetracer_otel.session.body_taps import PIECE_BYTES, BodyLimits
from timetracer_otel.types import Call, EventResult

__all__ = ["Copy", "CopySite", "all_by_name"]

_SENDS: Final = re.compile(r"\bFROM\s+STDIN\b", re.IGNORECASE)
_SIZE: Final = 8192
_SIGNATURES: Final[Mapping[str, inspect.Signature]] = {
    "copy_expert": inspect.signature(lambda sql, file, size=_SIZE: None),
    "copy_from": inspect.signature(lambda file, table, sep="\t", null="\\N", size=_SIZE, columns=None: None),
    "copy_to": inspect.signature(lambda file, table, sep="\t", null="\\N", columns=None: None),
}


def all_by_name(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """All arguments of a ``copy_*`` method; None where they do not fit."""
    try:
        bound = _SIGNATURES[name].bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    return dict(bound.arguments)


class Copy:
    """One call of a ``copy_*`` method.

    Args:
        name: Of the method.
        given: Its arguments, all of them by name.
    """

    def __init__(self, name: str, given: dict[str, Any]) -> None:
        self._name = name
        self._given = given
        self.file: Any = self._given["file"]
        self.size: int = self._given.get("size", _SIZE)
        self.pieces: list[Any] = []
        """What was sent, or came."""
        self.is_kept = True
        self._limits: BodyLimits | None = None
        named: Any = self._given.get("columns")
        # What can be read only once is psycopg2's to read.
        columns = ", ".join(map(quoted_identifier, map(str, named))) if type(named) in (list, tuple) else ""
        target = quoted_identifier(str(self._given.get("table"))) + (f" ({columns})" if columns else "")
        self.text = {
            "copy_expert": lambda: text_of(self._given["sql"]),
            "copy_from": lambda: f"COPY {target} FROM STDIN",
            "copy_to": lambda: f"COPY {target} TO STDOUT",
        }[name]()
        self.sends = _SENDS.search(self.text) is not None

    @property
    def options(self) -> dict[str, Any]:
        """What the call is matched by besides the text."""
        given: dict[str, Any] = {name: self._given[name] for name in ("sep", "null") if name in self._given}
        if self.sends:
            given["sent"] = b"".join(_as_bytes(piece) for piece in self.pieces)
        return given

    def noted(self, limits: BodyLimits) -> dict[str, Any]:
        """The arguments with a file that notes what passes it."""
        self._limits = limits
        kind = _TextTee if isinstance(self.file, io.TextIOBase) else _Tee
        return {**self._given, "file": kind(self)}

    def with_file(self, cursor: Any) -> Any:
        """Make the call on a cursor; what the app's file gave is read again."""
        file = io.BytesIO(self.options["sent"]) if self.sends else self.file
        return outside(getattr(cursor, self._name), **{**self._given, "file": file})

    def as_written(self, piece: Any) -> Any:
        """A piece that came, as the app's file takes it."""
        if isinstance(self.file, io.TextIOBase):
            return piece if type(piece) is str else piece.decode("utf-8", "surrogateescape")
        return _as_bytes(piece)

    def note(self, piece: Any) -> None:
        """Note a piece, where there is room for it."""
        if self.is_kept and self._limits is not None and not self._limits.take(len(piece) + PIECE_BYTES):
            self.forget()
        if self.is_kept and piece:
            self.pieces.append(piece if type(piece) in (str, bytes) else bytes(piece))

    def forget(self) -> None:
        """Keep nothing of what is copied."""
        self.is_kept, self.pieces = False, []


def _as_bytes(piece: Any) -> bytes:
    return piece.encode("utf-8", "surrogateescape") if type(piece) is str else bytes(piece)


class _Tee:
    """The app's file; what psycopg2 reads from it or writes into it is noted. Its methods are guards.

    Args:
        copy: The call.
    """

    def __init__(self, copy: Copy) -> None:
        self._file = copy.file
        self._copy = copy

    def __getattr__(self, name: str) -> Any:
        # psycopg2 asks whether there is a `read` or a `write`.
        found = getattr(self._file, name)
        return partial(getattr(self, f"_{name}"), found) if name in ("read", "write") else found

    def _read(self, read: Callable[..., Any], *size: Any) -> Any:
        piece = read(*size)
        self._noted(piece)
        return piece

    def _write(self, write: Callable[..., Any], piece: Any) -> Any:
        value = write(piece)
        self._noted(piece)
        return value

    def _noted(self, piece: Any) -> None:
        try:
            self._copy.note(piece)
        except Exception as fault:
            self._copy.is_kept = False
            faults.contain("psycopg2.copy", fault)


class _TextTee(_Tee, io.TextIOBase):
    """The same for a file of texts, which psycopg2 knows by its class."""

    def read(self, *size: Any) -> Any:
        """Read a piece."""
        return self._read(self._file.read, *size)

    def write(self, piece: Any) -> Any:
        """Write a piece."""
        return self._write(self._file.write, piece)


class CopySite(StatementSite):
    """A ``COPY``. What was sent is known when the call has ended.

    Args:
        copy: The call.
        args: As for `StatementSite`.
        kwargs: The same, by name.
    """

    def __init__(self, copy: Copy, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._copy = copy

    def observe(self, session: Any) -> None:
        """Nothing: psycopg2 reads the file later."""

    def call(self) -> Call:
        """The statement, with what was sent by now."""
        return Call(self.lib, EventType.DB_QUERY, "COPY", self.target.url, args=self._stated())

    def as_it_is(self) -> tuple[str, str, Any, Any] | None:
        """The same."""
        return "COPY", self.target.url, self._stated(), None

    def returned(self, value: Any, recording: Recording) -> Any:
        """The call has ended."""
        if not self._copy.is_kept:
            limit_kb = recording.session.config.max_session_kb
            recording.not_replayable = f"what it copied had no room left under TIMETRACER_MAX_SESSION_KB={limit_kb}"
        return super().returned(value, recording)

    def result(self, recording: Recording) -> EventResult:
        """What came, with what the cursor says of it."""
        made = super().result(recording)
        if not self._copy.sends:
            made.reply["came"] = list(self._copy.pieces)
        return made

    def _stated(self) -> dict[str, Any]:
        return {"statement": self._copy.text, "options": self._copy.options}
