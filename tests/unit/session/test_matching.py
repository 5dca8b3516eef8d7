"""Matching: equal signatures queue, in any order among the others, and nothing else is ever given."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.calls.flow import Recording, Site, flow, run
from timetracer_otel.cassette import pack, rebuild_error
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import BodyEnd, EventType, TraceMode
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.canonical import canonical, packed_if_plain
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    Call,
    CallSnapshot,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)

UNDO = "undo the change in the call, or record again. To call for real, name the library in live_plugins."
SIGNER = Signer(Redactor())
MULTIPART_A, MULTIPART_B = ([(b"content-type", b"multipart/form-data; boundary=" + one)] for one in (b"A", b"B"))


def call(url: str = "http://h/a", body: bytes | None = None, method: str = "GET", **fields: object) -> Call:
    return Call("httpx", EventType.HTTP_CLIENT, method, url, body=body, **fields)  # type: ignore[arg-type]


def event(made: Call, answer: object = None, path: tuple[str, ...] = (), eid: int = 0) -> DependencyEvent:
    body = BodySnapshot(captured=True, data=SIGNER.redacted(made).body.data, end=made.body_end) if made.body else None
    return DependencyEvent(
        eid,
        made.event_type,
        0.0,
        1.0,
        SIGNER.redacted(made).signature,
        EventResult(reply=answer),
        CallSnapshot(headers=HeaderMap(made.headers), body=body),
        path=path,
    )


def replaying(events: list[DependencyEvent], **settings: object) -> ReplaySession:
    for eid, one in enumerate(events, 1):
        one.eid = eid
    cassette = Cassette(
        "1", SessionMeta("id", "", "", ""), RequestSnapshot("GET", "/me"), ResponseSnapshot(200), events
    )
    config = TraceConfig(mode="replay", **settings)  # type: ignore[arg-type]
    return ReplaySession(cassette, "x.msgpack", config.strict_replay, config)


@given(st.lists(st.integers(0, 4), max_size=30).flatmap(lambda made: st.tuples(st.just(made), st.permutations(made))))
def test_any_order_gives_each_signature_its_own_answers_first_in_first_out(runs: tuple[list[int], list[int]]) -> None:
    recorded, asked = runs
    session = replaying([event(call(f"http://h/{n}"), (n, i)) for i, n in enumerate(recorded)])
    answers = [session.match(call(f"http://h/{n}")).result.reply for n in asked]
    for n in set(recorded):
        assert [answer for answer in answers if answer[0] == n] == [(n, i) for i, m in enumerate(recorded) if m == n]
    assert session.get_unconsumed_events() == []
    with pytest.raises(ReplayMismatchError):
        session.match(call("http://h/0"))


def test_threads_never_share_an_answer() -> None:
    session = replaying([event(call(f"http://h/{n % 5}"), n) for n in range(1000)])
    got: list[object] = []

    def ask(target: int) -> None:
        got.extend(session.match(call(f"http://h/{target}")).result.reply for _ in range(100))

    threads = [threading.Thread(target=ask, args=(n % 5,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(got) == Counter(range(1000))


def test_the_callers_own_parents_decide_between_equal_calls() -> None:
    session = replaying([event(call(), "first", ("root", "a")), event(call(), "second", ("root", "b"))])
    assert session.match(call(), ("root", "b")).result.reply == "second"
    assert session.match(call(), ("root", "c")).result.reply == "first"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (call("http://H:80/a?x=1&y=2"), call("http://h/a?y=2&x=1")),
        (call("http://h/a?x=1&x=2"), call("http://h/a?x=2&x=1")),
        (call("http://h/a#frag"), call("http://h/a")),
        (call("http://u:p@h/a?token=1"), call("http://v:q@h/a?token=2")),
        (call("https://h:443/a"), call("https://h/a")),
        (call(headers=[(b"traceparent", b"00-1")]), call(headers=[(b"traceparent", b"00-2")])),
        (
            call(body=b"--A\r\nx\r\n--A--", headers=MULTIPART_A),
            call(body=b"--B\r\nx\r\n--B--", headers=MULTIPART_B),
        ),
        (call(body=b""), call(body=None)),
        (call("http://h"), call("http://h/")),
        (call("http://h?x=1"), call("http://h/?x=1")),
        (
            call(body=gzip.compress(b'{"a":1}', mtime=1), headers=[(b"content-encoding", b"gzip")]),
            call(body=gzip.compress(b'{"a":1}', mtime=2), headers=[(b"content-encoding", b"gzip")]),
        ),
        (
            call(body=gzip.compress(b"--A\r\nx", mtime=1), headers=[*MULTIPART_A, (b"content-encoding", b"gzip")]),
            call(body=gzip.compress(b"--B\r\nx", mtime=1), headers=[*MULTIPART_B, (b"content-encoding", b"gzip")]),
        ),
    ],
)
def test_what_does_not_make_a_call_another_one(one: Call, other: Call) -> None:
    assert SIGNER.redacted(one).key == SIGNER.redacted(other).key
    assert SIGNER.recorded_key(event(one)) == SIGNER.redacted(other).key


def test_user_information_is_no_part_of_a_target_without_redaction_either() -> None:
    signer = Signer(Redactor("off"))
    assert signer.redacted(call("http://u:p@h/a")).key == signer.redacted(call("http://h/a")).key
    assert signer.redacted(call("http://u:p@h/a")).signature.url == "http://u:p@h/a"


def test_recordings_that_hashed_the_compressed_bytes_still_answer() -> None:
    made = call(body=gzip.compress(b'{"a":1}', mtime=1), headers=[(b"content-encoding", b"gzip")], method="POST")
    older = event(made, "yes")
    older.signature.body_hash = hashlib.sha256(made.body or b"").hexdigest()
    assert replaying([older]).match(made).result.reply == "yes"


@pytest.mark.parametrize(
    "other",
    [
        call("http://h/b"),
        call("http://h/a?x=1"),
        call("http://h:8080/a"),
        call("https://h/a"),
        call(method="HEAD"),
        call(body=b"{}"),
        call(body=b"{ }"),
        call("http://h/a%2Fb"),
    ],
)
def test_what_makes_a_call_another_one(other: Call) -> None:
    assert SIGNER.redacted(call()).key != SIGNER.redacted(other).key
    with pytest.raises(ReplayMismatchError):
        replaying([event(other)]).match(call())


def test_empty_values_and_repeated_names_are_no_less() -> None:
    assert SIGNER.redacted(call("http://h/?b=&a=2&a=1&c")).signature.query == {"a": ["1", "2"], "b": "", "c": ""}
    assert SIGNER.redacted(call("http://h/?a=1")).key != SIGNER.redacted(call("http://h/?a=1&a=1")).key


def test_lax_matching_takes_json_of_equal_content_and_nothing_less() -> None:
    recorded = event(call(body=b'{"a": 1, "b": [2]}', method="POST"), "yes")
    same, other = call(body=b'{"b":[2],"a":1}', method="POST"), call(body=b'{"b":[3],"a":1}', method="POST")
    with pytest.raises(ReplayMismatchError):
        replaying([recorded]).match(same)
    assert replaying([recorded], strict_replay=False).match(same).result.reply == "yes"
    with pytest.raises(ReplayMismatchError):
        replaying([recorded], strict_replay=False).match(other)


def test_a_body_that_was_never_sent_to_its_end_need_not_be_read() -> None:
    failed = call(body=b"on", body_end=BodyEnd.CUT, method="POST")
    unread = call(body=None, body_end=BodyEnd.CUT, method="POST")
    session = replaying([event(failed, "refused")])
    assert not session.expects_body(unread)
    assert session.match(unread).result.reply == "refused"
    both = replaying([event(failed, "refused"), event(call(body=b"one", method="POST"), "fine")])
    assert both.expects_body(unread)
    assert both.match(call(body=b"one", method="POST")).result.reply == "fine"


def test_the_error_shows_the_call_the_nearest_ones_and_the_fields() -> None:
    recorded = [
        event(call("http://h/pay?page=1", b'{"amount": 5, "to": {"name": "Ada"}}', "POST")),
        event(call("http://h/other")),
    ]
    session = replaying(recorded)
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(call("http://h/pay?page=2", b'{"amount": 6, "to": {"name": "Bob"}}', "POST"))
    assert str(caught.value).splitlines() == [
        "No recorded call matches: httpx POST http://h/pay?page=2",
        "  nearest recorded calls:",
        "    #1 POST http://h/pay?page=1",
        "        query.page: recorded '1', now '2'",
        "        body.amount: recorded 5, now 6",
        "        body.to.name: recorded 'Ada', now 'Bob'",
        "    #2 GET http://h/other",
        "        method: recorded 'GET', now 'POST'",
        "        url: recorded 'http://h/other', now 'http://h/pay'",
        "        query.page: recorded (none), now '2'",
        '        body: recorded None, now b\'{"amount": 6, "to": {"name": "Bob"}}\'',
        f"  what to do: {UNDO}",
        "  cassette: x.msgpack",
        "  recorded request: GET /me",
    ]
    assert caught.value.expected["body.amount"] == 5
    assert caught.value.actual["body.amount"] == 6
    assert caught.value.event_index == 1
    assert session.misses == [caught.value]


def test_the_error_past_the_last_answer_says_so() -> None:
    session = replaying([event(call())])
    session.match(call())
    with pytest.raises(ReplayMismatchError, match=r"(?s)No recorded answer is left.*it was answered") as caught:
        session.match(call())
    assert "#1 GET http://h/a (answered already)" in str(caught.value)
    with pytest.raises(ReplayMismatchError, match="holds nothing like it"):
        replaying([]).match(call())


def test_the_error_survives_pickling() -> None:
    import pickle

    session = replaying([event(call())])
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(call("http://h/b"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.expected == caught.value.expected


def test_hand_written_plugins_find_their_events_by_the_fields_they_name() -> None:
    session = TraceSession()
    for n in range(3):
        session.add_event(
            DependencyEvent(
                eid=0,
                event_type=EventType.CUSTOM,
                start_offset_ms=session.elapsed_ms,
                duration_ms=0.1,
                signature=EventSignature(lib="mine", method="fetch", url=f"thing://{n % 2}", body_hash=f"hash{n}"),
                result=EventResult(status=0, body=BodySnapshot(captured=True, encoding="json", data={"n": n})),
            )
        )
    session.finalize()
    # One that comes too late is counted; an exception would reach the app, whose call was made.
    session.add_event(session.events[0])
    assert len(session.events) == 3
    assert session.to_cassette().stats.dropped == {"calls after the end": 1}
    replay = ReplaySession(session.to_cassette(), "x.msgpack", strict=False)
    bodies = [
        replay.get_next_event(EventType.CUSTOM, {"method": "fetch", "url": "thing://0"}).result.body,
        replay.get_next_event(EventType.CUSTOM, {"method": "fetch", "url": "thing://0"}).result.body,
        replay.get_next_event(EventType.CUSTOM, {"body_hash": "hash1"}).result.body,
    ]
    assert [body.data for body in bodies if body] == [{"n": 0}, {"n": 2}, {"n": 1}]
    with pytest.raises(ReplayMismatchError):
        replay.get_next_event(EventType.CUSTOM, {"method": "fetch"})


def test_any_query_can_be_looked_for() -> None:
    """A cassette is untrusted input, and a hand-written plugin's query what it likes."""
    odd = event(call())
    odd.signature.query = {"a": [1, {"b": [2]}], "c": {"d": None}}
    session = replaying([odd, event(call("http://h/b"), "yes")])
    assert session.match(call("http://h/b")).result.reply == "yes"
    assert session.get_next_event(EventType.HTTP_CLIENT, {"query": {"a": [1, {"b": [2]}], "c": {"d": None}}}) is odd


def test_headers_of_a_hand_written_plugin_keep_their_names() -> None:
    session = TraceSession()
    result = EventResult(status=200, headers={"X-Rate-Limit": "5", "Set-Cookie": "id=s3cret"})
    session.add_event(DependencyEvent(0, EventType.CUSTOM, 0.0, 1.0, EventSignature("mine", "GET"), result))
    session.finalize()
    replay = ReplaySession(session.to_cassette(), "x.msgpack")
    found = replay.get_next_event(EventType.CUSTOM, {"lib": "mine"}).result.headers
    assert found.keys() == {"X-Rate-Limit", "Set-Cookie"}
    assert found["X-Rate-Limit"] == "5"
    assert re.fullmatch("id=[a-z][0-9][a-z]{4}", found["Set-Cookie"])
    assert found["Set-Cookie"] != "id=s3cret"


def statement(args: object) -> Call:
    return Call("sqlalchemy", EventType.DB_QUERY, "INSERT", "db://h/a", args=args)


ROWS = {"name__0": "a", "price__0": 1, "name__1": "b", "nested": {"x": [{"p": 1, "q": 2}], 5: None, (1, "t"): 0}}
TURNED = {"nested": {(1, "t"): 0, 5: None, "x": [{"q": 2, "p": 1}]}, "name__1": "b", "price__0": 1, "name__0": "a"}


@pytest.mark.parametrize("ignore", [(), ("body:$.options",)])
def test_mappings_among_arguments_are_equal_in_any_order(ignore: tuple[str, ...]) -> None:
    made = statement({"statement": "INSERT", "parameters": ROWS})
    turned = statement({"parameters": TURNED, "statement": "INSERT"})
    recorded = event(made, "yes")
    recorded.call = CallSnapshot(args=made.args)
    assert replaying([recorded], ignore=ignore).match(turned).result.reply == "yes"
    other = statement({"statement": "INSERT", "parameters": {**ROWS, "name__0": "b", "name__1": "a"}})
    with pytest.raises(ReplayMismatchError):
        replaying([recorded], ignore=ignore).match(other)


def test_sequences_among_arguments_keep_their_order() -> None:
    one, other = (statement({"statement": "IN", "parameters": [[{"a": 1}], *values]}) for values in ([1, 2], [2, 1]))
    assert SIGNER.redacted(one).key != SIGNER.redacted(other).key


def test_recordings_that_hashed_mappings_as_they_came_still_answer() -> None:
    made = statement({"statement": "INSERT", "parameters": ROWS})
    events = [event(made, n) for n in range(3)]
    for older in events:
        older.call = CallSnapshot(args=made.args)
        older.signature.body_hash = hashlib.sha256(pack(made.args)).hexdigest()
    session = replaying(events)
    assert events[0].signature.body_hash != SIGNER.redacted(made).signature.body_hash
    turned = statement({"statement": "INSERT", "parameters": TURNED})
    assert [session.match(call).result.reply for call in (made, turned, made)] == [0, 1, 2]
    with pytest.raises(ReplayMismatchError):
        session.match(made)


@pytest.mark.parametrize("ask_first", [True, False])
def test_recordings_that_hashed_trace_context_still_answer(ask_first: bool) -> None:
    now, then = (
        statement({"statement": "INSERT", "parameters": {"headers": {"task": "t", "traceparent": f"00-{n}-01"}}})
        for n in ("1" * 32 + "-" + "2" * 16, "3" * 32 + "-" + "4" * 16)
    )
    older = event(then, "yes")
    older.call = CallSnapshot(args=then.args)
    older.signature.body_hash = hashlib.sha256(pack(then.args)).hexdigest()
    session = replaying([older])
    # A cluster's client of Redis asks what was recorded before it sends a command.
    assert not ask_first or session.upcoming(now, thorough=True) is older
    assert session.match(now).result.reply == "yes"
    assert session.upcoming(now) is None


def test_the_order_of_sets_within_sets_does_not_count() -> None:
    items = [frozenset({name}) for name in "abcdefgh"]
    keys = {SIGNER.redacted(statement([set(order)])).key for order in (items, items[::-1])}
    in_rows = {pack({(1, item) for item in order}) for order in (items, items[::-1])}
    assert len(keys) == len(in_rows) == 1


def strange() -> object:
    """A value whose content cannot be seen, so that no cassette can hold it, nor anything that stands for it."""
    return iter([1])


def stranger() -> object:
    """Another one, of another class."""
    return iter((1,))


def test_a_call_that_no_cassette_can_hold_replays_the_error_it_was_recorded_with() -> None:
    config = TraceConfig(mode=TraceMode.RECORD)
    trace = TraceSession(config)
    with pytest.raises(TypeError, match="cannot adapt it"):
        run(flow(Refusing({"statement": "SELECT", "parameters": [1, strange()]}), trace))
    run(flow(Refusing({"statement": "SELECT", "parameters": [2, strange()]}, fails=False), trace))
    events = trace.to_cassette().events
    assert [recorded.not_replayable is None for recorded in events] == [True, False]
    assert events[0].call is not None
    assert events[0].call.args == {"statement": "SELECT", "parameters": [1, {"timetracer:no-encoding": HERE}]}
    session = replaying(events)
    for parameters in ([3, strange()], [1, stranger()], [2, strange()]):
        with pytest.raises(ReplayMismatchError):
            run(flow(Refusing({"statement": "SELECT", "parameters": parameters}), session))
    with pytest.raises(TypeError, match="cannot adapt it"):
        run(flow(Refusing({"statement": "SELECT", "parameters": [1, strange()]}), session))
    assert len(session.misses) == 3


HERE = "builtins.list_iterator"


class Refusing(Site):
    """A call that fails, or not."""

    lib = "sqlalchemy"

    def __init__(self, args: object, fails: bool = True) -> None:
        self.args, self.fails = args, fails

    def live(self) -> object:
        if self.fails:
            raise TypeError("cannot adapt it")
        return None

    def call(self) -> Call:
        return statement(self.args)

    def returned(self, value: object, recording: Recording) -> object:
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        return EventResult(reply={})

    def rebuild_error(self, error: RecordedError) -> BaseException:
        return rebuild_error(error, ())


@pytest.mark.parametrize("recorded", [b'{"a": 1}', b'{"password": "[REDACTED]"}'])
def test_a_body_that_is_equal_as_it_is_need_not_be_searched(recorded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    made = call("http://h/a", recorded, "POST")
    session = replaying([event(made, 1), event(call("http://h/a", b'{"a": 2}', "POST"), 2)])
    with monkeypatch.context() as patch:
        patch.setattr(Redactor, "body", lambda *_: pytest.fail("searched"))
        assert session.match(made).result.reply == 1
    with pytest.raises(ReplayMismatchError):
        session.match(made)


def test_a_body_with_another_secret_than_the_recorded_one_is_equal_once_it_is_redacted() -> None:
    masked = call("http://h/a", b'{"password": "[REDACTED]", "a": 1}', "POST")
    session = replaying([event(masked, 1)])
    with pytest.raises(ReplayMismatchError):
        session.match(call("http://h/a", b'{"password": "hunter22", "a": 2}', "POST"))
    assert session.match(call("http://h/a", b'{"password": "hunter22", "a": 1}', "POST")).result.reply == 1


@pytest.mark.parametrize("headers_are_known", [False, True])
@pytest.mark.parametrize("kind", [b"text/plain", b"multipart/form-data; boundary=A", b"text/html"])
def test_a_body_is_not_taken_for_one_of_another_kind_that_was_recorded_as_it_is(
    kind: bytes, headers_are_known: bool
) -> None:
    """What is a secret in a form is none in a text. So the equal bytes of a text are not the form's recorded ones."""
    body = b"fruit=pear&password=s1"
    first, form, other = (
        call("http://h/a", data, "POST", headers=[(b"content-type", content)])
        for data, content in ((b"first=1", FORM), (body, FORM), (body, kind))
    )
    recorded = [event(first, "first"), event(other, "other"), event(form, "form")]
    assert recorded[1].signature.body_hash != recorded[2].signature.body_hash
    session = replaying(recorded)
    if headers_are_known:
        after(session, first)
    for made, expected in ((form, "form"), (other, "other")):
        found = as_recorded(session, made) or session.match(made)
        assert found.result.reply == expected


FORM = b"application/x-www-form-urlencoded"


def as_recorded(session: ReplaySession, made: Call, path: tuple[str, ...] = ()) -> DependencyEvent | None:
    return session.match_as_recorded(
        made.lib, (made.method, made.url or "", made.body or b"", list(made.headers)), path
    )


def after(session: ReplaySession, made: Call) -> ReplaySession:
    """A session that has answered this call."""
    known = session.redacted(made)
    session.match(known)
    session.keep_headers(known, list(made.headers))
    return session


PLAIN = [(b"Accept", b"*/*"), (b"Content-Type", b"application/json")]


@pytest.mark.parametrize("body", [None, b'{"a": 1}'])
def test_a_call_with_headers_as_before_is_found_without_being_redacted(body: bytes | None) -> None:
    made = call("http://h/a?x=1", body, "POST", headers=PLAIN)
    first = call("http://h/b", b"2", "POST", headers=PLAIN)
    session = replaying([event(first, 1), event(made, 2), event(made, 3)])
    assert as_recorded(session, made) is None, "nothing is known of its headers"
    after(session, first)
    found = [as_recorded(session, made) for _ in range(3)]
    assert [one and one.result.reply for one in found] == [2, 3, None]


def test_equal_calls_that_are_found_so_are_told_apart_by_their_spans() -> None:
    first, made = call("http://h/b", headers=PLAIN), call("http://h/a", headers=PLAIN)
    events = [event(first, 1), event(made, 2, ("root", "a")), event(made, 3, ("root", "b"))]
    session = after(replaying(events), first)
    found = as_recorded(session, made, ("root", "b"))
    assert found is not None
    assert found.result.reply == 3
    found = as_recorded(session, made, ("root", "b"))
    assert found is not None
    assert found.result.reply == 2


@pytest.mark.parametrize(
    "made",
    [
        call("http://h/a", b"{}", "POST", headers=[*PLAIN, (b"X", b"1")]),
        call("http://h/a", b"{}", "PUT", headers=PLAIN),
        call("http://h/a", b"[]", "POST", headers=PLAIN),
        call("http://h/c", b"{}", "POST", headers=PLAIN),
    ],
    ids=["headers", "method", "body", "url"],
)
def test_a_call_that_differs_is_not_found_so(made: Call) -> None:
    first, recorded = (call(f"http://h/{path}", b"{}", "POST", headers=PLAIN) for path in "ba")
    session = after(replaying([event(first, 1), event(recorded, 2)]), first)
    assert as_recorded(session, made) is None
    assert as_recorded(session, recorded) is not None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-encoding", b"gzip")],
        [(b"Content-Type", b"Multipart/form-data; boundary=A")],
        [(b"x-signature", b"s1")],
    ],
    ids=["encoded", "multipart", "signed"],
)
def test_headers_on_which_more_depends_are_not_kept(headers: list[tuple[bytes, bytes]]) -> None:
    made = call("http://h/a", b"--A--", "POST", headers=headers)
    session = after(replaying([event(made, 1), event(made, 2)]), made)
    assert as_recorded(session, made) is None
    assert session.match(made).result.reply == 2


def test_rules_about_a_match_count_in_each_call() -> None:
    made = call(headers=PLAIN)
    session = after(replaying([event(made, 1), event(made, 2)], match_on=["method", "url", "headers:accept"]), made)
    assert as_recorded(session, made) is None
    assert session.match(made).result.reply == 2


def test_a_body_with_a_hash_that_was_made_of_other_bytes_is_not_found_by_it() -> None:
    """Trace context is cut out before a body is hashed."""
    traced = b'{"traceparent": "00-' + b"1" * 32 + b"-" + b"2" * 16 + b'-01", "a": 1}'
    made = call("http://h/a", traced, "POST", headers=PLAIN)
    session = after(replaying([event(made, 1), event(made, 2)]), made)
    assert as_recorded(session, made) is None
    assert session.match(made).result.reply == 2


_ANY_CALL = st.builds(
    lambda path, body, headers: call(f"http://h/{path}", body, "POST", headers=headers),
    st.sampled_from(["a", "b", "a?token=s1", "a?token=s2", "a?x=1&y=2", "a?y=2&x=1"]),
    st.sampled_from([None, b"", b"1", b'{"password": "s1"}', b'{"password": "[REDACTED]"}', b"--A--", b"--B--"]),
    st.sampled_from([[], PLAIN, MULTIPART_A, MULTIPART_B, [(b"authorization", b"s3")], [(b"x-signature", b"s4")]]),
)


@given(st.lists(_ANY_CALL, max_size=8), st.lists(_ANY_CALL, max_size=12), st.booleans(), st.data())
def test_what_is_found_without_redaction_is_what_redaction_would_find(
    recorded: list[Call], others: list[Call], repeats: bool, data: st.DataObject
) -> None:
    asked = data.draw(st.permutations([*recorded, *others]))
    quick, thorough = (
        replaying([event(made, eid) for eid, made in enumerate(recorded)], allow_repeats=repeats) for _ in range(2)
    )
    for made in asked:
        try:
            expected = thorough.match(made).result.reply
        except ReplayMismatchError:
            expected = "missed"
        one = as_recorded(quick, made)
        if one is None:
            known = quick.redacted(made)
            try:
                one = quick.match(known)
            except ReplayMismatchError:
                pass
            else:
                quick.keep_headers(known, list(made.headers))
        assert (one.result.reply if one is not None else "missed") == expected


def as_it_is(session: ReplaySession, made: Call, path: tuple[str, ...] = ()) -> DependencyEvent | None:
    return session.match_as_recorded(made.lib, (made.method, made.url or "", made.args, None), path)


OF_RECORDING = Signer(Redactor.from_policies(AppliedPolicies()))
"""As `replaying` has it."""


def arguments_event(made: Call, answer: object = None, path: tuple[str, ...] = ()) -> DependencyEvent:
    recorded = event(made, answer, path)
    redacted = OF_RECORDING.redacted(made)
    recorded.signature, recorded.call = redacted.signature, CallSnapshot(args=redacted.args)
    return recorded


def words(*given: object) -> Call:
    return Call("redis", EventType.REDIS, str(given[0]), "redis://h/0", args=list(given))


def select(**parameters: object) -> Call:
    return statement({"statement": "SELECT a FROM t WHERE b = :b", "parameters": parameters})


@pytest.mark.parametrize("made", [words("GET", "a"), select(b=1, c="x")], ids=["redis", "sqlalchemy"])
def test_arguments_that_are_equal_as_they_are_need_not_be_searched(
    made: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = replaying([arguments_event(made, 1), arguments_event(made, 2, ("root", "b"))])
    with monkeypatch.context() as patch:
        patch.setattr(Redactor, "value", lambda *_: pytest.fail("searched"))
        found = [as_it_is(session, made, ("root", "b")) for _ in range(3)]
    assert [one and one.result.reply for one in found] == [2, 1, None]
    assert session.verdict().ok


VALUES = (1, True, 1.0, "1", b"1", None, 0, False, "", [1], [True], {"a": 1}, {"a": True})


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_a_bound_value_is_found_by_its_exact_type(value: object) -> None:
    others = [other for other in VALUES if repr(other) != repr(value)]
    session = replaying(
        [*(arguments_event(select(b=other), "another") for other in others), arguments_event(select(b=value), 1)]
    )
    found = as_it_is(session, select(b=value))
    assert found is not None
    assert found.result.reply == 1
    assert as_it_is(session, select(b=value)) is None


def test_the_secrets_of_arguments_tell_equal_calls_apart_all_the_same() -> None:
    masked = arguments_event(words("AUTH", "user", "hunter22"), 1)
    session = replaying([masked])
    assert as_it_is(session, words("AUTH", "user", "hunter22")) is None, "its secret stands in no recording"
    assert session.match(words("AUTH", "user", "hunter22")).result.reply == 1


@pytest.mark.parametrize(
    "settings", [{"ignore_sql_params": ["b"]}, {"ignore": ["sql:t.b"]}, {"match_on": ["method"]}], ids=repr
)
def test_rules_about_arguments_count_in_each_call(settings: dict[str, object]) -> None:
    session = replaying([arguments_event(select(b=1), 1), arguments_event(select(b=2), 2)], **settings)
    assert as_it_is(session, select(b=2)) is None
    assert session.match(select(b=2)).result.reply == 1


_LEAF = st.sampled_from(
    [0, 1, True, False, 1.0, None, "1", b"1", "é", "\ud800", 1 << 70, "[REDACTED]", "traceparent"]
)
_ARGUMENTS = st.one_of(
    st.builds(
        lambda values: select(**values), st.dictionaries(st.sampled_from(["b", "password", "c"]), _LEAF, max_size=3)
    ),
    st.builds(
        lambda rows: statement({"statement": "INSERT INTO t VALUES (:b)", "many": rows}),
        st.lists(st.fixed_dictionaries({"b": _LEAF}), max_size=3),
    ),
    st.builds(
        lambda name, items: words(name, "k", *items),
        st.sampled_from(["GET", "SADD", "AUTH", "HSET"]),
        st.lists(st.sampled_from(["a", "b", "1"]), max_size=3),
    ),
    st.builds(
        lambda lines: Call("redis", EventType.REDIS, "PIPELINE", "redis://h/0", args=lines),
        st.lists(st.lists(st.sampled_from(["GET", "a", "b"]), min_size=1, max_size=3), min_size=2, max_size=3),
    ),
)


@given(st.lists(_ARGUMENTS, max_size=8), st.lists(_ARGUMENTS, max_size=12), st.booleans(), st.data())
def test_arguments_are_found_as_they_are_where_redaction_would_find_them(
    recorded: list[Call], others: list[Call], repeats: bool, data: st.DataObject
) -> None:
    asked = data.draw(st.permutations([*recorded, *others]))
    quick, thorough = (
        replaying([arguments_event(made, eid) for eid, made in enumerate(recorded)], allow_repeats=repeats)
        for _ in range(2)
    )
    for made in asked:
        try:
            expected = thorough.match(made).result.reply
        except ReplayMismatchError:
            expected = "missed"
        one = as_it_is(quick, made)
        if one is None:
            try:
                one = quick.match(made)
            except ReplayMismatchError:
                pass
        assert (one.result.reply if one is not None else "missed") == expected
    assert [one.eid for one in quick.verdict().hits] == [one.eid for one in thorough.verdict().hits]
    assert quick.current_cursor == thorough.current_cursor


_PLAIN_OR_NOT = st.recursive(
    st.one_of(_LEAF, st.just(bytearray(b"1")), st.just((1, 2)), st.just(frozenset({1}))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["b", "a", "c"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_PLAIN_OR_NOT)
def test_the_short_way_to_the_bytes_of_arguments_gives_the_same_bytes(value: object) -> None:
    found = packed_if_plain(value)
    assert found is None or found == pack(canonical(value))
