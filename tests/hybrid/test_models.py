"""Calls to language models: their model and tokens are shown, and a replay says how many paid calls it made."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Loopback
from tests.process._programs import plain
from tests.sample_cassettes import cassette, http_event
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.match.advice import Wording
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.process.ledger import ReplayLedger
from timetracer_otel.report import event_detail, timeline
from timetracer_otel.report.page.data import recording_data
from timetracer_otel.session.models import PaidCalls, model_use
from timetracer_otel.types import DependencyEvent, SpanFacts, Verdict

_PROGRAM = """
    import json, os
    import httpx
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from timetracer_otel import record, replay

    os.chdir(os.environ["FOLDER"])
    trace.set_tracer_provider(TracerProvider())
    tracer = trace.get_tracer("opentelemetry.instrumentation.some_model")
    CLIENT, URL, TRACES = trace.SpanKind.CLIENT, os.environ["URL"], json.loads(os.environ["TRACES"])

    def ask():
        return httpx.post(URL + "/v1/chat/completions", json={"model": "m-1"}).json()["choices"][0]["message"]

    def calls(with_models=True):
        found = [httpx.get(URL + "/users/1").json()]
        if not with_models:
            return found
        for number, (before, after) in enumerate(TRACES):
            if number % 2:
                # As most instrumentations do where the answer is a stream.
                span = tracer.start_span("chat m-1", kind=CLIENT, attributes=before)
                found.append(ask())
                span.set_attributes(after)
                span.end()
            else:
                with tracer.start_as_current_span("chat m-1", kind=CLIENT, attributes=before) as span:
                    found.append(ask())
                    span.set_attributes(after)
        return found

    with record("models.msgpack") as session:
        recorded = calls()
    with record("none.msgpack"):
        calls(with_models=False)
    told = {}
    with replay("models.msgpack") as session:
        assert calls() == recorded
    told["offline"] = str(session.verdict())
    with replay("models.msgpack", live_plugins=["httpx"]) as session:
        assert calls() == recorded
    told["live"] = str(session.verdict())
    with replay("none.msgpack", live_plugins=["httpx"]) as session:
        calls(with_models=False)
    told["none"] = str(session.verdict())
    print(json.dumps(told))
"""

CURRENT = (
    {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m-1"},
    {"gen_ai.response.model": "m-1-2026", "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2},
)
OLDER = (
    {"gen_ai.system": "openai", "gen_ai.request.model": "m-1"},
    {"gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 3},
)
TRACES = [CURRENT, CURRENT, OLDER, OLDER]
SHOWN = ["m-1-2026, 9 tokens in, 2 out", "m-1-2026, 9 tokens in, 2 out", *["m-1, 7 tokens in, 3 out"] * 2]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("models")
    with Loopback() as upstream:
        run = plain(_PROGRAM, URL=upstream.url, TRACES=json.dumps(TRACES), FOLDER=str(folder))
    assert run.returncode == 0, run.stderr
    return folder, json.loads(run.stdout)


def test_one_row_of_show_and_view_has_the_model_and_the_tokens(ran: tuple[Path, dict[str, str]]) -> None:
    recording = read_cassette(ran[0] / "models.msgpack")
    # The span of the HTTP client stands beneath that of the model, and no span is a call of its own.
    assert len(recording.events) == 5
    assert [str(model_use(event)) for event in recording.events[1:]] == SHOWN
    assert model_use(recording.events[0]) is None
    lines = timeline(recording, width=200)
    for event, shown in zip(recording.events[1:], SHOWN, strict=True):
        (row,) = [line for line in lines if line.lstrip().startswith(f"#{event.eid} ") and shown in line]
        assert "httpx POST" in row
    narrow = timeline(recording, width=60)
    assert f"#2 {SHOWN[0]}" in narrow
    page: list[dict[str, Any]] = recording_data(recording)["events"]
    assert [event.get("marks") for event in page] == [None, *([shown] for shown in SHOWN)]
    detail = event_detail(recording.events[1])
    assert "  above it" in detail
    assert "  within it" not in detail


def test_a_verdict_says_how_many_paid_calls_were_made(ran: tuple[Path, dict[str, str]]) -> None:
    told = ran[1]
    assert told["offline"].startswith("5 hit, 0 missed, 0 unused, 0 live")
    assert told["offline"].endswith(", paid calls: 0")
    # The call that is for no model went to the same host, which is that of a provider here.
    assert told["live"].endswith("paid calls: 5")
    assert "paid" not in told["none"]


def test_a_call_to_a_known_provider_is_paid_whatever_was_recorded() -> None:
    nothing: list[DependencyEvent] = []
    paid = PaidCalls(lambda: nothing)
    for url in ("http://127.0.0.1:1/v1", "https://shop.example.com/", None):
        paid.went_out(url)
    assert paid.number is None
    for url in (
        "https://api.openai.com/v1/responses",
        "https://x.openai.azure.com/a",
        "https://api.anthropic.com/v1",
    ):
        paid.went_out(url)
    paid.went_out("https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse")
    assert paid.number == 4


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({"gen_ai.operation.name": "chat"}, ""),
        ({"gen_ai.system": "x", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5}, "m, 5 tokens in"),
        ({"gen_ai.provider.name": "x", "gen_ai.usage.output_tokens": 5}, "5 tokens out"),
        ({"llm.request.type": "chat", "llm.request.model": "m", "llm.usage.prompt_tokens": 0}, "m, 0 tokens in"),
        ({"gen_ai.system": "x", "gen_ai.usage.input_tokens": "many"}, ""),
    ],
)
def test_what_a_span_says_is_shown_as_far_as_it_says_it(attributes: dict[str, Any], shown: str) -> None:
    event = http_event(1, "http://127.0.0.1:1/")
    event.span = SpanFacts("0" * 31 + "1", "0" * 15 + "1", None, attributes=attributes)
    assert str(model_use(event)) == shown


def test_the_replay_of_a_folder_says_it_at_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_cassette(cassette([]), tmp_path / "a.msgpack")
    for paid, end in ((None, "0 live"), (0, "0 live, paid calls: 0")):
        ledger = ReplayLedger(None, Wording(True, ()))
        ledger.ended("GET /a", None, Verdict(paid=paid))
        with caplog.at_level(logging.INFO, "timetracer_otel"):
            ledger.tell(FolderIndex(tmp_path))
        assert caplog.messages[-1].endswith(end)
