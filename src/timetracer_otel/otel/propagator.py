"""Keeping the session where an instrumentation makes a new OpenTelemetry context for a request that comes in.

Server instrumentations begin with ``propagate.extract(headers)``, which gives a *new* context. The session of the
current context is missing there. Example: within ``with record(...)`` around a test client, the app's calls would
belong to no session. So a propagator of ours follows the user's, and copies the session into the new context.
"""

from __future__ import annotations

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from timetracer_otel.current import carried_into
from timetracer_otel.threads import carrying

__all__ = ["carry", "stop_carrying"]


class _SessionPropagator(TextMapPropagator):
    """Copies the current session into each extracted context. Adds no header to what is sent."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """The given context, with the session of the current one; the headers are not read."""
        given = Context() if context is None else context
        try:
            return carried_into(given)
        except Exception as fault:
            carrying.contain("propagator.extract", fault)
            return given

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Do nothing: no session leaves the process."""

    @property
    def fields(self) -> set[str]:
        """The headers that `inject` sets: none."""
        return set()


class _Carrying(CompositePropagator):
    """The user's propagator, followed by ours."""

    def __init__(self, users: TextMapPropagator) -> None:
        super().__init__([users, _SessionPropagator()])
        self.users = users
        # Only the user's propagator sends anything. It is called for every outgoing request, so directly.
        self.inject = users.inject  # type: ignore[method-assign]


def carry() -> None:
    """Let our propagator follow the global one, whoever set that; harmless when repeated."""
    users = propagate.get_global_textmap()
    if type(users) is not _Carrying:
        propagate.set_global_textmap(_Carrying(users))


def stop_carrying() -> None:
    """Undo `carry`, unless somebody set another propagator since."""
    current = propagate.get_global_textmap()
    if type(current) is _Carrying:
        propagate.set_global_textmap(current.users)
