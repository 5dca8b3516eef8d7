"""Adapters of the user's with a ``send`` or ``build_response`` of their own. Example: that of CacheControl has both.

The plugin finds them when a session of requests asks for an adapter. In a replay, the cassette tells which of them
were recorded by themselves: their class stands in their events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls import hooks
from timetracer_otel.calls.guarded import ASK, Noted, guarded
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = [
    "ADAPTER_ATTRIBUTE",
    "BUILD",
    "BUILDERS",
    "LIB",
    "SEND",
    "AdapterSeams",
    "adapter_name",
    "of_session",
    "was_recorded",
]

LIB = "requests"
SEND = "send"
BUILD = "build_response"
ADAPTER_ATTRIBUTE = "timetracer.adapter"
"""Where a recorded error names the class of the adapter that raised it; an answer does so in its ``reply``."""

BUILDERS: set[type] = set()
"""Classes of adapters that were found to build responses in another way than requests' own."""


def adapter_name(cls: type) -> str:
    """How a cassette names a class of adapters."""
    return f"{cls.__module__}:{cls.__qualname__}"


class AdapterSeams(Patch):
    """The seam that finds adapters with functions of their own, and replaces these in each such class.

    Args:
        module: requests.
        seams: Makes the replacement of an adapter's ``send``, of its ``build_response``.
    """

    def __init__(self, module: ModuleType, seams: Mapping[str, Callable[[Function], Function]]) -> None:
        super().__init__(module.sessions.Session, "get_adapter", self._get_adapter)
        self._plain = (module.adapters.HTTPAdapter, module.adapters.BaseAdapter)
        self._seams = seams
        self.covered: set[type] = set(self._plain)
        self._patches: dict[tuple[type, str], Patch] = {}
        self._lock = threading.Lock()

    def undo(self) -> None:
        """Put the original functions of all classes back."""
        super().undo()
        with self._lock:
            BUILDERS.difference_update(self.covered)
            self.covered = set(self._plain)
            while self._patches:
                self._patches.popitem()[1].undo()

    def _get_adapter(self, original: Function) -> Function:
        recorded, replayed = _Finding(self, False), _Finding(self, True)

        def begin(session: BaseSession, *_: Any, **__: Any) -> Noted:
            return replayed if isinstance(session, ReplaySession) else recorded

        def at_once(_: Any) -> Any:
            # Where no replay is anywhere, it need not be known which session is current.
            return recorded if hooks.guard is None else ASK

        return guarded(LIB, original, begin, quick=at_once)

    def cover(self, cls: type) -> None:
        """Put seams into a class of adapters, where it has functions of its own. Done once for each class."""
        if cls in self.covered:
            return
        with self._lock:
            for name, seam in self._seams.items():
                owner = next((base for base in cls.__mro__ if name in base.__dict__), None)
                if owner is None or owner in self._plain or not isinstance(owner.__dict__[name], FunctionType):
                    continue
                if name == BUILD:
                    BUILDERS.add(cls)
                if (owner, name) not in self._patches:
                    patch = self._patches[owner, name] = Patch(owner, name, seam)
                    patch.apply()
            self.covered.add(cls)


class _Finding(Noted):
    """Notes which adapter a session of requests has found, in a recording or in a replay."""

    __slots__ = ("_replayed", "_seams")

    def __init__(self, seams: AdapterSeams, replayed: bool) -> None:
        self._seams = seams
        self._replayed = replayed

    def came(self, value: Any) -> Any:
        """Put seams into the adapter's class, where it has functions of its own."""
        if type(value) not in self._seams.covered:
            self._seams.cover(type(value))
        of_session.replayed = self._replayed
        return value

    def raised(self, error: BaseException) -> None:
        """The session has no adapter for the URL: nothing of it is noted."""


class _OfSession(threading.local):
    """Whether the next call of this thread is made by a session of requests, which has just asked for the adapter.

    Such a session sets ``elapsed`` of the response; an adapter that the app calls by itself does not.
    """

    replayed = False

    def take(self) -> bool:
        replayed, self.replayed = self.replayed, False
        return replayed


of_session = _OfSession()


class _State:
    """What the plugin remembers of one replay."""

    recorded_adapters: frozenset[str] | None = None
    """Names of the classes of adapters whose calls the cassette holds; None until somebody looked."""


def was_recorded(adapter: Any, session: ReplaySession) -> bool:
    """Whether the cassette holds calls of this class of adapters itself: then no call of it goes out."""
    state = session.state(LIB, _State)
    if state.recorded_adapters is None:
        state.recorded_adapters = frozenset(_adapters_in(session))
    return adapter_name(type(adapter)) in state.recorded_adapters


def _adapters_in(session: ReplaySession) -> Iterator[str]:
    for event in session.events_with("adapter"):
        if event.signature.lib == LIB:
            reply, error = event.result.reply, event.result.exception
            found = reply.get("adapter") if isinstance(reply, dict) else None
            found = found or (error.attributes.get(ADAPTER_ATTRIBUTE) if error is not None else None)
            if found:
                yield found
