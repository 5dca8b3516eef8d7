"""The thread that writes dies: another one goes on with what waited; what the dead one had in its hands counts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, plain
from timetracer_otel.process.sigterm import LIMIT_S

SERVICE = """
import ctypes, os, signal, threading, time
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from timetracer_otel import counters
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.otel import TimetracerInstrumentor
from timetracer_otel.process import journal, recordings, writer
from timetracer_otel.session import TraceSession
trace.set_tracer_provider(TracerProvider())
TimetracerInstrumentor().instrument()

def job(number):
    with trace.get_tracer("my.app").start_as_current_span(f"job {{number}}", kind=trace.SpanKind.CONSUMER):
        assert httpx.get(f"{base}/users/{{number}}").json()["id"] == number

def told():
    flushed = trace.get_tracer_provider().force_flush()
    now = counters()
    return flushed, now.cassettes_written, now.lost, dict(now.cassettes_dropped), dict(now.faults), now.sessions_open

def once(owner, name, error, done=False):
    # The next call raises, and no other: before it has done anything, or behind all that it does.
    original = getattr(owner, name)
    def raising(*args, **kwargs):
        setattr(owner, name, original)
        if done:
            original(*args, **kwargs)
        raise error
    setattr(owner, name, raising)
"""
HELD = {"the thread that writes died": 1}
DIED = {"writer.thread": 1}


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _run(upstream: Loopback, folder: Path, code: str) -> tuple[str, str]:
    done = plain(SERVICE.format(base=upstream.url) + code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def _whole(folder: Path) -> list[str]:
    """The jobs with a whole cassette. A job that took long had a part, which became a cassette where it was lost."""
    return sorted(cassette.request.path for cassette in cassettes(folder) if cassette.complete)


@pytest.mark.parametrize(
    ("error", "lost", "faults"),
    [
        ("SystemExit()", HELD, DIED),
        ("KeyboardInterrupt()", HELD, DIED),
        # An `Exception`, which does not reach the end of the thread.
        ("MemoryError()", {"a fault of the recorder": 1}, {"writer": 1}),
    ],
)
def test_a_thread_that_dies_with_a_recording_in_its_hands_is_replaced_and_the_recording_counted(
    upstream: Loopback, tmp_path: Path, error: str, lost: dict[str, int], faults: dict[str, int]
) -> None:
    printed, said = _run(
        upstream,
        tmp_path,
        f"""
job(1)
assert told()[:3] == (True, 1, False), told()
once(TraceSession, "to_cassette", {error})
job(2)
job(3)
print(told())
""",
    )
    assert said.count("Traceback") == 1
    assert printed == f"(True, 2, True, {lost}, {faults}, 0)\n", said
    assert _whole(tmp_path) == ["job 1", "job 3"]


@pytest.mark.parametrize(
    ("where", "lost"),
    [
        ('journal.Journal, "tick"', {}),
        ('journal.Journal, "wait_s"', {}),
        ('writer.BackgroundWriter, "_take"', HELD),
        ('journal.Journal, "ended"', {}),
        ('TraceSession, "release"', {}),
    ],
)
def test_wherever_it_dies_what_waited_is_written(
    upstream: Loopback, tmp_path: Path, where: str, lost: dict[str, int]
) -> None:
    printed, said = _run(
        upstream, tmp_path, f"job(1)\ntold()\nonce({where}, SystemExit())\njob(2)\njob(3)\nprint(told())"
    )
    written = _whole(tmp_path)
    assert {"job 1", "job 3"} <= {*written}, said
    assert printed == f"(True, {3 - len(lost)}, True, {lost}, {DIED}, 0)\n", said
    assert lost or "job 2" in written


@pytest.mark.parametrize(
    "where",
    [
        'writer.counters, "cassette_written"',
        'recordings.counters, "session_ended"',
        'journal.Journal, "ended"',
        'TraceSession, "release"',
        'writer.BackgroundWriter, "_let_go"',
    ],
)
def test_a_recording_that_was_written_when_the_thread_died_counts_once(
    upstream: Loopback, tmp_path: Path, where: str
) -> None:
    code = f"job(1)\ntold()\nonce({where}, SystemExit(), done=True)\njob(2)\njob(3)\nprint(told())"
    printed, said = _run(upstream, tmp_path, code)
    assert printed == f"(True, 3, True, {{}}, {DIED}, 0)\n", said
    assert sorted(cassette.request.path for cassette in cassettes(tmp_path)) == ["job 1", "job 2", "job 3"]


@pytest.mark.parametrize(
    "end",
    [
        # `pop` of a dictionary and other steps in C cannot be struck, but what is called right behind them.
        ('TraceSession, "to_cassette", SystemExit()', 'writer.counters, "cassette_dropped", SystemExit()'),
        ('TraceSession, "to_cassette", SystemExit()', 'writer.BackgroundWriter, "_let_go", SystemExit(), True'),
    ],
)
def test_a_thread_that_dies_once_more_as_it_says_what_it_had_counts_it_once(
    upstream: Loopback, tmp_path: Path, end: tuple[str, str]
) -> None:
    strikes = "".join(f"once({each})\n" for each in end)
    printed, said = _run(upstream, tmp_path, f"job(1)\ntold()\n{strikes}job(2)\njob(3)\ntold()\nprint(told())")
    assert printed == f"(True, 2, True, {HELD}, {DIED}, 0)\n", said
    assert _whole(tmp_path) == ["job 1", "job 3"]


def test_a_thread_that_another_one_kills_as_it_takes_a_recording_loses_nothing(
    upstream: Loopback, tmp_path: Path
) -> None:
    """`PyThreadState_SetAsyncExc`, by which some apps stop threads: it strikes between any two steps."""
    printed, said = _run(
        upstream,
        tmp_path,
        """
def killed():
    # The thread may have died of the kill before, and the next job, or the end, starts another one.
    for thread in [one for one in threading.enumerate() if one.name == "timetracer-otel-writer"]:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
for number in range(1, 11):
    job(number)
    killed()
told()
_, written, lost, dropped, faults, still_open = told()
print(written + sum(dropped.values()), lost, still_open)
""",
    )
    assert printed == "10 True 0\n", said


def test_threads_that_die_each_time_cost_recordings_and_neither_the_app_nor_its_end(
    upstream: Loopback, tmp_path: Path
) -> None:
    printed, said = _run(
        upstream,
        tmp_path,
        """
def die(self):
    raise SystemExit
TraceSession.to_cassette = die
for number in range(1, 6):
    job(number)
    latest = time.monotonic() + 60
    while sum(counters().cassettes_dropped.values()) < number and time.monotonic() < latest:
        time.sleep(0.01)
_, written, lost, dropped, faults, still_open = told()
print(written, lost, sum(dropped.values()), still_open)
""",
    )
    assert printed == "0 True 5 0\n", said
    assert said.count("Traceback") == 1
    assert (
        "recording lost something: 0 cassettes written, 5 cassettes dropped (the thread that writes died: 5)" in said
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process at once")
def test_a_signal_with_a_backlog_says_how_many_recordings_it_did_not_wait_for(
    upstream: Loopback, tmp_path: Path
) -> None:
    assert LIMIT_S == 5
    code = """
from timetracer_otel.process import sigterm
sigterm.LIMIT_S = 1
once_written = CassetteStore.put
def put(self, cassette, written=None):
    if "job 1" != cassette.request.path:
        time.sleep(60)
    return once_written(self, cassette, written)
CassetteStore.put = put
job(1)
told()
for number in range(2, 9):
    job(number)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
"""
    done = plain(
        SERVICE.format(base=upstream.url) + code,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        # A job that takes long on a slow machine would have a part, and would not be lost as a whole.
        TIMETRACER_JOURNAL_S="0",
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert done.stderr == (
        "timetracer-otel: recording lost something: 1 cassettes written, 7 cassettes dropped "
        "(not written when the process ended: 7).\n"
    )
    assert [cassette.request.path for cassette in cassettes(tmp_path)] == ["job 1"]
