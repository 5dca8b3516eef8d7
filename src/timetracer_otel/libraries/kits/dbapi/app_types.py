"""Values that a driver makes by what an app registered for a type of its database: its own factory, class or enum.

A cassette holds the parts of such a value, and the name of the database's type. A replay gives the parts to what the
app registered for that type in its own process. So nothing is imported because a cassette names it, and a value comes
back in the class that the app has at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from timetracer_otel.base import faults
from timetracer_otel.current import get_current_session
from timetracer_otel.session import ReplaySession, TraceSession

__all__ = ["made_of", "note_made", "nothing_is_taken_apart", "registers", "registers_class", "taken_apart"]

_MOST_NOTED: Final = 10_000
"""How many values a recording keeps that no recorded cursor gives to the app, since a raw connection had them."""

_makers: dict[tuple[str, str], Callable[[Any], Any]] = {}
"""By kind and name of the type: what makes a value of its parts, as the app registered it last."""
_classes: WeakKeyDictionary[type[Any], tuple[str, str, Callable[[Any], Any]]] = WeakKeyDictionary()
"""By class: kind and name of the type, and what takes a value apart."""


def registers(kind: str, name: str, make: Callable[[Any], Any]) -> None:
    """Note how the app has values of a type made.

    Args:
        kind: Of the registration, such as ``psycopg.composite``.
        name: Of the type in the database.
        make: Makes a value of its parts.
    """
    _makers[kind, name] = make


def registers_class(
    cls: type[Any], kind: str, name: str, *, parts: Callable[[Any], Any], make: Callable[[Any], Any]
) -> None:
    """Note a class whose values can be taken apart by themselves.

    Args:
        cls: The class.
        kind: Of the registration.
        name: Of the type in the database.
        parts: Takes a value apart.
        make: Makes a value of its parts.
    """
    registers(kind, name, make)
    _classes[cls] = kind, name, parts


class _Noted:
    """The values that a driver made for one recording, and of what, until a recorded cursor gives them to the app."""

    def __init__(self) -> None:
        self.by_id: dict[int, tuple[Any, str, str, Any]] = {}


def _recording() -> TraceSession | None:
    """The current session where that records; of a replay that makes new calls, the one that these go to."""
    session = get_current_session()
    if isinstance(session, ReplaySession):
        return session.recorder
    return session if isinstance(session, TraceSession) else None


def note_made(value: Any, kind: str, name: str, parts: Sequence[Any]) -> None:
    """Note of what a driver made a value, where the current session records. It is called for every such value."""
    try:
        session = _recording()
        if session is None:
            return
        noted = session.state(__name__, _Noted).by_id
        # The value stands there as well: as long as it does, no other has its id.
        noted[id(value)] = value, kind, name, list(parts)
        if len(noted) > _MOST_NOTED:
            noted.pop(next(iter(noted)), None)
    except Exception as fault:
        faults.contain("dbapi.app_types", fault)


def taken_apart(value: Any) -> list[Any] | None:
    """Kind, name and parts of a value, for `made_of`; None where the app registered nothing that would make it."""
    registered = _classes.get(type(value))
    if registered is not None:
        kind, name, parts = registered
        return [kind, name, parts(value)]
    session = _recording()
    if session is None:
        return None
    found = session.state(__name__, _Noted).by_id.pop(id(value), None)
    return None if found is None else list(found[1:])


def nothing_is_taken_apart(kinds: Collection[type[Any]]) -> bool:
    """Whether `taken_apart` gives None for each value of these classes now."""
    if any(kind in _classes for kind in kinds):
        return False
    session = _recording()
    return session is None or not session.state(__name__, _Noted).by_id


def made_of(kind: str, name: str, parts: Any) -> Any:
    """A value again, of its parts.

    Raises:
        KeyError: The app registered nothing for this type in this process.
    """
    make = _makers.get((kind, name))
    if make is None:
        raise KeyError(f"the app has registered nothing for the type {name} ({kind}), as it had when it was recorded")
    return make(parts)
