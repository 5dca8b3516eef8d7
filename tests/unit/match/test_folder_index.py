"""A folder of cassettes: which one answers a request that comes in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.sample_cassettes import body, cassette, http_event
from timetracer_otel.cassette import save_cassette
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.match.roots import fits_route, root_facts
from timetracer_otel.types import AppliedPolicies, Cassette, HeaderMap, RequestSnapshot, SessionMeta

JSON = ((b"Content-Type", b"application/json"),)


def request(
    target: str = "/items", method: str = "GET", data: bytes | None = None, **changes: Any
) -> RequestSnapshot:
    """A request as a middleware states it."""
    path, _, query = target.partition("?")
    values: dict[str, Any] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        values[name] = [*values[name], value] if isinstance(values.get(name), list) else value
    headers = changes.pop("headers", JSON if data is not None else ((b"Host", b"a"),))
    snapshot = RequestSnapshot(method, path, headers=HeaderMap(headers), query=values)
    snapshot.body = body(data) if data is not None else None
    for name, value in changes.items():
        setattr(snapshot, name, value)
    return snapshot


class Folder:
    """Cassettes of requests, each a second after the former."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0

    def add(self, recorded: RequestSnapshot, name: str = "", **changes: Any) -> str:
        self._count += 1
        identity = f"{self._count:08d}-0000-4000-8000-000000000000"
        session = SessionMeta(
            id=identity, recorded_at=f"2026-03-01T12:00:{self._count:02d}+00:00", service="", env=""
        )
        values = {"session": session, "request": recorded, **changes}
        events = values.pop("events", [http_event(1, f"http://up/{self._count}")])
        # Names that would come in another order.
        file = name or f"{99 - self._count}.msgpack"
        return save_cassette(cassette(events, **values), self.path / file)

    def index(self) -> FolderIndex:
        return FolderIndex(self.path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def chosen(index: FolderIndex, asked: RequestSnapshot, name: str | None = None) -> str | None:
    """The event of the cassette that is chosen, by its URL."""
    entry = index.choose(asked, name)
    return None if entry is None else (index.read(entry).events[0].signature.url or "").rpartition("/")[2]


def test_method_and_path_must_be_equal(folder: Folder) -> None:
    folder.add(request("/items"))
    folder.add(request("/items", "POST"))
    index = folder.index()
    assert chosen(index, request("/items")) == "1"
    assert chosen(index, request("/items", "POST")) == "2"
    assert chosen(index, request("/items", "DELETE")) is None
    assert chosen(index, request("/items/")) is None


def test_equal_recordings_are_taken_in_turn_and_then_again(folder: Folder) -> None:
    for _ in range(3):
        folder.add(request())
    index = folder.index()
    assert [chosen(index, request()) for _ in range(7)] == ["1", "2", "3", "1", "2", "3", "1"]
    assert index.unused() == []


TARGETS = st.sampled_from(["/a?q=1", "/a?q=2", "/a?q=1&token=x", "/a", "/b/1?q=1", "/b/2"])
BODIES = st.sampled_from([None, b"", b'{"a": 1}', b'{"a": 2}'])
UNKNOWN = st.booleans()


@examples(25)
@given(
    st.lists(st.tuples(TARGETS, BODIES, UNKNOWN, st.sampled_from(["default", "off"])), min_size=1, max_size=12),
    st.lists(
        st.tuples(TARGETS, BODIES, UNKNOWN, st.sampled_from(["choose", "choose", "withdraw", "named"])), max_size=25
    ),
)
def test_the_choice_is_that_of_a_look_at_each_recording(recorded: list[Any], steps: list[Any]) -> None:
    def asked(target: str, data: bytes | None, is_unknown: bool) -> RequestSnapshot:
        changes: dict[str, Any] = {"route_template": "/b/{id}"} if target.startswith("/b") else {}
        if is_unknown and data is None:
            changes["headers"] = ()
        return request(target, data=data, **changes)

    with tempfile.TemporaryDirectory() as below:
        folder = Folder(Path(below))
        for target, data, is_unknown, mode in recorded:
            folder.add(asked(target, data, is_unknown), policies=AppliedPolicies(redaction_mode=mode))
        index = folder.index()
        uses = dict.fromkeys([entry.path for entry in index.entries], 0)
        last = None
        for target, data, is_unknown, step in steps:
            now = asked(target, data, is_unknown)
            if step == "withdraw":
                if last is not None:
                    index.withdraw(last)
                    uses[last] -= 1
                last = None
                continue
            if step == "named":
                named = index.choose(now, Path(index.entries[0].path).name)
                assert named is not None
                uses[named.path] += 1
                continue
            alike = [entry for entry in index.entries if entry.facts.path == now.path] or [
                entry for entry in index.entries if entry.route and now.path.startswith("/b/")
            ]
            facts = {entry.path: root_facts(now, entry.redactor) for entry in alike}
            of_query = [entry for entry in alike if entry.facts.query == facts[entry.path].query]
            assert index.has(now) is bool(alike)
            assert index.expects_body(now) is (len({entry.facts.body for entry in of_query or alike}) > 1)
            best = max((entry.facts.likeness(facts[entry.path]) for entry in alike), default=None)
            fitting = [entry for entry in alike if entry.facts.likeness(facts[entry.path]) == best]
            expected = min(fitting, key=lambda entry: uses[entry.path], default=None)
            found = index.choose(now)
            assert found is expected
            last = found.path if found is not None else None
            if last is not None:
                uses[last] += 1
        assert {entry.path: entry.uses for entry in index.entries} == uses


def test_an_equal_query_comes_first_whatever_its_order(folder: Folder) -> None:
    folder.add(request("/items?page=1&size=9"))
    folder.add(request("/items?page=2&size=9"))
    folder.add(request("/items?tag=a&tag=b", query={"tag": ["a", "b"]}))
    index = folder.index()
    assert chosen(index, request("/items?size=9&page=2")) == "2"
    assert chosen(index, request(query={"tag": ["b", "a"]})) == "3"


def test_without_an_equal_query_the_one_with_most_in_common_is_chosen(folder: Folder) -> None:
    folder.add(request("/items?page=1&size=9&sort=up"))
    folder.add(request("/items?page=2&size=9&sort=up"))
    index = folder.index()
    asked = request("/items?page=2&size=9&sort=down")
    assert chosen(index, asked) == "2"
    (entry,) = (entry for entry in index.entries if entry.uses)
    assert index.departure(entry, asked) == "GET /items?page=2&size=9&sort=down"
    assert index.departure(entry, request("/items?page=2&size=9&sort=up")) is None


def test_an_equal_body_decides_between_equal_queries(folder: Folder) -> None:
    folder.add(request(method="POST", data=b'{"a": 1, "b": [2]}'))
    folder.add(request(method="POST", data=b'{"a": 2, "b": [2]}'))
    folder.add(request(method="POST", data=b"a=1", headers=((b"Content-Type", b"text/plain"),)))
    index = folder.index()
    assert chosen(index, request(method="POST", data=b'{"b":[2],"a":2}')) == "2"
    assert chosen(index, request(method="POST", data=b"a=1", headers=((b"Content-Type", b"text/plain"),))) == "3"
    other = request(method="POST", data=b'{"a":3}')
    assert index.departure(index.entries[0], other) == "POST /items, with another body"


def test_the_boundary_of_a_multipart_body_does_not_count(folder: Folder) -> None:
    def form(boundary: bytes, text: bytes) -> RequestSnapshot:
        data = b'--%b\r\nContent-Disposition: form-data; name="a"\r\n\r\n%b\r\n--%b--\r\n' % (
            boundary,
            text,
            boundary,
        )
        headers = ((b"Content-Type", b"multipart/form-data; boundary=" + boundary),)
        return request(method="POST", data=data, headers=headers)

    folder.add(form(b"one", b"first"))
    folder.add(form(b"two", b"second"))
    assert chosen(folder.index(), form(b"three", b"second")) == "2"


def test_a_body_is_asked_for_only_where_the_choice_depends_on_it(folder: Folder) -> None:
    folder.add(request(method="POST", data=b"1"))
    folder.add(request(method="POST", data=b"2"))
    folder.add(request("/items?x=1", "POST", data=b"3"))
    folder.add(request("/one", "PUT", data=b"1"))
    index = folder.index()
    assert index.expects_body(request(method="POST", data=None))
    assert not index.expects_body(request("/items?x=1", "POST"))
    assert index.expects_body(request("/items?x=2", "POST"))
    assert not index.expects_body(request("/one", "PUT"))
    assert not index.expects_body(request("/other", "PUT"))


def test_secrets_are_compared_as_the_recording_holds_them(folder: Folder) -> None:
    policies = AppliedPolicies(redaction_rules=["headers", "name:ssn"])
    folder.add(
        request(method="POST", data=b'{"ssn": "[REDACTED]", "n": 1}', query={"token": "[REDACTED]", "ssn": ""})
    )
    folder.add(
        request(
            method="POST", data=b'{"ssn": "[REDACTED]", "n": 2}', query={"token": "[REDACTED]", "ssn": "[REDACTED]"}
        ),
        policies=policies,
    )
    asked = request("/items?token=t0p&ssn=078", "POST", data=b'{"ssn":"078-05","n":2}')
    index = folder.index()
    assert chosen(index, asked) == "2"
    assert index.departure(index.entries[1], asked) is None


@pytest.mark.parametrize(
    ("template", "path", "fits"),
    [
        ("/users/{id}", "/users/9", True),
        ("/users/{id}", "/users/9/", False),
        ("/users/{id}", "/users/9/posts", False),
        ("/users/{id:int}", "/users/nine", False),
        ("/files/{rest:path}", "/files/a/b.txt", True),
        ("/users/<int:id>", "/users/9", True),
        ("/users/<int:id>", "/users/nine", False),
        ("/users/<name>", "/users/nine", True),
        ("/u/<string(length=2):lang>/x", "/u/de/x", True),
        ("users/<uuid:id>/", "/users/5a4d2c1e-0000-4000-8000-000000000000/", True),
        ("/a.b/{id}", "/aXb/1", False),
        ("^users/(?P<id>[0-9]+)/$", "/users/9/", False),
        ("/users", "/users", False),
    ],
)
def test_routes_of_the_frameworks_fit_their_paths(template: str, path: str, fits: bool) -> None:
    assert fits_route(template, path) is fits


def test_a_route_counts_where_no_path_is_equal(folder: Folder) -> None:
    folder.add(request("/users/7", route_template="/users/{id}"))
    folder.add(request("/users/8", route_template="/users/{id}"))
    folder.add(request("/users/me"))
    index = folder.index()
    assert chosen(index, request("/users/8")) == "2"
    assert chosen(index, request("/users/9")) == "1", "it was chosen less often"
    assert chosen(index, request("/users/me")) == "3"
    assert chosen(index, request("/users/9", "PUT")) is None


def test_a_cassette_can_be_named(folder: Folder) -> None:
    folder.add(request())
    (folder.path / "below").mkdir()
    folder.add(request(), "below/second.msgpack")
    index = folder.index()
    for name in ("00000002", "00000002-0000-4000-8000-000000000000", "second.msgpack", "below/second.msgpack"):
        assert chosen(index, request("/other"), name) == "2"
    assert chosen(index, request(), "third.msgpack") is None
    assert index.name_of(index.entries[1]) == "below/second.msgpack"


def test_jobs_are_chosen_by_kind_and_name(folder: Folder) -> None:
    folder.add(RequestSnapshot("INTERNAL", "nightly report"))
    assert chosen(folder.index(), RequestSnapshot("INTERNAL", "nightly report")) == "1"


def test_what_is_nearest_is_shown_with_what_differs(folder: Folder) -> None:
    folder.add(request("/users/7?full=1", "POST", data=b'{"name": "Ada", "age": 36}'))
    folder.add(request("/completely/else"))
    folder.add(RequestSnapshot("", ""))
    asked = request("/users/8?full=1", "POST", data=b'{"name":"Bob","age":36}')
    assert folder.index().nearest(asked) == [
        (
            "POST /users/7 (98.msgpack)\n    path: recorded '/users/7', now '/users/8'\n"
            "    body.name: recorded 'Ada', now 'Bob'"
        )
    ]


def test_recordings_outside_requests_are_joined(folder: Folder) -> None:
    folder.add(request())
    outside = RequestSnapshot("", "")
    folder.add(outside, events=[http_event(1, "http://up/a"), http_event(2, "http://up/b")])
    folder.add(outside, events=[http_event(1, "http://up/x")], policies=AppliedPolicies(redaction_mode="off"))
    folder.add(outside, events=[http_event(1, "http://up/c")])
    index = folder.index()
    joined = index.outside()
    assert [(event.eid, event.signature.url) for event in joined.events] == [
        (1, "http://up/a"),
        (2, "http://up/b"),
        (3, "http://up/c"),
    ]
    assert joined.path == str(folder.path)
    assert [fault.path for fault in index.broken] == [str(folder.path / "96.msgpack")]
    assert len(index.entries) == 1


def test_a_broken_file_is_left_out_and_told(folder: Folder) -> None:
    folder.add(request())
    (folder.path / "broken.msgpack").write_bytes(b"\x00garbage")
    (folder.path / "notes.txt").write_text("no cassette")
    index = folder.index()
    assert [fault.path for fault in index.broken] == [str(folder.path / "broken.msgpack")]
    assert chosen(index, request()) == "1"


def test_a_folder_without_a_readable_cassette_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CassetteNotFoundError):
        FolderIndex(tmp_path / "none")
    with pytest.raises(CassetteError, match=r"There is no cassette in .*\. Record some with: timetracer-otel record"):
        FolderIndex(tmp_path)
    (tmp_path / "broken.msgpack").write_bytes(b"\x00garbage")
    with pytest.raises(
        CassetteError, match=r"None of the 1 files in it can be read: .*broken\.msgpack is not a cassette"
    ):
        FolderIndex(tmp_path)


def test_only_so_many_bytes_of_events_are_kept(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [folder.add(request(f"/{number}")) for number in range(4)]
    size = Path(paths[0]).stat().st_size
    monkeypatch.setattr("timetracer_otel.match.folder_index.MAX_CACHED_BYTES", 2 * size + 100)
    index = folder.index()
    read: list[Cassette] = [index.read(entry) for entry in index.entries]
    assert index.read(index.entries[3]) is read[3]
    assert index.read(index.entries[2]) is read[2]
    assert index.read(index.entries[0]) is not read[0]
