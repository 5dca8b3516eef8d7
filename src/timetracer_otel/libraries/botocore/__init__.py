"""botocore and aiobotocore (boto3 stands on botocore): what of a call to AWS is needed for AWS alone.

The plugins of urllib3, aiohttp and httpx record and answer the requests. This one lets a replay sign them without any
credentials: nobody is asked for credentials then, and no signature is compared. See ``docs/botocore.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.botocore.private_names import RELIED_UPON

__all__ = ["disable_botocore", "enable_botocore", "plugin"]

_LIB = "botocore"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.botocore.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=tuple(RELIED_UPON),
    patches=_patches,
    check=lambda module: missing_names(RELIED_UPON[module.__name__]),
    packages=("botocore", "aiobotocore"),
    knows={"botocore": "1.35 to 1.43", "aiobotocore": "2.15 to 3.10"},
    instrumentors=("opentelemetry.instrumentation.botocore:BotocoreInstrumentor",),
    stands_on=("urllib3",),
    rests=True,
)


def enable_botocore() -> None:
    """Let sessions record and replay what botocore asks for, and let replays do without credentials.

    It switches the plugin of urllib3 on as well, which botocore stands on. Where a real tracer provider is set and
    nobody switched OpenTelemetry's own instrumentations of botocore and urllib3 on, those are switched on too.
    aiobotocore stands on aiohttp or httpx: enable their plugins besides. Harmless when repeated.

    Raises:
        PluginNotFoundError: botocore is not installed.
    """
    plugin.enable()


def disable_botocore() -> None:
    """Undo `enable_botocore`, and switch off OpenTelemetry's instrumentations if that switched them on."""
    plugin.disable()
