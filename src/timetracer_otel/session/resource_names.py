"""What the resource of a tracer provider says of the service that records: its name, environment and version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from opentelemetry import trace

from timetracer_otel.base import faults
from timetracer_otel.base.attributes import first_of
from timetracer_otel.config import environment, resource_attributes

__all__ = ["REVISION_VARIABLES", "ResourceNames", "names_in"]

REVISION_VARIABLES: Final = (
    *("GIT_SHA", "GIT_COMMIT", "COMMIT_SHA", "SOURCE_VERSION", "SOURCE_COMMIT"),
    *("GITHUB_SHA", "CI_COMMIT_SHA", "CIRCLE_SHA1", "BITBUCKET_COMMIT", "BUILDKITE_COMMIT", "BUILD_SOURCEVERSION"),
    *("HEROKU_SLUG_COMMIT", "HEROKU_BUILD_COMMIT", "RENDER_GIT_COMMIT", "VERCEL_GIT_COMMIT_SHA"),
    "RAILWAY_GIT_COMMIT_SHA",
)
"""Where builders and hosts put the revision that they have checked out, in the order in which they are asked."""
_REVISION: Final = re.compile(r"[0-9a-fA-F]{7,64}")


class ResourceNames(NamedTuple):
    """Each is empty where nothing says it."""

    service: str
    env: str
    version: str
    revision: str


_NOTHING: Final = ResourceNames("", "", "", "")
_last: tuple[Any, ResourceNames] = (None, _NOTHING)
"""The resource that was asked for last, and what it says: a resource never changes."""


def names_in(resource: Any) -> ResourceNames:
    """What a resource names; where it names no version and no revision, what the environment says of these.

    Args:
        resource: None stands for that of the global tracer provider. Safe from any thread.
    """
    global _last
    try:
        if resource is None:
            resource = getattr(trace.get_tracer_provider(), "resource", None)
        known, names = _last
        if known is not resource or resource is None:
            names = _read(getattr(resource, "attributes", None) or {})
            _last = resource, names
        return names
    except Exception as error:
        # The provider may be a vendor's, with a resource of its own making.
        faults.contain("header.resource", error)
        return _NOTHING


def _read(attributes: Mapping[str, Any]) -> ResourceNames:
    service = str(attributes.get("service.name") or "")
    # The SDK makes up `unknown_service` where nobody named one
    # (https://opentelemetry.io/docs/specs/semconv/resource/#service).
    service = "" if service.startswith("unknown_service") else service
    env = first_of(attributes, "deployment.environment.name", "deployment.environment")
    stated = {**resource_attributes(), **attributes}
    # https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/
    revision = str(stated.get("vcs.ref.head.revision") or "") or _revision_of_the_build()
    return ResourceNames(service, str(env or ""), str(stated.get("service.version") or ""), revision)


@lru_cache(maxsize=1)
def _revision_of_the_build() -> str:
    found = (environment(name) or "" for name in REVISION_VARIABLES)
    return next((text for text in found if _REVISION.fullmatch(text)), "")
