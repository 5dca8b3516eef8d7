"""Checks of secrets in a replay. The app has pseudonyms in their places, and no pseudonym is genuine.

An app that checks a signature or a password would go another way than it went, and nobody would say why. So a check
that fails is refused, like a call that has no answer, where it was asked about a pseudonym, or about what was made of
one: a key that was loaded from it, a digest by that key.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.guarded import AppStep, Flow, guarded
from timetracer_otel.calls.noting import looked
from timetracer_otel.calls.registry import Compared, Maker, Verifier
from timetracer_otel.current import get_current_session
from timetracer_otel.guard.declared_seams import DeclaredSeams
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["Verifiers"]

_MOST_MADE = 1024
_ROOM = "a check of secrets"


class Verifiers(DeclaredSeams[tuple[Verifier | Maker, ...]]):
    """The declared functions, replaced by ones that refuse. Not safe from several threads at once: the guard calls it
    under its lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made = _Made()

    def know(self, verifiers: Mapping[str, tuple[Verifier | Maker, ...]]) -> None:
        """Add modules with such functions. A module that is known already stays as it is."""
        self._declare(verifiers)

    def remove(self) -> None:
        """Put the originals back, and forget what was made of pseudonyms; harmless when repeated."""
        super().remove()
        self._made.clear()

    def _patches(self, declared: tuple[Verifier | Maker, ...], module: ModuleType) -> list[Undoable]:
        patches: list[Undoable] = []
        for one in declared:
            owner, _, name = one.name.rpartition(".")
            if isinstance(one, Maker):
                wrap = partial(_noting, one, self._made)
            else:
                wrap = partial(_refusing, one, f"{module.__name__.partition('.')[0]}.{one.name}", self._made)
            if owner:
                patches.append(Patch(attrgetter(owner)(module), name, wrap))
            else:
                found = getattr(module, name)
                patches.append(Rebound(found, wrap(found)))
        return patches


class _Made:
    """What each replay has lately made of its pseudonyms: texts and bytes by their value, other objects by their
    identity. Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: WeakKeyDictionary[ReplaySession, OrderedDict[Hashable, Any]] = WeakKeyDictionary()
        """An object is kept: another one would get its identity."""

    def add(self, session: ReplaySession, value: Any) -> None:
        """Take note of a value."""
        with self._lock:
            held = self._held.setdefault(session, OrderedDict())
            held[_identity(value)] = value
            while len(held) > _MOST_MADE:
                held.popitem(last=False)

    def has(self, session: ReplaySession, value: Any) -> bool:
        """Whether a replay has made a value of a pseudonym."""
        with self._lock:
            return _identity(value) in self._held.get(session, ())

    def clear(self) -> None:
        """Forget all of it."""
        with self._lock:
            self._held.clear()


def _identity(value: Any) -> Hashable:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return value if isinstance(value, str) else id(value)


class _Checking(threading.local):
    """The check that this thread is within. Such functions call each other, and the outermost one is named."""

    is_within = False
    failed_within = False
    """Whether one that was called by it has failed, and was about a pseudonym."""


_checking = _Checking()


def _refusing(verifier: Verifier, name: str, made: _Made, original: Function) -> Function:
    def begin(session: BaseSession, *args: Any, **kwargs: Any) -> Flow | None:
        if not isinstance(session, ReplaySession):
            return None
        return _checked(session, verifier, name, made, AppStep(original, *args, **kwargs))

    return guarded(_ROOM, original, begin)


def _checked(session: ReplaySession, verifier: Verifier, name: str, made: _Made, check: AppStep) -> Flow:
    is_within, _checking.is_within = _checking.is_within, True
    try:
        result = yield check
        has_failed = result is False
    except Exception as error:
        if verifier.fails_by in {base.__name__ for base in type(error).__mro__} and _is_false(
            session, verifier.given(check.args, check.keywords), made
        ):
            _fail(session, name, is_within)
        raise
    else:
        if has_failed and _is_false(session, verifier.given(check.args, check.keywords), made):
            _fail(session, name, is_within)
        return result
    finally:
        _checking.is_within = is_within
        _checking.failed_within = _checking.failed_within and is_within


def _is_false(session: ReplaySession, given: Any, made: _Made) -> bool:
    """Whether what a check has failed for is a pseudonym, or made of one."""
    if isinstance(given, Compared) and all(
        (text := _text(side)) is not None and session.is_pseudonym(text) for side in given
    ):
        # They are two secrets, and so they were when the app was recorded.
        return False
    return _checking.failed_within or _concerns(session, given, made)


def _fail(session: ReplaySession, name: str, is_within: bool) -> None:
    """Refuse the check that failed, or have the one refused that it is a part of.

    Raises:
        ReplayMismatchError: It is no part of another one.
    """
    if is_within:
        _checking.failed_within = True
        return
    raise session.refuse_unseen(
        f"{name} was asked whether a pseudonym is genuine. It stands in the place of a secret, so what "
        "the function said of the secret is not known",
        f"record the check itself, by a plugin for the function {name} (docs/how-to-add-a-plugin.md).",
    )


def _noting(maker: Maker, made: _Made, original: Function) -> Function:
    is_initialiser = maker.name.endswith("__init__")

    def noted(*args: Any, **kwargs: Any) -> Any:
        # A class in C may have none of its own. That of `object` takes no arguments.
        result = original(*args, **kwargs) if original is not object.__init__ else None
        looked("guard.verifiers", note, result, args, kwargs)
        return result

    def note(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        session = get_current_session()
        if isinstance(session, ReplaySession) and _concerns(session, maker.given(args, kwargs), made):
            made.add(session, args[0] if is_initialiser else result)

    return noted


def _concerns(session: ReplaySession, given: Any, made: _Made) -> bool:
    for one in _each(given):
        text = _text(one)
        if made.has(session, one) or (text is not None and session.has_pseudonym(text)):
            return True
    return False


def _each(given: Any) -> Iterator[Any]:
    if isinstance(given, (tuple, list)):
        for one in given:
            yield from _each(one)
    elif given is not None:
        yield given


def _text(value: Any) -> str | None:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None
