"""How much the tests try that try many things: a sample in ``make test``, all of it in ``make fuzz``.

What is sampled depends on a seed. A run prints its seed at its top, and ``TEST_SEED=…`` before the command gives the
same sample again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

__all__ = ["FUZZ", "WHOLE", "examples", "sampled", "seeded"]

T = TypeVar("T")

FUZZ = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
"""Set by ``make fuzz``."""
WHOLE = FUZZ or os.environ.get("TEST_WHOLE") == "1"
"""Whether cases are run in every way that there is, and not shared: in ``make fuzz`` and ``make test-oldest``."""


def examples(count: int) -> settings:
    """Decorate a property test: so many examples, and eighty times that in ``make fuzz``.

    No deadline, since a busy machine proves nothing about the code.
    """
    return settings(max_examples=count * (80 if FUZZ else 1), deadline=None)


def sampled(items: Sequence[T], count: int) -> list[T]:
    """So many items of a sweep, the first and the last among them, in their order; all of them in ``make fuzz``."""
    if FUZZ or count >= len(items):
        return list(items)
    chosen = {0, len(items) - 1, *seeded("sampled", len(items)).sample(range(len(items)), count)}
    return [items[at] for at in sorted(chosen)]


def seeded(*what: object) -> random.Random:
    """Random numbers for one purpose, the same in each run with the same seed."""
    return random.Random(f"{os.environ.get('TEST_SEED', '')} {what}")
