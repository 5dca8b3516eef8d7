"""A second scanner, which knows nothing of our rules: Kingfisher, by its package for Python. It scans offline."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import NamedTuple

from timetracer_otel.audit.leaves import Leaf

__all__ = ["INSTALL", "Hit", "SecondScanner", "second_scanner"]

INSTALL = 'pip install "timetracer-otel[audit]"'
_DISTRIBUTION = "kingfisher-secret-scanner"
_MOST_BYTES = 4 << 20
"""What is scanned at once."""


class Hit(NamedTuple):
    """What the scanner takes for a secret."""

    leaf: int
    """The position of the leaf that it stands in."""
    rule: str
    secret: str


class SecondScanner:
    """Kingfisher with its own rules, from medium confidence on. Its checks over the network are never used.

    The rules are compiled when it is made. It keeps them in a cache of the user's, and loads them from there the next
    time.
    """

    def __init__(self) -> None:
        from kingfisher_sdk import Scanner

        self._scanner = Scanner()
        self.name: str = f"kingfisher {version(_DISTRIBUTION)}"

    def scan(self, leaves: Sequence[Leaf]) -> Iterator[Hit]:
        """Give what looks like a secret, in no order."""
        pieces: list[bytes] = []
        starts: list[int] = []
        size = first = 0
        for number, leaf in enumerate(leaves):
            # Some rules know a secret by the name before it.
            piece = f'{leaf.name} = "{leaf.text}"\n'.encode("utf-8", "surrogateescape")
            if pieces and size + len(piece) > _MOST_BYTES:
                yield from self._hits(b"".join(pieces), starts, first)
                pieces, starts, size, first = [], [], 0, number
            pieces.append(piece)
            starts.append(size)
            size += len(piece)
        yield from self._hits(b"".join(pieces), starts, first)

    def _hits(self, data: bytes, starts: Sequence[int], first: int) -> Iterator[Hit]:
        for found in self._scanner.scan(data):
            # An invisible finding is a part of another one.
            if found.visible:
                place = bisect_right(starts, found.location["start_offset"]) - 1
                yield Hit(first + place, found.rule_id, found.secret)


def second_scanner() -> SecondScanner | None:
    """The second scanner; None where its package is not installed."""
    try:
        return SecondScanner()
    except ImportError:
        return None
