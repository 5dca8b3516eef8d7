"""Texts for our own log, without the secrets that they quote."""

from __future__ import annotations

from timetracer_otel.base import faults
from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.forms import error_text
from timetracer_otel.redact.secret_forms import assigned_secrets, well_known_secrets
from timetracer_otel.redact.secret_names import SECRET_FIELDS
from timetracer_otel.redact.splice import Edit, apart, apply_edits

__all__ = ["install", "without_secrets"]


def without_secrets(text: str) -> str:
    """A text without what its form or the name before it calls a secret, whatever the settings of a session say."""
    data = error_text(text).encode("utf-8", "surrogatepass")
    places = apart([*well_known_secrets(data), *assigned_secrets(data, SECRET_FIELDS)])
    return apply_edits(data, [Edit(start, stop, REDACTED.encode()) for start, stop in places]).decode(
        "utf-8", "surrogatepass"
    )


def install() -> None:
    """Let our own log have no secrets in its tracebacks."""
    faults.without_secrets = without_secrets
