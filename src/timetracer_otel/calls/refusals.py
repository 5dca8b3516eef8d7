"""Refusing the calls of a library whose seams could not be installed, at its entry points.

An entry point is a public function that the library's calls go through, such as ``Session.request``. It refuses in a
replay; a recording passes every call through. It is named as ``module:Class.method``. Further methods of the same
class follow, separated by spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any, NoReturn, TypeAlias

from timetracer_otel.base.patching import Function, Patch, SeamFailure, Undoable
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import pass_or_refuse
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.current import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.session import ReplaySession

__all__ = ["Concerns", "EntryPoint", "refusing"]

EntryPoint: TypeAlias = "Sequence[str]"
"""Names of one way into the library. The first that exists counts; the others are for releases without it."""

Concerns: TypeAlias = "Callable[[Any], bool]"
"""Whether calls on an object (the client, the engine) are the plugin's."""

_call_above: CallAbove[bool] = CallAbove("entry-points")
"""Set while an entry point is passed through. Example: ``Session.send`` of requests calls ``HTTPAdapter.send``, which
is an entry point as well: one call was lost, not two."""


def refusing(
    entry_points: Sequence[EntryPoint], concerns: Concerns | None, module: ModuleType, failure: SeamFailure
) -> list[Undoable]:
    """The patches that are applied in place of a module's seams.

    Where an entry point does not exist, calls cannot be refused there. Then the network guard refuses the connections
    of a replay.
    """
    ways = [next(filter(None, map(_places, names)), None) for names in entry_points]
    closed: list[Undoable] = [] if ways and all(ways) else [hooks.closed_replays(failure)]
    wrap = partial(_refusing, failure, concerns)
    return closed + [Patch(owner, name, wrap) for places in ways for owner, name in places or ()]


def _places(names: str) -> list[tuple[Any, str]] | None:
    """The owners and attributes that an entry point names; None where one is not there."""
    module, _, path = names.partition(":")
    first, *others = path.split(" ")
    *owners, attribute = first.split(".")
    try:
        owner: Any = import_module(module)
        for name in owners:
            owner = getattr(owner, name)
    except (ImportError, AttributeError):
        return None
    found = [attribute, *others]
    return [(owner, name) for name in found] if all(callable(getattr(owner, name, None)) for name in found) else None


def _refusing(failure: SeamFailure, concerns: Concerns | None, original: Function) -> Function:
    # Also for a coroutine function this is a plain function that returns the library's own coroutine. A coroutine of
    # ours around it would add a frame, and a warning with a ``stacklevel`` would name our line instead of the app's.
    def entered(*args: Any, **kwargs: Any) -> Any:
        session = get_current_session()
        if session is None or _call_above.get() or (concerns is not None and args and not concerns(args[0])):
            return original(*args, **kwargs)
        error = pass_or_refuse(failure.library, failure.reason, failure.next_step, session)
        if error is not None:
            if is_awaited:
                return _raising(error)
            raise error
        guard = hooks.guard if isinstance(session, ReplaySession) else None
        if guard is not None and is_awaited:
            return _let(guard, partial(original, *args, **kwargs))
        token = guard.let() if guard is not None else None
        try:
            with _call_above.making(True):
                return original(*args, **kwargs)
        finally:
            if guard is not None:
                guard.unlet(token)

    is_awaited = iscoroutinefunction(original)
    return entered


async def _let(guard: hooks.Guard, call: Function) -> Any:
    """Make a call that stays live in a replay. The library may connect in tasks, which copy this context."""
    token = guard.let()
    try:
        with _call_above.making(True):
            return await call()
    finally:
        guard.unlet(token)


async def _raising(error: ReplayMismatchError) -> NoReturn:
    raise error
