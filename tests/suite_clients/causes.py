"""What is known of tests that a replay loses: for each driver, by cause, parts of their names."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CAUSES"]

CAUSES: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
