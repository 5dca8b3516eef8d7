"""`Planter`: hands out secrets for places, and notes which it gave."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.planted.secrets import FORMS, Planted, odd, plain
from timetracer_otel import TimetracerError

__all__ = ["Planter", "Reveal", "refusals_told"]

Reveal = Callable[[list[str]], object]
"""Makes a call in which these texts stand under a secret name."""

_AT_ONCE = 40


@contextmanager
def refusals_told() -> Iterator[None]:
    """Go on after an error, which is a part of what is recorded. What a replay refuses is printed."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, TimetracerError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            print(cause)


class Planter:
    """The secrets of one program. For one thread at a time.

    Args:
        first: The number of the first secret: runs with other numbers have other secrets.
    """

    def __init__(self, first: int = 0) -> None:
        self._numbers = itertools.count(first)
        self._begin_cycles(0)
        self._thorough = False
        self.planted: list[Planted] = []
        self._scene = ""
        self._reveal: Reveal | None = None
        self._ready: list[tuple[int, str]] = []
        self._later: list[str] = []

    def scene(self, name: str, reveal: Reveal, *, thorough: bool = False) -> None:
        """Begin a recording: what is planted from here on is in it.

        Args:
            name: What is told of its places.
            reveal: Makes a call that tells secrets.
            thorough: Whether each place gets a text of each kind, or of one.
        """
        self._scene, self._reveal, self._ready, self._later = name, reveal, [], []
        self._thorough = thorough
        # A scene has the same texts, but for their numbers, whichever others are played; another one has others.
        self._begin_cycles(zlib.crc32(name.encode()))

    def _begin_cycles(self, at: int) -> None:
        kinds = list(FORMS)
        self._kinds = itertools.cycle([*kinds[at % len(kinds) :], *kinds[: at % len(kinds)]])
        self._plain = itertools.cycle([plain, odd])
        self._turns = itertools.count(at)

    def end_scene(self) -> None:
        """Reveal the secrets that are to be found after they stood elsewhere."""
        if self._later and self._reveal is not None:
            self._reveal(self._later)
        self._reveal = None

    def named(self, place: str, make: Callable[[int], str] | None = None) -> str:
        """A secret of no known form, for a place whose name tells that it is one."""
        number = next(self._numbers)
        return self._note(number, place, "its name", (make or next(self._plain))(number))

    def answered(self, place: str) -> str:
        """A secret of no known form in a call, which only the name of its place in the answer tells."""
        number = next(self._numbers)
        return self._note(number, place, "a name in the answer", next(self._plain)(number))

    def form(self, place: str, kind: str | None = None, *, lines: bool = True, longest: int | None = None) -> str:
        """A text that holds a secret of a well-known form, maybe of several lines, or of so many characters."""
        number = next(self._numbers)
        kind = kind or next(
            kind
            for kind in self._kinds
            if (lines or kind != "pem") and (longest is None or len(FORMS[kind](number)) <= longest)
        )
        return self._note(number, place, f"its form ({kind})", FORMS[kind](number))

    def known(self, place: str, make: Callable[[int], str] = plain) -> str:
        """A secret of no known form that an earlier call had under a secret name."""
        if make is not plain:
            number = next(self._numbers)
            text = self._note(number, place, "an earlier call", make(number))
            assert self._reveal is not None
            self._reveal([text])
            return text
        if not self._ready:
            self._ready = [(number, plain(number)) for number in itertools.islice(self._numbers, _AT_ONCE)]
            assert self._reveal is not None
            self._reveal([text for _, text in self._ready])
        number, text = self._ready.pop()
        return self._note(number, place, "an earlier call", text)

    def later(self, place: str, make: Callable[[int], str] = plain) -> str:
        """A secret of no known form that a later call has under a secret name."""
        number = next(self._numbers)
        self._later.append(make(number))
        return self._note(number, place, "a later call", make(number))

    def anywhere(
        self,
        place: str,
        *,
        escapes: bool = True,
        lines: bool = True,
        backwards: bool = True,
        longest: int | None = None,
    ) -> Iterator[str]:
        """Texts for a place that no name tells of.

        Args:
            place: Its name.
            escapes: Whether it takes any character.
            lines: Whether it takes the ends of lines.
            backwards: Whether a call that comes later may tell.
            longest: How many characters it takes, where it does not take all.
        """
        ways: list[Callable[[], str]] = [
            lambda: self.form(place, lines=lines, longest=longest),
            lambda: self.known(place),
        ]
        if escapes:
            ways.append(lambda: self.known(place, odd))
        if backwards:
            ways.append(lambda: self.later(place, odd if escapes else plain))
        if not self._thorough:
            ways = [ways[next(self._turns) % len(ways)]]
        for way in ways:
            yield way()

    def save(self, path: Path) -> None:
        """Write what was planted, for the test."""
        path.write_text(json.dumps(self.planted), encoding="utf-8")

    def _note(self, number: int, place: str, why: str, text: str) -> str:
        self.planted.append(Planted(number, f"{self._scene}: {place}", why, text))
        return text
