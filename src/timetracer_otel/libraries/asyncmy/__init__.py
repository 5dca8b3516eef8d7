"""asyncmy, used by an app itself: the statements of each connection.

The seams are those of all MySQL drivers (``libraries/kits/mysql``). In a replay a connection is asyncmy's own
object over a stand-in for its stream, and its cursors run for real. See ``docs/mysql.md``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.exceptions import PluginNotFoundError
from timetracer_otel.libraries.asyncmy.internals import RELIED_UPON
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT

__all__ = ["disable_asyncmy", "enable_asyncmy", "plugin"]

_LIB = "asyncmy"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.asyncmy.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("asyncmy",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    knows={"asyncmy": "0.2"},
)


def enable_asyncmy() -> None:
    """Let sessions record and replay what connections of asyncmy execute.

    OpenTelemetry has no instrumentation of it. Harmless when repeated.

    Raises:
        PluginNotFoundError: asyncmy is not installed.
    """
    if importlib.util.find_spec(_LIB) is None:
        raise PluginNotFoundError(_LIB)
    plugin.enable()


def disable_asyncmy() -> None:
    """Undo `enable_asyncmy`."""
    plugin.disable()
