"""How much the tests try that try many things: a sample in ``make test``, all of it in ``make fuzz``.

What is sampled depends on a seed. A run prints its seed at its top, and ``TEST_SEED=…`` before the command gives the
same sample again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hypothesis import HealthCheck, settings

__all__ = ["FUZZ", "WHOLE", "drawn", "examples", "sampled", "seeded", "shared"]

T = TypeVar("T")
H = TypeVar("H")

FUZZ = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
"""Set by ``make fuzz``."""
WHOLE = FUZZ or os.environ.get("TEST_WHOLE") == "1"
"""Whether cases are run in every way that there is, and not shared: in ``make test-whole`` and ``make fuzz``."""


def examples(count: int, *suppressed: HealthCheck) -> settings:
    """Decorate a property test: so many examples, and two hundred times that in ``make fuzz``.

    No deadline, since a busy machine proves nothing about the code.

    Args:
        count: How many.
        suppressed: What Hypothesis warns of and what this test does on purpose.
    """
    # Programs that tests start import this module too, and to import hypothesis takes longer than many of them run.
    from hypothesis import settings

    return settings(max_examples=count * (200 if FUZZ else 1), deadline=None, suppress_health_check=suppressed)


def sampled(items: Sequence[T], count: int) -> list[T]:
    """So many items of a sweep, the first and the last among them, in their order; all of them in ``make fuzz``."""
    if FUZZ or count >= len(items):
        return list(items)
    chosen = {0, len(items) - 1, *seeded("sampled", len(items)).sample(range(len(items)), count)}
    return [items[at] for at in sorted(chosen)]


def drawn(kinds: Iterable[Sequence[T]], *what: object) -> list[T]:
    """One of each kind for one purpose, which the seed draws; all where cases are run in every way."""
    found: list[T] = []
    for number, kind in enumerate(kinds):
        found += kind if WHOLE else [seeded("drawn", *what, number).choice(kind)]
    return found


def shared(name: str, cases: Mapping[H, Collection[str]]) -> dict[H, set[str]]:
    """What each of several runs when they share their cases: each case is run by one that has it, drawn by the seed.

    Args:
        name: Says what they differ in; another name draws other shares.
        cases: The names of the cases that each has.
    """
    names = sorted(set().union(*cases.values()))
    seeded("shared", name).shuffle(names)
    found: dict[H, set[str]] = {holder: set() for holder in cases}
    for number, one in enumerate(names):
        having = [holder for holder, its in cases.items() if one in its]
        found[having[number % len(having)]].add(one)
    return found


def seeded(*what: object) -> random.Random:
    """Random numbers for one purpose, the same in each run with the same seed."""
    return random.Random(f"{os.environ.get('TEST_SEED', '')} {what}")
