"""`AnswerNames`: whether an answer of the app is the recorded one, but for values that are made anew in each run.

Such values are those that the calls of this run have bound, and those that stand in the answer alone: the app made
them for it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any

from timetracer_otel.match.values import TIME, Value, values_in
from timetracer_otel.match.variables import SLACK_S, Pair, Variables, run_of, variables_of
from timetracer_otel.types import Binding, Cassette

__all__ = ["AnswerNames"]


class AnswerNames:
    """The names of one answer. Not safe from several threads.

    Args:
        cassette: The recording of the request.
        bindings: Those of the calls of this run.
        kinds: The kinds of values that may be bound.
        took_s: How long this run took, at most.
        recorded_clock: Whether the app had the clock of the recording.
    """

    def __init__(
        self,
        cassette: Cassette,
        bindings: Iterable[Binding],
        kinds: Collection[str],
        took_s: float,
        recorded_clock: bool = False,
    ) -> None:
        self._variables: Variables | None = None
        self._cassette = cassette
        self._kinds = frozenset(kinds)
        self._took_s = took_s
        self._recorded_clock = recorded_clock
        self._given = tuple(bindings)
        self._present: dict[str, str] = {}
        self._recorded: dict[str, str] = {}

    def agree(self, recorded: str, present: str) -> bool:
        """Whether a text of the recorded answer is one of this answer but for variables. What it binds is kept."""
        if recorded == present:
            return True
        if not self._kinds:
            return False
        variables = self._known()
        found = variables.renames(recorded, present, self._kind_of)
        if found is None or not self._may_bind(found):
            return False
        for pair in found:
            if pair.kind != TIME:
                self._present[pair.recorded] = pair.present
                self._recorded[pair.present] = pair.recorded
        return True

    def aligned(self, recorded: Any, present: Any) -> Any:
        """The recorded value with present texts and numbers in the places where the two agree."""
        if isinstance(recorded, dict) and isinstance(present, dict):
            return {
                key: self.aligned(item, present[key]) if key in present else item for key, item in recorded.items()
            }
        if isinstance(recorded, list) and isinstance(present, list) and len(recorded) == len(present):
            return [self.aligned(*pair) for pair in zip(recorded, present, strict=True)]
        if type(recorded) is type(present) and type(recorded) in (str, int, float):
            return present if self.agree(str(recorded), str(present)) else recorded
        return recorded

    def _known(self) -> Variables:
        if self._variables is None:
            self._variables = variables = variables_of(self._cassette)
            for each in self._given:
                texts = (each.recorded, each.present)
                before, now = ([value.value for value in values_in(variables.parsed(text))] for text in texts)
                if each.kind != TIME and len(before) == len(now) == 1:
                    self._present[before[0]] = now[0]
                    self._recorded[now[0]] = before[0]
        return self._variables

    def _kind_of(self, value: Value) -> str | None:
        variables = self._known()
        kind = variables.kind_of(value) or (
            None if value.value in variables.known else variables.kind_in_answer(value)
        )
        return kind if kind in self._kinds else None

    def _may_bind(self, pairs: Iterable[Pair]) -> bool:
        """Whether pairs are one to one, and their times lie within the run."""
        now_s = run_of(self._cassette)[0] + SLACK_S + self._took_s if self._recorded_clock else time.time()
        began_s = now_s - self._took_s
        present, recorded = dict(self._present), dict(self._recorded)
        for pair in pairs:
            if pair.kind == TIME:
                if pair.recorded != pair.present and self._known().misfit_s(pair, began_s, now_s) is None:
                    return False
            elif (
                present.setdefault(pair.recorded, pair.present) != pair.present
                or recorded.setdefault(pair.present, pair.recorded) != pair.recorded
            ) or (pair.recorded != pair.present and pair.present in self._known().known):
                return False
        return True
