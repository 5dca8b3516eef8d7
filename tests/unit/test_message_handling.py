"""The session of a message that a loop of the app has: where a fault of ours keeps it away, calls are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel import record
from timetracer_otel.base import faults
from timetracer_otel.context import get_current_session
from timetracer_otel.incoming import receiver as receivers
from timetracer_otel.incoming.job_scope import IncomingJob, JobScope
from timetracer_otel.incoming.messages import Handling, IncomingMessage
from timetracer_otel.session import BaseSession

_MESSAGE = IncomingMessage("aiokafka", "orders", body=b"1")


class _Receiver(receivers._Nobody):
    """Of a process that replays a folder, or records.

    Args:
        refuses: The session for code whose own could not begin.
        own: The session of a message; None where a fault of ours strikes.
    """

    takes_requests = True

    def __init__(self, refuses: BaseSession | None, own: BaseSession | None) -> None:
        self._refuses, self._own = refuses, own

    def job_began(self, job: IncomingJob) -> JobScope | None:
        if self._own is None:
            raise RuntimeError("broken")
        return JobScope(job, self._own)

    def refusing(self) -> BaseSession | None:
        return self._refuses


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseSession]]:
    """Two sessions, neither of which is current."""
    monkeypatch.setattr(faults, "raise_faults", False)
    with record(tmp_path / "own.msgpack") as own:
        pass
    with record(tmp_path / "refuses.msgpack") as refuses:
        pass
    before = receivers.receiver()
    yield [own, refuses]
    receivers.set_receiver(before)


def _seen(message_of: Callable[[], Any] = lambda: _MESSAGE) -> list[BaseSession | None]:
    """The session before a message, while the loop has it, and behind it."""

    def loop() -> list[BaseSession | None]:
        handling, seen = Handling(), [get_current_session()]
        handling.given(message_of)
        seen.append(get_current_session())
        handling.done()
        seen.append(get_current_session())
        handling.done()
        return [*seen, get_current_session()]

    return copy_context().run(loop)


def test_a_message_has_its_session_until_the_loop_is_done_with_it(sessions: list[BaseSession]) -> None:
    own, refuses = sessions
    receivers.set_receiver(_Receiver(refuses, own))
    assert _seen() == [None, own, None, None]
    assert _seen(lambda: None) == [None] * 4


@pytest.mark.parametrize("strikes", ["in the receiver", "in the message"])
def test_a_fault_of_ours_refuses_the_calls_of_a_message(sessions: list[BaseSession], strikes: str) -> None:
    own, refuses = sessions

    def broken() -> Any:
        raise RuntimeError("broken")

    given = {"message_of": broken} if strikes == "in the message" else {}
    receivers.set_receiver(_Receiver(refuses, own if given else None))
    assert _seen(**given) == [None, refuses, None, None]
    # A recording leaves it in the session that is current anyway.
    receivers.set_receiver(_Receiver(None, own if given else None))
    assert _seen(**given) == [None] * 4
