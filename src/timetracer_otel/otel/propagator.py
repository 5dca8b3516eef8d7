"""Keeping the session when a server span's context is made.

Instrumentations of servers begin with ``propagate.extract(headers)``, which gives a *new* OpenTelemetry context: what
stood in the current one, the session among it, is not in it. A propagator has the last word about that context.
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

from timetracer_otel.context import carried_into

__all__ = ["carry", "stop_carrying"]


class _SessionPropagator(TextMapPropagator):
    """Puts the current session into each extracted context. Sends nothing."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        return carried_into(Context() if context is None else context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Nothing of a session leaves the process."""

    @property
    def fields(self) -> set[str]:
        return set()


class _Carrying(CompositePropagator):
    """The user's propagator with ours behind it."""

    def __init__(self, users: TextMapPropagator) -> None:
        super().__init__([users, _SessionPropagator()])
        self.users = users
        # What is sent is the user's alone; asked at every call, so without a function in between.
        self.inject = users.inject  # type: ignore[method-assign]


def carry() -> None:
    """Put our propagator behind the global one, whoever set that; harmless when repeated."""
    users = propagate.get_global_textmap()
    if type(users) is not _Carrying:
        propagate.set_global_textmap(_Carrying(users))


def stop_carrying() -> None:
    """Undo `carry`, unless somebody set another propagator since."""
    current = propagate.get_global_textmap()
    if type(current) is _Carrying:
        propagate.set_global_textmap(current.users)
