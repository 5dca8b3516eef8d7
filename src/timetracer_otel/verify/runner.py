"""Sends each recorded request, and judges the answer and the calls that it led to."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote

from timetracer_otel.base.settings import VARIABLE_KINDS
from timetracer_otel.constants import REDACTED, BodyEnd
from timetracer_otel.match.answer_names import AnswerNames
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.report import Comparison, event_name
from timetracer_otel.types import Cassette
from timetracer_otel.verify.against import Against
from timetracer_otel.verify.compare import Ignored, compare, compare_job
from timetracer_otel.verify.jobs import JobFailedError, JobQueue
from timetracer_otel.verify.planning import Address, Planned, target_of
from timetracer_otel.verify.sender import Answer, NoAnswerError, send
from timetracer_otel.verify.verdicts import CallVerdict, VerdictFile

__all__ = ["Outcome", "Result", "Runner"]


class Outcome(str, Enum):
    """How one recording ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_SENT = "not sent"
    LEFT_OUT = "left out"


@dataclass(slots=True)
class Result:
    """How one recording ended, with what is to be said about it."""

    planned: Planned
    outcome: Outcome
    problems: list[str] = field(default_factory=list)
    """Why the recording failed, or was not sent."""
    notes: list[str] = field(default_factory=list)
    """Remarks that do not make it fail."""
    status: int | None = None
    """Status of the answer; None if there was no answer."""
    took_s: float = 0.0
    rules: list[str] = field(default_factory=list)
    """The ``ignore`` rules that are advised for calls that had no answer."""
    missed: bool = False
    """Whether a call of the service had no recorded answer."""
    paid: int | None = None
    """How many of its calls to providers of language models went out for real; None where it makes none."""
    calls: Comparison | None = None
    """How its calls differ from the recorded ones; None where they were not compared."""
    answer: Answer | None = None
    """The whole answer of the service; None if there was none, and for jobs."""

    @property
    def is_unexplained(self) -> bool:
        """Whether something is wrong with the service that no missed call explains."""
        answered = self.planned.is_job or (self.status or 500) < 500
        return bool(self.problems) and not self.missed and not answered and self.took_s > 0


@dataclass(frozen=True, slots=True)
class Runner:
    """Sends recorded requests to a service, and judges its answers and its calls.

    Args:
        index: The cassettes of the folder.
        address: Where the service listens.
        verdicts: What the service says about its calls.
        ignored: What is not compared.
        headers: Values of headers that replace the recorded ones, by name in lower case.
        timeout_s: How long one answer may take.
        fail_on_unused: Whether a recorded call that was not made fails its request.
        kinds: The kinds of values that may be others than the recorded ones (the setting ``variables``).
        recorded_clock: Whether the service has the clock of each request's recording (the setting ``clock``).
        against: What the calls of each request are compared with; None where they are not.
    """

    index: FolderIndex
    address: Address
    verdicts: VerdictFile
    ignored: Ignored
    headers: Mapping[str, str]
    timeout_s: float
    fail_on_unused: bool
    kinds: Collection[str] = VARIABLE_KINDS
    recorded_clock: bool = False
    against: Against | None = None

    def run(self, planned: Sequence[Planned], jobs: int, tell: Callable[[Result], None]) -> list[Result]:
        """Send all recordings and give the results, in the order that was planned.

        Args:
            planned: The recordings.
            jobs: How many requests may be under way at once.
            tell: Called with each result as soon as it is there.
        """
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="timetracer-otel-verify")
        try:
            futures = [pool.submit(self.judge, each) for each in planned]
            for future in as_completed(futures):
                tell(future.result())
            return [future.result() for future in futures]
        finally:
            # After Ctrl-C, the requests under way end when the service is stopped.
            self.verdicts.close()
            pool.shutdown(wait=False, cancel_futures=True)

    def judge(self, planned: Planned) -> Result:
        """Send the request of one recording, and judge the answer and the calls of the service."""
        if planned.left_out is not None:
            return Result(planned, Outcome.LEFT_OUT, [planned.left_out])
        entry = planned.entry
        if planned.unsendable is not None or entry is None:
            return Result(planned, Outcome.NOT_SENT, [planned.unsendable or ""])
        cassette = self.index.read(entry)
        result = Result(planned, Outcome.PASSED)
        verdict: CallVerdict | None
        began_s = time.monotonic()
        try:
            answer = send(self.address, cassette.request, planned.cassette, self.headers, self.timeout_s)
        except NoAnswerError as error:
            result.took_s = time.monotonic() - began_s
            broke_off = cassette.response.body is not None and cassette.response.body.end is not BodyEnd.COMPLETE
            # An answer that broke off when it was recorded may do so again, and that is no difference.
            (result.notes if broke_off else result.problems).append(f"no answer: {error}")
            verdict = self.verdicts.wait_for(entry.path, 0.0) or CallVerdict(ended=True)
        else:
            result.status, result.took_s, result.answer = answer.status, answer.took_s, answer
            # The verdict first: by what the calls have bound, the answers are compared.
            verdict = self.verdicts.wait_for(entry.path, self.timeout_s)
            names = self._names(cassette, verdict, began_s)
            differences, notes = compare(cassette, answer, self.ignored, names)
            result.problems += differences
            result.notes += notes
        self._add_calls(result, cassette, verdict)
        if result.problems:
            result.outcome = Outcome.FAILED
            result.notes += self._redacted(cassette)
        return result

    def judge_job(self, planned: Planned, queue: JobQueue) -> Result:
        """Give a worker the job of one recording, and judge what it returned, and its calls."""
        entry = planned.entry
        if entry is None or not planned.is_job:
            return Result(planned, Outcome.LEFT_OUT, [planned.left_out or "not a job"])
        cassette = self.index.read(entry)
        result = Result(planned, Outcome.PASSED)
        began_s = time.monotonic()
        try:
            answer = queue.run(cassette, self.timeout_s)
        except JobFailedError as error:
            result.problems.append(str(error))
            verdict = self.verdicts.wait_for(entry.path, 0.0) or CallVerdict(ended=True)
        else:
            verdict = self.verdicts.wait_for(entry.path, self.timeout_s) or CallVerdict()
            result.problems += compare_job(cassette, answer, self.ignored, self._names(cassette, verdict, began_s))
        result.took_s = time.monotonic() - began_s
        self._add_calls(result, cassette, verdict)
        if result.problems:
            result.outcome = Outcome.FAILED
            result.notes += self._redacted(cassette)
        return result

    def _names(self, cassette: Cassette, verdict: CallVerdict | None, began_s: float) -> AnswerNames:
        bindings = verdict.bindings if verdict is not None else ()
        return AnswerNames(cassette, bindings, self.kinds, time.monotonic() - began_s, self.recorded_clock)

    def _add_calls(self, result: Result, cassette: Cassette, verdict: CallVerdict | None) -> None:
        if verdict is None:
            result.problems.append(
                "the service did not say that it answered this request from the recording: does CMD run a framework "
                "whose requests are recorded (docs/verify.md)?"
            )
            return
        if self.against is not None:
            result.calls, problems = self.against.compare(cassette, verdict.made)
            result.problems += problems
        result.missed = bool(verdict.misses)
        result.paid = verdict.paid
        result.rules += verdict.rules
        if not verdict.ended and result.status is not None:
            result.notes.append(f"the service is not done with it {self.timeout_s:g} s after its answer")
        result.problems += [f"missed: {text}" for text in verdict.misses]
        names = {event.eid: event_name(event) for event in cassette.events}
        unused = [f"not called: #{eid} {names.get(eid, '')}".rstrip() for eid in verdict.unused]
        (result.problems if self.fail_on_unused else result.notes).extend(unused)

    def _redacted(self, cassette: Cassette) -> list[str]:
        """Notes on redacted parts of the request. The service did not get their real values, and may fail for it."""
        request, body = cassette.request, cassette.request.body
        notes = []
        for texts, what in (([REDACTED], REDACTED), (cassette.pseudonyms, "a pseudonym")):
            names = [
                name
                for name, value in request.headers.items()
                if name not in self.headers and any(text in value for text in texts)
            ]
            notes += [f"sent as {what}: header {name} (give it with --header)" for name in names]
            target = unquote(target_of(request))
            if any(text in target for text in texts):
                notes.append(f"sent as {what}: part of the URL")
            data = body.data if body is not None and isinstance(body.data, bytes) else b""
            if any(text.encode("utf-8", "surrogateescape") in data for text in texts):
                notes.append(f"sent as {what}: part of the body")
        return notes
