"""Clocks that jump, slow disks, very long streams, very many recordings at once: nothing is lost or damaged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, plain

SUITE = "FAULT_KILLS" in os.environ
"""Set by ``make suite-faults``, for which the numbers are those of production."""
STREAM_MB = 400 if SUITE else 40
SESSIONS = 10_000 if SUITE else 500

SERVICE = """
import asyncio, hashlib, resource, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from timetracer_otel import counters
from timetracer_otel.otel import TimetracerInstrumentor
trace.set_tracer_provider(TracerProvider())
TimetracerInstrumentor().instrument()

def job(number):
    return trace.get_tracer("my.app").start_as_current_span(f"job {number}", kind=trace.SpanKind.CONSUMER)

def told():
    assert trace.get_tracer_provider().force_flush(120_000)
    now = counters()
    return now.cassettes_written, dict(now.cassettes_dropped), dict(now.events_dropped), dict(now.faults)
"""


def _run(folder: Path, code: str, **settings: str) -> str:
    done = plain(SERVICE + code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder), **settings)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_clock_that_jumps_changes_no_duration_and_no_order(tmp_path: Path) -> None:
    with Loopback() as upstream:
        printed = _run(
            tmp_path,
            f"""
import time_machine
began = time.time()
with job(1):
    httpx.get("{upstream.url}/users/1")
    with time_machine.travel(began - 86_400):
        httpx.get("{upstream.url}/users/2")
    with time_machine.travel(began + 86_400):
        httpx.get("{upstream.url}/users/3")
        # The journal comes round meanwhile.
        time.sleep(0.3)
    httpx.get("{upstream.url}/users/4")
print(told())
""",
        )
    assert printed == "(1, {}, {}, {})\n"
    (cassette,) = cassettes(tmp_path)
    assert [(event.signature.url or "")[-1] for event in cassette.events] == ["1", "2", "3", "4"]
    starts = [event.start_offset_ms for event in cassette.events]
    assert starts == sorted(starts)
    assert all(0 <= event.duration_ms < 60_000 for event in cassette.events)
    assert starts[0] >= 0
    assert starts[-1] < 60_000


def test_a_slow_disk_holds_up_no_request(tmp_path: Path) -> None:
    with Loopback() as upstream:
        printed = _run(
            tmp_path,
            f"""
from timetracer_otel.cassette import CassetteStore
put, written = CassetteStore.put, threading.Event()
def slow(self, cassette, written_events=None):
    # No request ends for a cassette: the disk gets on when all of them are over.
    assert written.wait(60)
    return put(self, cassette, written_events)
CassetteStore.put = slow
for number in range(20):
    with job(number):
        httpx.get("{upstream.url}/users/1")
print(counters().cassettes_written, counters().sessions_open)
written.set()
print(told())
""",
        )
    assert printed == "0 20\n(20, {}, {}, {})\n"
    assert len(cassettes(tmp_path)) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="measures memory as POSIX does")
def test_a_stream_of_hundreds_of_megabytes_reaches_the_app_whole_and_costs_little_memory(tmp_path: Path) -> None:
    printed = _run(
        tmp_path,
        f"""
PIECE = bytes(range(256)) * 256
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str({STREAM_MB} * 16 * len(PIECE)))
        self.end_headers()
        for _ in range({STREAM_MB} * 16):
            self.wfile.write(PIECE)
    def log_message(self, *args):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{{server.server_port}}/"

def read():
    total, digest = 0, hashlib.sha256()
    with httpx.stream("GET", url) as response:
        for piece in response.iter_raw():
            total += len(piece)
            digest.update(piece)
    return total, digest.hexdigest()

whole = hashlib.sha256(PIECE * ({STREAM_MB} * 16)).hexdigest() if {STREAM_MB} < 100 else None
with job(1):
    first = read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with job(2):
    second = read()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(first == second, first[0], whole in (None, first[1]), grown < 64_000, told())
""",
    )
    assert printed == f"True {STREAM_MB << 20} True True (2, {{}}, {{}}, {{}})\n"
    for cassette in cassettes(tmp_path):
        (event,) = cassette.events
        assert event.not_replayable
        assert event.result.body is not None
        assert not event.result.body.captured
        assert event.result.body.size_bytes == STREAM_MB << 20


@pytest.mark.timeout(1200)
def test_thousands_of_recordings_at_once_are_one_whole_cassette_each(tmp_path: Path) -> None:
    with Loopback() as upstream:
        printed = _run(
            tmp_path,
            f"""
async def one(number, client, all_begun, turn):
    with job(number):
        begun[0] += 1
        if begun[0] == {SESSIONS}:
            all_begun.set()
        await all_begun.wait()
        async with turn:
            assert (await client.get(f"{upstream.url}/users/{{number}}")).json()["id"] == number

async def main():
    all_begun, turn = asyncio.Event(), asyncio.Semaphore(20)
    async with httpx.AsyncClient(timeout=300) as client:
        await asyncio.gather(*(one(number, client, all_begun, turn) for number in range({SESSIONS})))
begun = [0]
asyncio.run(main())
print(told())
""",
            TIMETRACER_MAX_SESSIONS=str(SESSIONS),
        )
    assert printed == f"({SESSIONS}, {{}}, {{}}, {{}})\n"
    found = cassettes(tmp_path)
    assert len(found) == SESSIONS
    for cassette in found:
        (event,) = cassette.events
        number = cassette.request.path.rpartition(" ")[2]
        assert cassette.complete
        assert (event.signature.url or "").endswith(f"/users/{number}")
