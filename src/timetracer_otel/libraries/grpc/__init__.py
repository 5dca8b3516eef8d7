"""grpcio (1.62 to 1.85): calls of blocking and asyncio channels, of all four kinds.

The seam is where a channel asks gRPC's core, which is written in C, for a call. Interceptors, serializers, futures,
iterators, callbacks and errors of gRPC stand above it, and run for real in a replay. See ``docs/grpc.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.grpc.connecting import connectors
from timetracer_otel.libraries.grpc.private_names import CONNECTING, RELIED_UPON
from timetracer_otel.libraries.grpc.secrets import FORM

__all__ = ["disable_grpc", "enable_grpc", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.grpc.seams import patches

    return patches()


plugin: LibraryPlugin = LibraryPlugin(
    name="grpc",
    group="rpc",
    modules=("grpc",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"grpc": [(f"{module}:{name}",) for module, names in CONNECTING.items() for name in names]},
    connectors=dict.fromkeys(CONNECTING, connectors),
    form=FORM,
    rests=True,
    knows={"grpc": "1.62 to 1.85"},
    instrumentors=(
        "opentelemetry.instrumentation.grpc:GrpcInstrumentorClient",
        "opentelemetry.instrumentation.grpc:GrpcAioInstrumentorClient",
    ),
)


def enable_grpc() -> None:
    """Let sessions record and replay calls of gRPC channels, also of channels that exist already. Up to grpcio 1.80,
    an asyncio channel that exists already does not tell its address: its calls are known by their methods alone.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own instrumentation of gRPC clients on,
    that is switched on too. It sees the channels that are made from then on. Harmless when repeated, in any order
    with that instrumentation.

    Raises:
        PluginNotFoundError: grpcio is not installed.
    """
    plugin.enable()


def disable_grpc() -> None:
    """Undo `enable_grpc`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
