"""What was written and what was lost: told in code, as metrics, and in one line at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.process._programs import plain

_JOBS = """
    import json, os
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    import timetracer_otel
    from timetracer_otel.otel import TimetracerInstrumentor

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    trace.set_tracer_provider(TracerProvider())
    TimetracerInstrumentor().instrument()
    tracer = trace.get_tracer("jobs")
    for number in range(3):
        with tracer.start_as_current_span(f"job {number}", kind=trace.SpanKind.CONSUMER) as span:
            if number == 2:
                span.set_status(trace.StatusCode.ERROR)
            open_while = timetracer_otel.counters().sessions_open
    trace.get_tracer_provider().force_flush()
    points = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            # The SDK of some releases counts its spans, too.
            for metric in (each for each in scope.metrics if each.name.startswith("timetracer.")):
                for point in metric.data.data_points:
                    points[" ".join([metric.name, *map(str, point.attributes.values())])] = point.value
    now = timetracer_otel.counters()
    print(json.dumps({"open_while": open_while, "points": points, "open": now.sessions_open,
                      "written": now.cassettes_written, "dropped": dict(now.cassettes_dropped),
                      "discarded": now.cassettes_discarded, "lost": now.lost}))
"""


def _run(folder: Path, **settings: str) -> tuple[dict[str, Any], str]:
    run = plain(_JOBS, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder), **settings)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


def test_what_was_written_is_counted_in_code_and_as_metrics(tmp_path: Path) -> None:
    told, log = _run(tmp_path, TIMETRACER_ERRORS_ONLY="true")
    assert told == {
        "open_while": 1,
        "open": 0,
        "written": 1,
        "discarded": 2,
        "dropped": {},
        "lost": False,
        "points": {
            "timetracer.sessions.open": 0,
            "timetracer.cassettes.written": 1,
            "timetracer.cassettes.cut": 0,
            "timetracer.cassettes.discarded did not fail": 2,
            "timetracer.calls.late": 0,
        },
    }
    assert log == ""


def test_what_was_lost_is_counted_by_reason_and_said_once_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.write_text("a file stands where the folder should be")
    told, log = _run(folder)
    reason = "the folder could not be written to"
    assert (told["written"], told["dropped"], told["open"], told["lost"]) == (0, {reason: 3}, 0, True)
    assert told["points"][f"timetracer.cassettes.dropped {reason}"] == 3
    assert log.count("recording lost something: 0 cassettes written, 3 cassettes dropped") == 1


def test_what_the_settings_leave_out_is_counted_by_reason(tmp_path: Path) -> None:
    told, log = _run(tmp_path, TIMETRACER_POLICY="errors,share:0", TIMETRACER_BUDGET="1/min")
    metric = "timetracer.cassettes.discarded"
    assert {name: number for name, number in told["points"].items() if name.startswith(metric)} == {
        f"{metric} neither failed, nor slow, nor in the share": 2
    }
    assert (told["written"], told["discarded"], told["open"], log) == (1, 2, 0, "")
