"""The answer of an app of this process, beside the recorded one."""

from __future__ import annotations

from timetracer_otel.base.settings import variable_kinds
from timetracer_otel.config import TraceConfig
from timetracer_otel.match.answer_names import AnswerNames
from timetracer_otel.redact.shown import without_known_forms
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Cassette
from timetracer_otel.verification.app_calls import Called
from timetracer_otel.verify.compare import Ignored, compare
from timetracer_otel.verify.sender import Answer

__all__ = ["compared"]


def compared(
    cassette: Cassette, called: Called, answer: Answer, session: ReplaySession, ignored: Ignored, took_s: float
) -> tuple[list[str], list[str]]:
    """How an answer differs from the recorded one, and remarks, both in lines.

    Args:
        cassette: The recording.
        called: What came of its request.
        answer: The answer of that.
        session: The replay in which it was given.
        ignored: What is not compared.
        took_s: How long the replay took, in seconds.
    """
    config = session.config or TraceConfig.from_env()
    kinds = variable_kinds(config.variables)
    names = AnswerNames(cassette, session.verdict().bindings, kinds, took_s, config.clock == "recorded")
    lines, notes = compare(cassette, answer, ignored, names)
    return [*lines, *_error_difference(cassette, called.error, answer.status)], notes


def _error_difference(cassette: Cassette, error: BaseException | None, status: int) -> list[str]:
    """A line where the request failed by an exception of another class than the recorded one."""
    recorded = (cassette.error_info or {}).get("type", "").rpartition(".")[2]
    now = type(error).__name__ if error is not None else ""
    if recorded == now or (not recorded and status == cassette.response.status):
        # A framework makes an answer of some exceptions that are no failure: "404 Not Found".
        return []
    text = without_known_forms(f" ({error})", cassette.pseudonyms) if now else ""
    return [f"exception: recorded {recorded or 'none'}, now {now or 'none'}{text}"]
