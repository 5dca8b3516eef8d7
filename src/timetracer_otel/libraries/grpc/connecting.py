"""The methods by which an app makes calls. They are watched for replays in which the plugin is not enabled.

Nothing of gRPC is imported here: its modules are still being imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import is_replacement
from timetracer_otel.calls.registry import Connector
from timetracer_otel.libraries.grpc.private_names import CONNECTING

__all__ = ["connectors"]


def connectors(module: ModuleType) -> Sequence[Connector]:
    """Those of a module of gRPC's."""
    names = [name for each in CONNECTING[module.__name__] for name in _methods(each)]
    return [Connector(name, _address) for name in names]


def _methods(names: str) -> list[str]:
    first, *others = names.split(" ")
    kind = first.partition(".")[0]
    return [first, *(f"{kind}.{name}" for name in others)]


def _address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    from timetracer_otel.libraries.grpc import internals

    if is_replacement(internals.awaited.UnaryUnaryCall.__init__):
        return None
    return internals.host_of(internals.target_of(args[0])) or "a host that its channel names"
