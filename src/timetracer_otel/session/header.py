"""What a cassette's header says of the program that recorded it, and of the rules it recorded by."""

from __future__ import annotations

from datetime import datetime
from importlib import metadata

from timetracer_otel.config import TraceConfig
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import AppliedPolicies, SessionMeta

__all__ = ["meta", "policies", "version", "versions"]

_DISTRIBUTIONS = (
    *("opentelemetry-api", "opentelemetry-sdk", "httpx", "requests", "aiohttp", "SQLAlchemy", "redis"),
    *("fastapi", "starlette", "Flask", "Django"),
)
_known: dict[str, str | None] = {}


def version(distribution: str) -> str | None:
    """The installed version of a distribution; None where it is not installed. Looked up once."""
    if distribution not in _known:
        try:
            _known[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            _known[distribution] = None
    return _known[distribution]


def versions() -> dict[str, str]:
    """The versions of what may have had a part in a recording."""
    return {name: found for name in _DISTRIBUTIONS if (found := version(name))}


def meta(
    config: TraceConfig, session_id: str, recorded_at: datetime, framework: str, trace_id: str | None
) -> SessionMeta:
    """Who recorded, when and with what."""
    return SessionMeta(
        id=session_id,
        recorded_at=recorded_at.isoformat(),
        service=config.service_name,
        env=config.env,
        framework=framework,
        timetracer_version=version("timetracer-otel") or "",
        python_version=config.get_python_version(),
        trace_id=trace_id,
        versions=versions(),
    )


def policies(config: TraceConfig, redactor: Redactor) -> AppliedPolicies:
    """The settings that decide what stands in the cassette."""
    return AppliedPolicies(
        redaction_mode=config.redact,
        redaction_rules=redactor.rules,
        max_body_kb=config.max_body_kb,
        store_request_body=config.store_request_body.value,
        store_response_body=config.store_response_body.value,
        sample_rate=config.sample_rate,
        errors_only=config.errors_only,
    )
