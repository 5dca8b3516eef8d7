"""What a cassette's header says of the program that recorded it, and of the rules it recorded by."""

from __future__ import annotations

import sys
from datetime import datetime
from importlib import metadata
from typing import Any

from timetracer_otel.base.lineage import lineage
from timetracer_otel.config import TraceConfig, Unstated, hash_seed
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.resource_names import names_in
from timetracer_otel.types import AppliedPolicies, SessionMeta

__all__ = ["meta", "note_distributions", "policies"]

_OWN = "timetracer-otel"
_noted: dict[str, None] = {"opentelemetry-api": None, "opentelemetry-sdk": None}
"""Names of the distributions whose versions stand in the header."""
_known: dict[str, tuple[str, str] | None] = {}
"""By the name that was asked for: a distribution's own name and its version; None where it is not installed."""
_listed: tuple[int, dict[str, str]] = 0, {}
"""How many names were noted when the versions were last listed, and the versions."""


def note_distributions(*names: str) -> None:
    """Let headers that are made from now on say the versions of these distributions, where they are installed.

    A plugin says the names of its library's packages, and the part for incoming requests those of the frameworks.
    Names that belong to no distribution are ignored.
    """
    _noted.update(dict.fromkeys(names))


def meta(
    config: TraceConfig,
    session_id: str,
    recorded_at: datetime,
    framework: str,
    trace_id: str | None,
    random_state: Any = None,
    resource: Any = None,
) -> SessionMeta:
    """Who recorded, when and with what. Version and revision of the service are those of the resource.

    Service and environment are those of the settings; where these state none, those of the resource, which is that of
    the global tracer provider if none is given.
    """
    own = _found(_OWN)
    service, env = config.service_name, config.env
    named = names_in(resource)
    service = (isinstance(service, Unstated) and named.service) or str(service)
    env = (isinstance(env, Unstated) and named.env) or str(env)
    return SessionMeta(
        id=session_id,
        recorded_at=recorded_at.isoformat(),
        service=service,
        env=env,
        framework=framework,
        timetracer_version=own[1] if own is not None else "",
        python_version=config.get_python_version(),
        service_version=named.version or None,
        git_sha=named.revision or None,
        trace_id=trace_id,
        versions=_versions(),
        process=list(lineage()),
        hash_seed=hash_seed(),
        hash_randomization=bool(sys.flags.hash_randomization),
        random_state=random_state,
    )


def policies(config: TraceConfig, redactor: Redactor, kept_as: str = "") -> AppliedPolicies:
    """The settings that decide what stands in the cassette."""
    return AppliedPolicies(
        redaction_mode=config.redact,
        redaction_rules=redactor.rules,
        max_body_kb=config.max_body_kb,
        store_request_body=config.store_request_body.value,
        store_response_body=config.store_response_body.value,
        sample_rate=config.sample_rate,
        errors_only=config.errors_only,
        policy=config.policy,
        budget=config.budget,
        kept_as=kept_as,
        pseudonymised=redactor.renames and redactor.active,
    )


def _versions() -> dict[str, str]:
    """The versions of what may have had a part in a recording, by the distribution's own name, in order of name."""
    global _listed
    number, versions = _listed
    # No name is ever taken away, so that their number tells whether one was added.
    if number != len(_noted):
        noted = list(_noted)
        versions = dict(sorted(found for name in noted if (found := _found(name)) is not None))
        _listed = len(noted), versions
    return versions.copy()


def _found(name: str) -> tuple[str, str] | None:
    """A distribution's own name (``Flask`` for ``flask``) and version. Looked up once: it reads files."""
    if name not in _known:
        try:
            # A name that is empty, or metadata without a name or version, raise other errors than "not found".
            distribution = metadata.distribution(name)
            _known[name] = (str(distribution.name), str(distribution.version))
        except (metadata.PackageNotFoundError, ValueError, KeyError):
            _known[name] = None
    return _known[name]
