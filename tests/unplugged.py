"""Plugins that are taken away: the world of a library without one, for tests of the closed world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from timetracer_otel.base import plugin_names
from timetracer_otel.calls import registry
from timetracer_otel.guard import network_guard

__all__ = ["unplugged"]


@contextmanager
def unplugged(*names: str) -> Iterator[None]:
    """While it lasts, no plugin of these names is installed.

    Args:
        names: Of plugins whose instrumentor of OpenTelemetry is called as the library is.
    """
    registry.load_plugins()
    loaded, scopes = registry._loaded, {f"opentelemetry.instrumentation.{name}" for name in names}
    assert loaded is not None
    taken = {name: loaded.pop(name) for name in names}
    registry._all = None
    packages = [package for plugin in taken.values() for package in getattr(plugin, "packages", ())]
    owners = {package: network_guard._owners.pop(package, None) for package in packages}
    covered = scopes & plugin_names._scopes
    plugin_names._scopes.difference_update(covered)
    try:
        yield
    finally:
        plugin_names._scopes.update(covered)
        network_guard._owners.update({package: owner for package, owner in owners.items() if owner is not None})
        loaded.update(taken)
        registry._all = None
