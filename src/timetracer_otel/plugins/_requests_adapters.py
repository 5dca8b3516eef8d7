"""Adapters of requests with a ``send`` of their own: found when a session asks for one, told apart in a replay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from timetracer_otel._patching import Function, Patch
from timetracer_otel.context import get_current_session
from timetracer_otel.session import ReplaySession

__all__ = ["ADAPTER_ATTRIBUTE", "LIB", "AdapterSeams", "adapter_name", "of_session", "was_recorded"]

LIB = "requests"
ADAPTER_ATTRIBUTE = "timetracer.adapter"
"""Where a recorded error names the class of the adapter that raised it; an answer does so in its ``reply``."""


def adapter_name(cls: type) -> str:
    """How a cassette names a class of adapters."""
    return f"{cls.__module__}:{cls.__qualname__}"


class AdapterSeams(Patch):
    """The seam that finds adapters with a ``send`` of their own, and gives each such class one.

    Args:
        module: requests.
        seam: Makes the replacement of an adapter's ``send``.
    """

    def __init__(self, module: ModuleType, seam: Callable[[Function], Function]) -> None:
        super().__init__(module.sessions.Session, "get_adapter", self._get_adapter)
        self._known = {module.adapters.HTTPAdapter, module.adapters.BaseAdapter}
        self._seam = seam
        self._patches: list[Patch] = []
        self._lock = threading.Lock()

    def undo(self) -> None:
        super().undo()
        with self._lock:
            while self._patches:
                patch = self._patches.pop()
                self._known.discard(patch.owner)
                patch.undo()

    def _get_adapter(self, original: Function) -> Function:
        def get_adapter(*args: Any, **kwargs: Any) -> Any:
            adapter = original(*args, **kwargs)
            session = get_current_session()
            if session is not None:
                self._cover(type(adapter))
                of_session.replayed = isinstance(session, ReplaySession)
            return adapter

        return get_adapter

    def _cover(self, cls: type) -> None:
        owner = next((base for base in cls.__mro__ if "send" in base.__dict__), None)
        if owner is None or owner in self._known:
            return
        with self._lock:
            if owner not in self._known and isinstance(owner.__dict__["send"], FunctionType):
                patch = Patch(owner, "send", self._seam)
                patch.apply()
                self._patches.append(patch)
            self._known.add(owner)


class _OfSession(threading.local):
    """Whether the call that comes next is made by a session, which has just asked for the adapter."""

    replayed = False

    def take(self) -> bool:
        replayed, self.replayed = self.replayed, False
        return replayed


of_session = _OfSession()
_recorded_adapters: WeakKeyDictionary[ReplaySession, frozenset[str]] = WeakKeyDictionary()


def was_recorded(adapter: Any, session: ReplaySession) -> bool:
    """Whether the cassette holds calls of this class of adapters itself: then no call of it goes out."""
    names = _recorded_adapters.get(session)
    if names is None:
        names = _recorded_adapters[session] = frozenset(_adapters_in(session))
    return adapter_name(type(adapter)) in names


def _adapters_in(session: ReplaySession) -> Iterator[str]:
    for event in session.events:
        reply, error = event.result.reply, event.result.exception
        if event.signature.lib == LIB:
            found = reply.get("adapter") if isinstance(reply, dict) else None
            found = found or (error.attributes.get(ADAPTER_ATTRIBUTE) if error is not None else None)
            if found:
                yield found
