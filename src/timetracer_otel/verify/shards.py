"""Shares of a folder of recordings, for machines that verify it together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from timetracer_otel.verify.planning import Planned

__all__ = ["Shard"]

_FORM = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares, which together are the whole and have nothing in common.

    A recording is in the same share on every machine, wherever the folder stands, however its files are named and
    whatever else is in it: a hash of the session's id says which one.
    """

    number: int
    """From 1."""
    of: int

    @classmethod
    def of_text(cls, text: str) -> Shard:
        """The shard that a text names: ``3/10``.

        Raises:
            ValueError: It names none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(text)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, session_id: str) -> bool:
        """Whether the recording of a session is in this shard."""
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def among(self, planned: Sequence[Planned]) -> list[Planned]:
        """Those that are in this shard, in their order."""
        return [each for each in planned if self.has(each.session_id)]
