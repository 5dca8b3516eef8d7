"""A session keeps what each library remembers of it, and nothing of it outlives the session."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from tests.sample_cassettes import cassette
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession


class _State:
    """What some library remembers."""


def _sessions() -> list[BaseSession]:
    return [TraceSession(), ReplaySession(cassette([]), "x.msgpack")]


@pytest.mark.parametrize("session", _sessions(), ids=["record", "replay"])
def test_a_library_finds_its_own_state_again(session: BaseSession) -> None:
    state = session.state("ours", _State)
    assert session.state("ours", _State) is state
    assert session.state("theirs", _State) is not state


@pytest.mark.parametrize("session", _sessions(), ids=["record", "replay"])
def test_a_session_has_as_few_attributes_as_cpython_reads_quickly(session: BaseSession) -> None:
    assert len(vars(session)) <= 30, "move those that every call reads into __slots__"


def test_two_sessions_have_two_states() -> None:
    first, second = TraceSession(), TraceSession()
    assert first.state("ours", _State) is not second.state("ours", _State)


def test_threads_that_ask_at_once_get_the_same_state() -> None:
    together = threading.Barrier(8)
    for _ in range(50):
        session, found = TraceSession(), list[_State]()

        def ask(session: BaseSession = session, found: list[_State] = found) -> None:
            together.wait()
            found.append(session.state("ours", _State))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(map(id, found))) == 1


def test_a_state_goes_with_its_session() -> None:
    session = TraceSession()
    state = weakref.ref(session.state("ours", _State))
    assert state() is not None
    del session
    gc.collect()
    assert state() is None
