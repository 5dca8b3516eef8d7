"""What a library above asks servers in order to get credentials. A replay signs without any, and asks for none."""

from __future__ import annotations

from typing import Final

from timetracer_otel.calls.nesting import CallAbove

__all__ = ["asking_for_credentials"]

asking_for_credentials: Final[CallAbove[bool]] = CallAbove("credentials")
"""Whether a library asks for credentials now. The calls beneath do not count as unused in a replay."""
