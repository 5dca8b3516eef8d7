"""The settings as ``opentelemetry-instrument`` lists them: each becomes a flag (``--timetracer_mode record``)."""

from __future__ import annotations

from timetracer_otel.config import OTEL_ENV_PREFIX, SETTINGS

__all__ = sorted(OTEL_ENV_PREFIX + setting.name for setting in SETTINGS)

globals().update({name: name for name in __all__})
