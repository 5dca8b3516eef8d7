"""Checks of secrets in a replay. The app has pseudonyms in their places, and no pseudonym is genuine.

An app that checks a signature or a password would go another way than it went, and nobody would say why. So a check
that fails is refused, like a call that has no answer, where it was asked about a pseudonym.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.registry import Verifier
from timetracer_otel.current import get_current_session
from timetracer_otel.guard.declared_seams import DeclaredSeams
from timetracer_otel.session import ReplaySession

__all__ = ["Verifiers"]


class Verifiers(DeclaredSeams[tuple[Verifier, ...]]):
    """The declared functions, replaced by ones that refuse. Not safe from several threads at once: the guard calls it
    under its lock.
    """

    def know(self, verifiers: Mapping[str, tuple[Verifier, ...]]) -> None:
        """Add modules with such functions. A module that is known already stays as it is."""
        self._declare(verifiers)

    def _patches(self, declared: tuple[Verifier, ...], module: ModuleType) -> list[Undoable]:
        patches: list[Undoable] = []
        for verifier in declared:
            owner, _, name = verifier.name.rpartition(".")
            wrap = partial(_refusing, verifier, f"{module.__name__.partition('.')[0]}.{verifier.name}")
            if owner:
                patches.append(Patch(getattr(module, owner), name, wrap))
            else:
                found = getattr(module, name)
                patches.append(Rebound(found, wrap(found)))
        return patches


def _refusing(verifier: Verifier, name: str, original: Function) -> Function:
    def verified(*args: Any, **kwargs: Any) -> Any:
        try:
            result = original(*args, **kwargs)
        except Exception as error:
            if verifier.fails_by in {base.__name__ for base in type(error).__mro__}:
                _check(verifier.given(args, kwargs), name)
            raise
        if result is False:
            _check(verifier.given(args, kwargs), name)
        return result

    return verified


def _check(given: Any, name: str) -> None:
    """Refuse what failed, where it is about a pseudonym.

    Raises:
        ReplayMismatchError: It is.
    """
    session = get_current_session()
    if not isinstance(session, ReplaySession) or not isinstance(given, (str, bytes)):
        return
    if session.has_pseudonym(given.decode("latin-1") if isinstance(given, bytes) else given):
        raise session.refuse_unseen(
            f"{name} was asked whether a pseudonym is genuine. It stands in the place of a secret, so what "
            "the function said of the secret is not known",
            f"record the check itself, by a plugin for the function {name} (docs/how-to-add-a-plugin.md).",
        )
