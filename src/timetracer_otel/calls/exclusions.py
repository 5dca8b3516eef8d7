"""URLs that OpenTelemetry's own variables leave out: ``OTEL_PYTHON_<LIBRARY>_EXCLUDED_URLS``."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from timetracer_otel.base import faults
from timetracer_otel.calls import hooks
from timetracer_otel.calls.guarded import Flow, Step
from timetracer_otel.config import environment, excluded_urls, excluding_variable
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["ExcludedUrls", "left_out", "let_out"]


class ExcludedUrls:
    """The expressions by library or framework, each read when it is first asked for. Safe from any thread.

    A value that is no regular expression excludes nothing, and the log says so. OpenTelemetry's own instrumentation
    fails to start with such a value. To exclude nothing is the safe side here: a recording then has more calls than
    were wanted, and a replay answers (or refuses) calls that would otherwise be made for real.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, re.Pattern[str] | None] = {}

    def of(self, name: str) -> re.Pattern[str] | None:
        """The expression for a library or framework; None where nothing is excluded."""
        if name not in self._by_name:
            self._by_name[name] = _expression(name)
        return self._by_name[name]


@contextmanager
def let_out(library: str, session: BaseSession) -> Generator[None, None, None]:
    """Make a call whose URL the user has excluded: in a replay it is live, because the user said so, and counted."""
    if not isinstance(session, ReplaySession):
        yield
        return
    session.note_live(library)
    guard = hooks.guard
    token = guard.let() if guard is not None else None
    try:
        yield
    finally:
        if guard is not None:
            guard.unlet(token)


def left_out(library: str, session: BaseSession, live: Step) -> Flow | None:
    """The steps of a call whose URL the user has excluded; None where the call is to be made bare."""
    return _live(library, session, live) if isinstance(session, ReplaySession) else None


def _live(library: str, session: BaseSession, live: Step) -> Flow:
    with let_out(library, session):
        return (yield live)


def _expression(name: str) -> re.Pattern[str] | None:
    listed = excluded_urls(name)
    try:
        return re.compile(listed) if listed else None
    # Besides its own error, `re` raises these for numbers that are too large and for groups that nest too deep.
    except (re.error, OverflowError, RecursionError) as error:
        variable = excluding_variable(name)
        value = environment(variable) if variable is not None else None
        faults.warn_once(
            f"excluded-urls:{variable}={value}",
            f"{variable}={value!r} is no list of regular expressions ({error}): no URL is excluded by it. "
            "OpenTelemetry's own instrumentation may fail to start with it. What to do: correct or unset it.",
        )
        return None
