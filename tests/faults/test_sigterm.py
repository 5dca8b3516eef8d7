"""SIGTERM: everything that has finished is on the disk, and the process ends as it would have without us."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented, plain, started
from timetracer_otel.process.sigterm import LIMIT_S

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process at once")


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


JOBS = """
import httpx, os, signal, sys, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from timetracer_otel.otel import TimetracerInstrumentor
trace.set_tracer_provider(TracerProvider())
TimetracerInstrumentor().instrument()
for user in range(1, 31):
    with trace.get_tracer("my.app").start_as_current_span(f"job {{user}}", kind=trace.SpanKind.CONSUMER):
        httpx.get(f"{base}/users/{{user}}")
"""
TERMINATE = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)"


def test_a_process_that_a_signal_ends_has_written_everything(upstream: Loopback, tmp_path: Path) -> None:
    code = JOBS.format(base=upstream.url) + f"httpx.get('{upstream.url}/users/99')\n{TERMINATE}"
    done = plain(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path))
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert done.stderr == ""
    found = cassettes(tmp_path)
    assert all(cassette.complete for cassette in found)
    jobs = [cassette.request.path for cassette in found if cassette.request.method]
    assert sorted(jobs) == sorted(f"job {user}" for user in range(1, 31))
    (outside,) = (cassette for cassette in found if not cassette.request.method)
    assert [event.signature.url for event in outside.events] == [f"{upstream.url}/users/99"]


def test_a_replay_that_a_signal_ends_says_what_it_did_and_keeps_what_it_recorded(
    upstream: Loopback, tmp_path: Path
) -> None:
    code = f"""
        import os, signal, time
        from timetracer_otel.otel import TimetracerInstrumentor
        TimetracerInstrumentor().instrument()
        import httpx
        print(httpx.get("{upstream.url}/users/1").json()["id"], flush=True)
        {TERMINATE}
    """
    cassette = tmp_path / "x.msgpack"
    for mode, account in (("once", "1 recorded"), ("none", "1 hit, 0 missed, 0 unused, 0 live")):
        done = plain(
            code,
            TIMETRACER_MODE="replay",
            TIMETRACER_CASSETTE=str(cassette),
            TIMETRACER_RECORD_MODE=mode,
        )
        assert (done.returncode, done.stdout) == (-signal.SIGTERM, "1\n"), done.stderr
        assert account in done.stderr
    assert upstream.hits == {"/users/1": 1}


def test_what_runs_when_the_signal_comes_is_recovered_to_its_last_call(upstream: Loopback, tmp_path: Path) -> None:
    code = f"""
        import httpx, os, signal, time
        from opentelemetry import trace
        with trace.get_tracer("my.app").start_as_current_span("long job", kind=trace.SpanKind.CONSUMER):
            for user in (1, 2, 3):
                httpx.get(f"{upstream.url}/users/{{user}}")
            {TERMINATE}
    """
    done = instrumented(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path))
    assert done.returncode == -signal.SIGTERM, done.stderr
    (cassette,) = cassettes(tmp_path)
    assert not cassette.complete
    assert cassette.request.path == "long job"
    assert [event.signature.url for event in cassette.events] == [
        f"{upstream.url}/users/{user}" for user in (1, 2, 3)
    ]
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob(".*.lock")]


def test_a_disk_that_takes_its_time_holds_the_end_up_for_seconds_and_no_longer(
    upstream: Loopback, tmp_path: Path
) -> None:
    assert LIMIT_S == 5
    # Of two, the second comes from somebody who does not want to wait.
    for signals, limit_s in ((1, 3), (2, 600)):
        code = f"""
            import httpx, os, threading, time
            from opentelemetry import trace
            from timetracer_otel.cassette import CassetteStore
            from timetracer_otel.process import sigterm
            sigterm.LIMIT_S = {limit_s}
            CassetteStore.put = lambda self, cassette, written: time.sleep(600)

            def tell():
                while "timetracer-otel-exit" not in [thread.name for thread in threading.enumerate()]:
                    time.sleep(0.01)
                # Not by `print`: the handler may have interrupted that, and it has a lock.
                os.write(1, b"ending\\n")

            threading.Thread(target=tell, daemon=True).start()
            with trace.get_tracer("my.app").start_as_current_span("job", kind=trace.SpanKind.CONSUMER):
                httpx.get("{upstream.url}/users/1")
            print("ready", flush=True)
            time.sleep(600)
        """
        with started(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path)) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.terminate()
            # Two signals that come before Python looks are one.
            assert child.stdout.readline() == "ending\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.5)
            if signals == 2:
                child.terminate()
            assert child.wait(100) == -signal.SIGTERM


HANDLERS = {
    # Each prints what it sees; how it ends must be what it ends with bare.
    "asks for the handler": """
        print(repr(signal.getsignal(signal.SIGTERM)), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """,
    "calls the one before, if it can": """
        def mine(*arguments):
            print("mine")
            before(*arguments) if callable(before) else sys.exit(7)
        before = signal.signal(signal.SIGTERM, mine)
        print(repr(before))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    """,
    "cleans up, and dies of it": """
        def mine(number, frame):
            print("mine", flush=True)
            signal.signal(number, before)
            os.kill(os.getpid(), number)
        before = signal.signal(signal.SIGTERM, mine)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    """,
    "lets a loop see it": """
        import asyncio
        async def main():
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, ended.set)
            os.kill(os.getpid(), signal.SIGTERM)
            await ended.wait()
            print("seen", loop.remove_signal_handler(signal.SIGTERM), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(5)
        asyncio.run(main())
    """,
    "ignores it": """
        print(repr(signal.signal(signal.SIGTERM, signal.SIG_IGN)))
        os.kill(os.getpid(), signal.SIGTERM)
        print(repr(signal.getsignal(signal.SIGTERM)))
    """,
    "is wrong about it": """
        for arguments in ((signal.SIGTERM, "x"), (signal.SIGTERM, None), (10_000, signal.SIG_DFL)):
            try:
                signal.signal(*arguments)
            except Exception as error:
                print(repr(error))
        print(repr(signal.signal(signalnum=signal.SIGTERM, handler=signal.SIG_DFL)))
    """,
    "sets it from a thread": """
        import threading
        def other():
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            except ValueError as error:
                print(repr(error))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    """,
    "lets a child end by it": """
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        child.start()
        time.sleep(0.2)
        child.terminate()
        child.join()
        print(child.exitcode)
    """,
}


@pytest.mark.parametrize("handler", HANDLERS)
def test_programs_that_handle_the_signal_see_and_do_what_they_did_without_us(
    upstream: Loopback, tmp_path: Path, handler: str
) -> None:
    code = "import os, signal, sys, time" + HANDLERS[handler].replace("\n        ", "\n")
    bare = plain(code)
    done = plain(
        JOBS.format(base=upstream.url) + code,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert (done.stdout, done.returncode) == (bare.stdout, bare.returncode), done.stderr
    assert done.stderr == bare.stderr
    assert len([cassette for cassette in cassettes(tmp_path) if cassette.request.method]) == 30
