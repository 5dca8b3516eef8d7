"""Which session is current.

A session that is attached here is a value in the OpenTelemetry context. Tasks inherit it, and so do threads and
greenlets that are started in it (the room ``threads`` sees to that). Where the context holds no session, the current
one is that of the local root span that the code runs in (the request), or that of the whole process: a replay by
environment, or the recording of calls outside any request. All functions are safe from any thread and task.

Users have the module ``context``, which also switches on what a session needs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base.otel_context import OWN_KEYS, SPAN_ABOVE_KEY, SUPPRESSED, current_context, span_around
from timetracer_otel.threads import carrying

if TYPE_CHECKING:
    from timetracer_otel.session import BaseSession

__all__ = [
    "HANDING_OUT",
    "OUTSIDE_JOBS",
    "SESSION_KEY",
    "attach_session",
    "carried_into",
    "clear_session",
    "context_with",
    "detach_session",
    "forget_session",
    "get_current_session",
    "has_active_session",
    "is_decided",
    "require_session",
    "session_in",
    "session_now",
    "set_ambient_lookup",
]

SESSION_KEY = otel_context.create_key("timetracer-otel-session")
"""The key of the session in a context. Every value under it has an attribute ``after``, as sessions have."""


class _Nobody:
    """The value in the context after `clear_session`. It also hides the session of the request and the process."""

    @staticmethod
    def after() -> None:
        """No session follows: none is current."""


_NOBODY = _Nobody()
OUTSIDE_JOBS = _Nobody()
"""The value in the context of a worker's own code, which takes jobs from a broker: no session is current there, but
each job gets one. It stands under the session's key, so that it goes wherever a session would go."""
HANDING_OUT = _Nobody()
"""The value in the context of a consumer that is about to hand out a message, to a loop of the app. The session of
the message begins with that, and not with a span that tells of the handing out."""

_ambient: Callable[[], BaseSession | None] | None = None


def get_current_session() -> BaseSession | None:
    """The session that calls made here belong to, or None."""
    # Not by `get_value`: every call of the app asks this, and each function in between makes it slower.
    session: BaseSession | None = current_context().get(SESSION_KEY)  # type: ignore[assignment]
    if session is None:
        return _ambient() if _ambient is not None else None
    return session if session.after is None else session.after()


def has_active_session() -> bool:
    """Whether `get_current_session` gives a session."""
    return get_current_session() is not None


def require_session() -> BaseSession:
    """The current session.

    Raises:
        RuntimeError: There is none.
    """
    session = get_current_session()
    if session is None:
        raise RuntimeError(
            "No active timetracer session. Wrap the code in timetracer_otel.record(...) or replay(...), "
            "or set TIMETRACER_MODE."
        )
    return session


def attach_session(session: BaseSession) -> Token[Context]:
    """Make a session current in this context, and in tasks that are started in it.

    Returns:
        A token for `detach_session`.
    """
    return otel_context.attach(context_with(session))


def detach_session(token: Token[Context]) -> Any:
    """Undo the `attach_session` that gave this token. What stood in the context: a session, or what hides them."""
    found = current_context().get(SESSION_KEY)
    otel_context.detach(token)
    return found


def clear_session() -> None:
    """Make no session current in this context, not even the one of the request or the process."""
    otel_context.attach(context_with(None))


def forget_session() -> None:
    """Take any decision about the session out of this context. The session of the process is current, if any."""
    otel_context.attach(Context({key: value for key, value in current_context().items() if key != SESSION_KEY}))


def context_with(session: BaseSession | None) -> Context:
    """The current OpenTelemetry context with a session in it; None stands for "no session is current"."""
    return otel_context.set_value(SESSION_KEY, _NOBODY if session is None else session)


def carried_into(context: Context) -> Context:
    """A copy of a context that has the same session, or the same decision against one, as the current context."""
    explicit = otel_context.get_value(SESSION_KEY)
    return context if explicit is None else otel_context.set_value(SESSION_KEY, explicit, context)


def is_decided() -> bool:
    """Whether the current context says which session is current, or that none is (`clear_session`)."""
    return otel_context.get_value(SESSION_KEY) is not None


def session_in(context: Context | None) -> BaseSession | None:
    """The session that was set in a given OpenTelemetry context (None: the current one)."""
    return session_now((current_context() if context is None else context).get(SESSION_KEY))  # type: ignore[arg-type]


def session_now(session: BaseSession | None) -> BaseSession | None:
    """The session itself, or the one that follows it where it has ended."""
    return session if session is None or session.after is None else session.after()


def _for_new_thread() -> Context | None:
    """What a thread gets that is started here; None where no session is current but that of the process.

    It is what belongs to us, and that instrumentation is suppressed. The app's span and baggage stay behind, as they
    do without us: a span that begins in the thread is the root of a trace, unless OpenTelemetry's own threading
    instrumentation is switched on.
    """
    context = current_context()
    span = span_around(context)
    if context.get(SESSION_KEY) is None and (_ambient is None or span is None):
        return None
    carried: dict[str, object] = {
        key: value for key, value in context.items() if key.startswith(OWN_KEYS) or key in SUPPRESSED
    }
    if span is not None:
        carried[SPAN_ABOVE_KEY] = span
    return Context(carried)


carrying.carried = _for_new_thread


def set_ambient_lookup(lookup: Callable[[], BaseSession | None] | None) -> None:
    """Set the function that gives the session of the current request or process. Only the room ``process`` does."""
    global _ambient
    _ambient = lookup
