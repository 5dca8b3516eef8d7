"""Record the HTTP, SQL and Redis calls of a traced service, and replay them offline.

    with timetracer_otel.record("x.msgpack"):
        ...  # real calls, kept
    with timetracer_otel.replay("x.msgpack"):
        ...  # the same answers, no network

Each name is imported when it is first used: a program (or a test run) that uses none of them pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timetracer_otel.base.counters import Counters, counters
    from timetracer_otel.blocks import record, replay
    from timetracer_otel.config import TraceConfig
    from timetracer_otel.constants import CapturePolicy, CompressionType, RecordMode, TraceMode
    from timetracer_otel.exceptions import (
        CassetteError,
        CassetteNotFoundError,
        CassetteSchemaError,
        ConfigurationError,
        NetworkBlockedError,
        PluginError,
        PluginNotFoundError,
        ReplayFailedError,
        ReplayMismatchError,
        TimetracerError,
    )
    from timetracer_otel.otel.by_hand import TimetracerSpanProcessor
    from timetracer_otel.otel.instrumentor import TimetracerInstrumentor

__version__ = "0.1.0"
"""The only place of the version: the build reads it here. A literal, since looking it up would cost each start."""

__all__ = [
    "CapturePolicy",
    "CassetteError",
    "CassetteNotFoundError",
    "CassetteSchemaError",
    "CompressionType",
    "ConfigurationError",
    "Counters",
    "NetworkBlockedError",
    "PluginError",
    "PluginNotFoundError",
    "RecordMode",
    "ReplayFailedError",
    "ReplayMismatchError",
    "TimetracerError",
    "TimetracerInstrumentor",
    "TimetracerSpanProcessor",
    "TraceConfig",
    "TraceMode",
    "__version__",
    "counters",
    "record",
    "replay",
]

_HOME = {
    **dict.fromkeys(("record", "replay"), "blocks"),
    **dict.fromkeys(("Counters", "counters"), "base.counters"),
    "TimetracerInstrumentor": "otel.instrumentor",
    "TimetracerSpanProcessor": "otel.by_hand",
    "TraceConfig": "config",
    **dict.fromkeys(("CapturePolicy", "CompressionType", "RecordMode", "TraceMode"), "constants"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME.get(name, 'exceptions')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
