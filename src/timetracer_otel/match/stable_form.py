"""Arguments that a cassette has no encoding for, in a form that is equal for equal arguments in every run.

An argument is only compared and shown; nobody makes it again. So it need not come back as it was, and its class, with
what its objects consist of, is enough. Nothing of the app's is called for that, except the time zones of clocks, and
what gives the items of a container. Where that raises, the argument has no such form.
"""

from __future__ import annotations

import datetime as dt
import enum
import struct
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from zoneinfo import ZoneInfo

from timetracer_otel.cassette import Unencodable, check, pack
from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE

__all__ = ["stable_form"]

_MAX_DEPTH: Final = 32
_MAX_PARTS: Final = 10_000

_HEAP_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: unset on classes that are built in."""
_POINTER_BYTES: Final = struct.calcsize("P")
_WITHOUT_STATE: Final = frozenset({"abc", "collections.abc", "typing", "_typing"})
"""Modules of base classes that add nothing to what an object consists of."""
_TEXT_LIKE: Final[tuple[tuple[Any, Any], ...]] = (
    (str, str.__str__),
    (bytes, bytes),
    (bytearray, bytes),
    (int, int.__int__),
    (float, float.__float__),
)


_NAMED: Final = (type, types.FunctionType, types.BuiltinFunctionType)


def stable_form(value: Any) -> Any:
    """A value as plain data, with the names of the classes that have no encoding.

    Raises:
        Unencodable: Its content cannot be seen (a class in C without a buffer), it holds itself, or it is very large.
    """
    return _Former().form(value, _MAX_DEPTH)


class _Former:
    """One walk over a value."""

    def __init__(self) -> None:
        self._parts = 0

    def form(self, value: Any, room: int) -> Any:
        self._parts += 1
        if room <= 0 or self._parts > _MAX_PARTS:
            raise Unencodable(f"it holds itself, or more than {_MAX_PARTS} values")
        kind = type(value)
        if kind in (list, tuple):
            return kind([self.form(item, room - 1) for item in value])
        if kind is dict:
            return self._pairs(kind, value, room)
        if isinstance(value, enum.Enum):
            return f"{kind.__qualname__}.{value.name}"
        if isinstance(value, (dt.datetime, dt.time)):
            return _clock(value)
        try:
            check(value)
        except Unencodable:
            return self._stranger(value, kind, room)
        return value

    def _stranger(self, value: Any, kind: type, room: int) -> Any:
        if isinstance(value, Mapping):
            return self._pairs(kind, value, room)
        if isinstance(value, (list, tuple)):
            return [self.form(item, room - 1) for item in _items(value)]
        if isinstance(value, (set, frozenset)):
            return _named(kind, sorted((self.form(item, room - 1) for item in _items(value)), key=pack))
        for base, plain in _TEXT_LIKE:
            if issubclass(kind, base):
                return plain(value)
        if issubclass(kind, _NAMED) and "<" not in value.__qualname__:
            return _named(kind, f"{value.__module__}.{value.__qualname__}")
        with suppress(Exception):  # it has no buffer, or the app's class does not give it
            view: memoryview[Any] = memoryview(value)
            return _named(kind, [view.format, list(view.shape or ()), view.tobytes()])
        return _named(kind, {name: self.form(part, room - 1) for name, part in sorted(_state(value, kind))})

    def _pairs(self, kind: type, value: Mapping[Any, Any], room: int) -> Any:
        pairs = [[self.form(key, room - 1), self.form(item, room - 1)] for key, item in _items(value, value.items)]
        if all(type(key) in (str, int, bytes) for key, _ in pairs):
            return {key: item for key, item in pairs}  # noqa: C416 - pairs are lists
        return _named(kind, sorted(pairs, key=pack))


def _items(value: Any, given: Callable[[], Iterable[Any]] | None = None) -> list[Any]:
    try:
        return list(value if given is None else given())
    except Exception as fault:  # the app's own class
        raise Unencodable(f"{type(value).__qualname__} raises {type(fault).__name__}") from None


def _named(kind: type, content: Any) -> dict[str, Any]:
    return {DRIVER_TYPE: kind.__qualname__, DRIVER_VALUE: content}


def _clock(value: Any) -> Any:
    """A date with time, or a time, at the offset from UTC that its zone has then."""
    zone = value.tzinfo
    if zone is not None and type(zone) not in (dt.timezone, ZoneInfo):
        try:
            offset = value.utcoffset()
        except Exception as fault:  # the app's own zone
            raise Unencodable(f"its time zone {type(zone).__qualname__} raises {type(fault).__name__}") from None
        if offset is None:
            return _named(type(value), value.replace(tzinfo=None).isoformat())
        zone = dt.timezone(offset)
    time = dt.time(value.hour, value.minute, value.second, value.microsecond, zone, fold=value.fold)
    if isinstance(value, dt.datetime):
        return dt.datetime.combine(dt.date(value.year, value.month, value.day), time)
    return time


def _state(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """What an object of a class written in Python consists of: its attributes and slots, by name.

    Raises:
        Unencodable: A base class may keep more than that, in C.
    """
    bases = [base for base in kind.__mro__ if base is not object and base.__module__ not in _WITHOUT_STATE]
    slots: list[tuple[str, Any]] = []
    for base in bases:
        members = [(name, part) for name, part in vars(base).items() if isinstance(part, types.MemberDescriptorType)]
        if not base.__flags__ & _HEAP_TYPE or (members and "__slots__" not in vars(base)):
            raise Unencodable(_unseen(kind))
        slots += members
    own = getattr(value, "__dict__", None)
    has_state = type(own) is dict or any("__slots__" in vars(base) for base in bases)
    # A pointer for each slot, and two for the dictionary and the weak references.
    if not has_state or kind.__basicsize__ > object.__basicsize__ + (len(slots) + 2) * _POINTER_BYTES:
        raise Unencodable(_unseen(kind))
    if type(own) is dict:
        yield from _text_keys(own.items())
    for name, member in slots:
        try:
            yield name, member.__get__(value, kind)
        except AttributeError:  # never set
            continue


def _text_keys(items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    return ((name, part) for name, part in list(items) if type(name) is str)


def _unseen(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__} has no encoding"
