"""The call tree: who stands below whom, when, how long, and what must be known of a call."""

from __future__ import annotations

from tests.sample_cassettes import body, cassette, checkout, http_event, observed_event
from timetracer_otel.constants import BodyEnd
from timetracer_otel.report import timeline
from timetracer_otel.report.head import facts
from timetracer_otel.types import RequestSnapshot, ResponseSnapshot

CHECKOUT = """\
 #  call                                                          start ms  took ms                        status       size  marks
    POST /checkout                                                     0.0    100.0  ████████████████████  200             -
#1  ├─ httpx GET http://127.0.0.1:8001/users/7                         0.0     20.0  ████                  200           9 B
#2  ├─ httpx GET http://127.0.0.1:8001/cart?page=1&page=2&user=7      25.0     50.0       ██████████       200          48 B  2 chunks
#3  │  └─ httpx POST http://127.0.0.1:8001/token                      30.0      5.0        █               200           4 B
    ├─ retry
#4  │  └─ httpx GET http://127.0.0.1:8001/slow                        80.0     15.0                  ███   ReadTimeout     -
#5  └─ pika Reserve stock:50051                                       96.0      1.0                     ▏  0               -  observed only

#4 httpx:ReadTimeout: timed out
#5 observed only: no plugin captures the calls of pika
""".splitlines()  # noqa: E501


def test_calls_stand_below_the_span_that_made_them() -> None:
    assert timeline(checkout(), width=200) == CHECKOUT


def test_a_terminal_without_box_characters_gets_ascii() -> None:
    lines = timeline(checkout(), width=200, ascii_only=True)
    assert all(line.isascii() for line in lines)
    assert lines[2].startswith("#1  |- httpx ")
    assert lines[4].startswith("#3  |  `- httpx ")


def test_lines_fit_the_terminal() -> None:
    long_url = "http://127.0.0.1/" + "a" * 300
    lines = timeline(cassette([http_event(1, long_url, not_replayable="because " * 40)]), width=120)
    assert max(map(len, lines[:3])) == 120
    assert "…aaa" in lines[2]


def test_marks_say_how_a_body_ended_and_why_there_is_no_replay() -> None:
    closed = http_event(1, "http://a/", response=body(b"ab", [(1.0, 1), (2.0, 1)], BodyEnd.CLOSED))
    unfaithful = http_event(2, "http://a/", not_replayable="its body was longer than 16 KiB")
    lines = timeline(cassette([closed, unfaithful]), width=200)
    assert lines[2].endswith("2 chunks, body closed")
    assert lines[3].endswith("not replayable")
    assert lines[5:] == ["#2 not replayable: its body was longer than 16 KiB"]


def test_calls_are_in_order_of_start_whatever_their_order_in_the_file() -> None:
    lines = timeline(cassette([http_event(2, "http://b/", start_ms=5.0), http_event(1, "http://a/", start_ms=1.0)]))
    assert "#1" in lines[2]
    assert "#2" in lines[3]


def test_several_calls_may_name_one_span() -> None:
    hops = [http_event(eid, f"http://hop/{eid}", start_ms=eid * 1.0, span="aa" * 8) for eid in (1, 2, 3)]
    lines = timeline(cassette(hops))
    assert [line[:6] for line in lines[2:]] == ["#1  ├─", "#2  ├─", "#3  └─"]


def test_a_circle_of_parents_ends() -> None:
    events = [
        http_event(1, "http://a/", span="aa" * 8, parent="bb" * 8),
        http_event(2, "http://b/", span="bb" * 8, parent="aa" * 8),
        http_event(3, "http://c/", span="cc" * 8, parent="cc" * 8),
    ]
    lines = timeline(cassette(events))
    assert len(lines) == 5


def test_a_tree_of_any_depth_is_shown() -> None:
    events = [http_event(eid, "http://a/", span=f"{eid:016x}", parent=f"{eid - 1:016x}") for eid in range(1, 1200)]
    assert len(timeline(cassette(events))) == 1201


def test_a_recording_without_a_request_is_named_after_its_outermost_span() -> None:
    without = {"request": RequestSnapshot("", ""), "response": ResponseSnapshot(0)}
    job = timeline(cassette([http_event(1, "http://a/", path=("nightly job",))], **without))
    nothing = timeline(cassette([], **without))
    assert job[1].split()[:2] == ["nightly", "job"]
    assert job[2].startswith("#1  └─ ")
    assert nothing[1].split()[:2] == ["(no", "request)"]


def test_a_recording_of_no_length_has_a_bar_all_the_same() -> None:
    made = cassette([observed_event(1, took_ms=0.0)], response=ResponseSnapshot(0))
    made.stats.total_duration_ms = 0.0
    assert "▏" in timeline(made)[2]


def test_recorded_text_cannot_play_with_the_terminal() -> None:
    lines = timeline(cassette([http_event(1, "http://a/\x1b[2J\nroot:")]))
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


def test_a_request_lasts_until_its_answer_as_its_head_says() -> None:
    made = cassette([http_event(1, "http://a/", start_ms=0.0, took_ms=10.0)])
    made.response.duration_ms, made.stats.total_duration_ms = 50.0, 100.0
    root = timeline(made, width=200)[1]
    assert "    50.0  ██████████░░░░░░░░░░  200" in root
    assert ("request", "POST /checkout -> 200 in 50.0 ms") in facts(made)


def test_a_subscription_does_not_stretch_the_scale() -> None:
    select = http_event(1, "http://a/", start_ms=0.0)
    select.duration_ms = 50.0
    subscription = http_event(2, "http://b/", start_ms=50.0)
    subscription.duration_ms, subscription.ended_ms = 50.0, 60_000.0
    made = cassette([select, subscription])
    made.response.duration_ms, made.stats.total_duration_ms = 0.0, 60_050.0
    lines = timeline(made, width=200)
    assert "60050.0" in lines[1]
    assert lines[2].count("█") == 10
    assert lines[3].rstrip().count("█") == 10
    # What goes on after the answer is pale.
    subscription.duration_ms, select.duration_ms = 10.0, 100.0
    assert "█░░" in timeline(made, width=200)[3]
    assert "#.." in timeline(made, width=200, ascii_only=True)[3]
