"""A process that records ships by itself: by a shipper beside it, that ends with it however it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import s3fs

from tests.load._server import Served
from tests.process._programs import instrumented, plain
from tests.servers._process import ServerProcess
from tests.stores._spool import BUCKET, aws_environment, make_bucket
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.storage.finding import Question, download, rows_of
from timetracer_otel.storage.objects import Objects
from timetracer_otel.storage.rows import Row

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="servers that fork")

FULL = "STORES_FULL" in os.environ
"""Set by ``make suite-stores``: eight workers, many requests, and kills among them."""
WORKERS = 8 if FULL else 2
REQUESTS = 800 if FULL else 12
KILLS = 10 if FULL else 1


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_script_has_shipped_what_it_recorded_when_it_ends(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    done = instrumented(
        """
        from opentelemetry import trace
        for number in range(3):
            with trace.get_tracer("app").start_as_current_span(f"GET /{number}", kind=trace.SpanKind.SERVER):
                pass
        """,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path / "spool"),
        TIMETRACER_SHIP=url,
    )
    assert done.returncode == 0, done.stderr
    assert "timetracer-otel: fault" not in done.stderr
    assert len(rows_of(Objects(url), Question())) == 3
    assert CassetteStore(tmp_path / "spool").list() == []


def test_a_url_in_the_place_of_a_folder_records_into_a_local_one_first(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    done = instrumented(
        """
        from opentelemetry import trace
        with trace.get_tracer("app").start_as_current_span("GET /", kind=trace.SpanKind.SERVER):
            pass
        """,
        tmp_path,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=url,
    )
    assert done.returncode == 0, done.stderr
    assert len(rows_of(Objects(url), Question())) == 1
    assert CassetteStore(tmp_path / "cassettes").list() == []


_COUNTS = """
    import json, sys, time
    from pathlib import Path
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from timetracer_otel.otel import TimetracerInstrumentor

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    trace.set_tracer_provider(TracerProvider())
    TimetracerInstrumentor().instrument()
    for number in range(2):
        with trace.get_tracer("app").start_as_current_span(f"GET /{number}", kind=trace.SpanKind.SERVER):
            pass

    def points_when(holds):
        until = time.monotonic() + 90
        while True:
            points = {
                metric.name.removeprefix("timetracer."): point.value
                for resource in reader.get_metrics_data().resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in metric.data.data_points
            }
            if holds(points):
                return points
            assert time.monotonic() < until, points
            time.sleep(0.05)

    failed = points_when(lambda now: now["shipping.failures"] and now["cassettes.waiting"] >= 2)
    Path(sys.argv[1]).unlink()
    shipped = points_when(lambda now: now["cassettes.shipped"] == 2)
    print(json.dumps([failed, shipped]))
"""


def test_what_is_shipped_what_failed_and_what_waits_are_metrics_of_the_process(tmp_path: Path) -> None:
    taken = tmp_path / "remote"
    taken.write_text("a file stands where the folder should be")
    done = plain(
        _COUNTS.replace("sys.argv[1]", repr(str(taken))),
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path / "spool"),
        TIMETRACER_SHIP=f"file://{taken}",
        TIMETRACER_SHIP_S="0.2",
    )
    assert done.returncode == 0, done.stderr
    failed, shipped = json.loads(done.stdout)
    assert (failed["cassettes.shipped"], failed["shipping.io"]) == (0, 0)
    assert failed["spool.usage"] > 100
    assert shipped["shipping.io"] == sum(file.stat().st_size for file in taken.rglob("*.pack"))
    assert shipped["shipping.failures"] >= failed["shipping.failures"]
    assert shipped["cassettes.waiting"] < failed["cassettes.waiting"]


@pytest.mark.timeout(600)
def test_workers_of_gunicorn_are_killed_and_no_request_that_was_answered_is_lost(
    s3_server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bucket(s3_server)
    aws = aws_environment(s3_server.port("aws"))
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    url, spool, log = f"s3://{BUCKET}/gunicorn", tmp_path / "spool", tmp_path / "log"
    variables = {
        **aws,
        "TIMETRACER_MODE": "record",
        "TIMETRACER_DIR": str(spool),
        "TIMETRACER_SHIP": url,
        "TIMETRACER_SHIP_S": "0.5",
    }
    command = ("opentelemetry-instrument", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning")
    app = "tests.stores._app:app"
    answered: Counter[str] = Counter()
    with Served((*command, "--workers", str(WORKERS), app), variables, log) as served:
        for number in range(REQUESTS):
            path = f"/work/{number}"
            try:
                answer = httpx.get(f"http://127.0.0.1:{served.port}{path}", timeout=60)
            except httpx.TransportError:
                continue  # Its worker was killed just then.
            assert answer.status_code == 200
            answered[path] += 1
            if number % (REQUESTS // (KILLS + 1)) == 0 and number:
                # The recording of an answered request is written a moment later.
                until(lambda: _written(spool, url) >= sum(answered.values()) - 1)
                os.kill(int(answer.text), signal.SIGKILL)
        assert served.terminate() == 0, log.read_text()
    # The shippers of workers that were killed make their last pass by themselves.
    until(lambda: not CassetteStore(spool).list())
    rows = [row for row in _rows(url) if row.method]
    found = Counter(read_cassette(file).request.path for _, file in download(url, rows, tmp_path / "copies"))
    # The recording of a request whose worker was killed before it had answered may be there as well.
    assert {*found} <= {f"/work/{number}" for number in range(REQUESTS)}
    assert not answered - found, f"lost: {answered - found}\n{log.read_text()[-2000:]}"
    assert max(found.values()) == 1
    assert "fault in" not in log.read_text()


def _written(spool: Path, url: str) -> int:
    here = sum(1 for row in CassetteStore(spool).list() if row.method and row.complete)
    return here + sum(1 for row in _rows(url) if row.method)


def _rows(url: str) -> list[Row]:
    return rows_of(Objects(url), Question(), whole=True)
