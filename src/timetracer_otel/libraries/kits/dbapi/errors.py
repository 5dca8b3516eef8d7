"""Errors of drivers as values, and back: in the driver's own classes, with SQLSTATE and the server's details."""

from __future__ import annotations

from dataclasses import replace

from timetracer_otel.cassette import rebuild_error as rebuild
from timetracer_otel.cassette import record_error as record
from timetracer_otel.libraries.kits.dbapi.driver import driver_of, known
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.types import RecordedError

__all__ = ["DISCONNECTED", "STATE", "rebuild_error", "record_error"]

DISCONNECTED = "timetracer_disconnected"
"""Attribute of a recorded error after which the connection was gone."""
STATE = "timetracer_state"
"""Attribute of a recorded error: what its connection told of itself behind it (`Target.state_of`)."""


def record_error(error: BaseException) -> RecordedError:
    """An error of a driver as a value, with what lies outside the error's own dictionary."""
    made = record(error, known.error_attributes)
    driver = driver_of(type(error))
    if driver is not None and driver.keep_error is not None:
        driver.keep_error(error, made.attributes)
    return made


def rebuild_error(error: RecordedError, target: Target) -> tuple[BaseException, bool]:
    """The error again, and whether its connection was gone.

    Raises:
        CassetteError: It cannot be rebuilt.
    """
    attributes = dict(error.attributes)
    disconnected = bool(attributes.pop(DISCONNECTED, False))
    attributes.pop(STATE, None)
    kept = {name: attributes.pop(name) for name in known.kept_apart if name in attributes}
    made = rebuild(replace(error, attributes=attributes), {*known.packages, *target.error_packages})
    for name, value in kept.items():
        restore = known.kept_apart[name].restore_error
        if restore is not None and value is not None:
            made = restore(made, value, attributes)
    return made, disconnected
