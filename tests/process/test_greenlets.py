"""An app of greenlets: recording begins before gevent patches the process, and no greenlet has to wait for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented

pytest.importorskip("gevent", reason="it is a dependency of the tests on Linux")

_PROGRAM = """
    from gevent import monkey
    from opentelemetry import trace

    tracer = trace.get_tracer("app")
    {before}
    monkey.patch_all()
    import gevent, httpx

    def job(user):
        with tracer.start_as_current_span(f"job {{user}}", kind=trace.SpanKind.CONSUMER):
            gevent.sleep()
            return httpx.get(f"{url}/users/{{user}}").json()["id"]

    print([greenlet.get() for greenlet in [gevent.spawn(job, user) for user in (1, 2, 3)]])
"""


@pytest.mark.parametrize(
    "before", ["", "tracer.start_span('begun before').end()"], ids=["at once", "with its thread"]
)
def test_an_app_that_gevent_patches_later_goes_on_and_is_recorded(tmp_path: Path, before: str) -> None:
    with Loopback() as upstream:
        done = instrumented(
            _PROGRAM.format(url=upstream.url, before=before),
            TIMETRACER_MODE="record",
            TIMETRACER_DIR=str(tmp_path),
            PYTHONWARNINGS="ignore",
        )
        assert (done.stdout, done.returncode) == ("[1, 2, 3]\n", 0), done.stderr
        # gevent may complain that it does not know a thread, when one ends that began before the patching.
        assert "timetracer-otel:" not in done.stderr
        found = {
            cassette.request.path: [event.signature.url for event in cassette.events]
            for cassette in cassettes(tmp_path)
        }
    found.pop("begun before", None)
    assert found == {f"job {user}": [f"{upstream.url}/users/{user}"] for user in (1, 2, 3)}
