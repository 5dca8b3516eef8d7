"""How many examples a property test tries: what it says, and twenty times that under ``HYPOTHESIS_PROFILE=fuzz``."""

from __future__ import annotations

import os

from hypothesis import settings

__all__ = ["examples"]

_FACTOR = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 1


def examples(count: int) -> settings:
    """Decorate a property test; no deadline, since a busy machine proves nothing about the code."""
    return settings(max_examples=count * _FACTOR, deadline=None)
