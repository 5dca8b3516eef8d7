"""The plugins that ``auto_setup`` enables, by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timetracer_otel import plugins as public_plugins
from timetracer_otel.base.plugin_names import unknown_names
from timetracer_otel.exceptions import ConfigurationError

__all__ = ["enable"]

_PREFIX = "enable_"


def enable(plugins: Sequence[str]) -> None:
    """Enable plugins by their names.

    Raises:
        ConfigurationError: There is no plugin of such a name; the text names the nearest one.
        PluginNotFoundError: Its library is not installed.
    """
    for name in plugins:
        switch: Callable[[], object] | None = getattr(public_plugins, _PREFIX + name, None)
        if switch is None:
            raise ConfigurationError(_unknown(name))
        switch()


def _unknown(name: str) -> str:
    known = sorted(each.removeprefix(_PREFIX) for each in public_plugins.__all__ if each.startswith(_PREFIX))
    ((_, nearest),) = unknown_names([name], known)
    meant = f"; did you mean {nearest!r}?" if nearest else "."
    return f"plugins: nobody knows {name!r}{meant} Known: {', '.join(known)}."
