"""Django's ORM, above the drivers that it uses: what Django asks by itself, and what only a real database can do.

The plugins of the drivers record and answer Django's statements. This one says which of them set a connection up, and
keeps a replay from what changes a database past the recorded calls. See ``docs/django.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.django_orm.internals import RELIED_UPON

__all__ = ["disable_django_orm", "enable_django_orm", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.django_orm.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name="django_orm",
    group="db",
    modules=tuple(RELIED_UPON),
    patches=_patches,
    check=lambda module: missing_names(RELIED_UPON[module.__name__]),
    knows={"django": "4.2 to 6.1"},
)


def enable_django_orm() -> None:
    """Let sessions know which statements Django runs by itself when it sets a connection up.

    The statements are recorded by the plugins of the drivers, such as `enable_psycopg`. Harmless when repeated.

    Raises:
        PluginNotFoundError: Django is not installed.
    """
    plugin.enable()


def disable_django_orm() -> None:
    """Undo `enable_django_orm`."""
    plugin.disable()
