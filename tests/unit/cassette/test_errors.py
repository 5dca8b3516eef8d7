"""`record_error` and `rebuild_error`: the same class, arguments and attributes, and nothing run on the way."""

from __future__ import annotations

import asyncio
import email.errors
import errno
import http.client
import importlib
import json
import os
import socket
import sqlite3
import ssl
import struct
import sys
import urllib.error
import uuid
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from timetracer_otel.cassette import pack, rebuild_error, record_error, unpack
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import RecordedError

ROOTS = {"httpx", "httpcore"}


def raised(call: Any) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


def through_a_cassette(error: BaseException, roots: Any = ROOTS) -> BaseException:
    return rebuild_error(unpack(pack(record_error(error))), roots)


def _refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        socket.create_connection(free.getsockname(), timeout=60)


def _handshake() -> None:
    left, right = socket.socketpair()
    with left, right:
        right.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")
        ssl.create_default_context().wrap_socket(left, server_hostname="localhost")


ERRORS: dict[str, Any] = {
    "ValueError": lambda: int("x"),
    "KeyError": lambda: dict[str, int]()["a"],
    "no arguments": lambda: (_ for _ in ()).throw(RuntimeError()),
    "arguments": lambda: (_ for _ in ()).throw(RuntimeError("a", 1, b"\xff", (1, 2), {"k": Decimal(1)})),
    "StopIteration": lambda: next(iter(())),
    "TimeoutError": lambda: (_ for _ in ()).throw(TimeoutError("timed out")),
    "refused": _refused,
    "FileNotFoundError": lambda: open("/no/such/file"),  # noqa: SIM115
    "rename": lambda: os.rename("/no/such/file", "/no/other"),  # noqa: PTH104
    "OSError of one argument": lambda: (_ for _ in ()).throw(OSError("just text")),
    "BlockingIOError": lambda: (_ for _ in ()).throw(BlockingIOError(errno.EAGAIN, "again")),
    "gaierror": lambda: (_ for _ in ()).throw(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
    "SSL": _handshake,
    "certificate": lambda: (_ for _ in ()).throw(_certificate_error()),
    "JSON": lambda: json.loads('{"a": }'),
    "UnicodeDecodeError": lambda: b"\xff".decode("utf-8"),
    "UnicodeEncodeError": lambda: "\udcff".encode(),
    "zlib": lambda: zlib.decompress(b"x"),
    "struct": lambda: struct.unpack(">I", b""),
    "sqlite3": lambda: sqlite3.connect(":memory:").execute("nonsense"),
    "IncompleteRead": lambda: (_ for _ in ()).throw(http.client.IncompleteRead(b"half", 10)),
    "RemoteDisconnected": lambda: (_ for _ in ()).throw(http.client.RemoteDisconnected("closed")),
    "URLError": lambda: (_ for _ in ()).throw(urllib.error.URLError("why")),
    "IncompleteReadError": lambda: (_ for _ in ()).throw(asyncio.IncompleteReadError(b"half", 10)),
    "CancelledError": lambda: (_ for _ in ()).throw(asyncio.CancelledError("by me")),
    "ImportError": lambda: __import__("no_such_module_at_all"),
    "AttributeError": lambda: object().nothing,  # type: ignore[attr-defined]
    "SyntaxError": lambda: compile("a b", "file.py", "exec"),
    "httpx.ReadTimeout": lambda: (_ for _ in ()).throw(httpx.ReadTimeout("timed out")),
    "httpx.ConnectError": lambda: httpx.get("http://127.0.0.1:1", trust_env=False),
    "httpx.InvalidURL": lambda: httpx.URL("http://[::"),
}


STATE = (
    "errno", "strerror", "filename", "filename2", "reason", "library", "verify_code", "verify_message", "doc",
    "pos", "lineno", "colno", "msg", "object", "start", "end", "encoding", "partial", "expected", "value",
    "name", "offset", "sqlite_errorcode", "sqlite_errorname", "text", "characters_written",
)  # fmt: skip


def _certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.reason, error.library = "CERTIFICATE_VERIFY_FAILED", "SSL"
    error.verify_code, error.verify_message = 18, "self-signed certificate"
    return error


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_errors_come_back_as_the_same_class_with_the_same_state(name: str) -> None:
    error = raised(ERRORS[name])
    found = through_a_cassette(error)
    assert type(found) is type(error)
    assert found.args == error.args
    assert str(found) == str(error)
    for attribute in STATE:
        missing = object()
        assert getattr(found, attribute, missing) == getattr(error, attribute, missing) or (
            getattr(error, attribute, missing) is missing and getattr(found, attribute, missing) is missing
        ), attribute


def test_an_oserror_that_is_no_subclass_stays_one() -> None:
    error = OSError("x")
    error.args = (errno.ENOENT, "not a FileNotFoundError")
    assert type(through_a_cassette(error)) is OSError


def test_httpx_errors_know_no_request_until_the_client_gives_them_one() -> None:
    error = httpx.ConnectTimeout("timed out", request=httpx.Request("GET", "http://example.com"))
    recorded = record_error(error)
    assert recorded.attributes == {}
    assert recorded.unfaithful is None
    found = rebuild_error(recorded, ROOTS)
    assert isinstance(found, httpx.ConnectTimeout)
    found.request = httpx.Request("GET", "http://example.org")
    assert found.request.url == "http://example.org"
    unbound = through_a_cassette(httpx.ConnectTimeout("timed out"))
    with pytest.raises(RuntimeError, match="request"):
        _ = unbound.request  # type: ignore[attr-defined]


def test_the_chain_of_causes_comes_back() -> None:
    error = raised(ERRORS["httpx.ConnectError"])
    found = through_a_cassette(error)
    chain = []
    left: BaseException | None = error
    right: BaseException | None = found
    while left is not None:
        assert type(right) is type(left)
        assert right is not None
        chain.append(type(left).__name__)
        left, right = left.__cause__, right.__cause__
    assert chain[0] == "ConnectError"
    assert len(chain) >= 2


def test_chains_and_circles_end() -> None:
    long: BaseException = ValueError("0")
    for number in range(1, 30):
        outer = ValueError(str(number))
        outer.__cause__ = long
        long = outer
    recorded: RecordedError | None = record_error(long)
    depth = 0
    while recorded is not None:
        depth += 1
        recorded = recorded.cause
    assert depth == 9
    circle = ValueError("circle")
    circle.itself = circle  # type: ignore[attr-defined]
    circle.__cause__ = circle
    found = record_error(circle)
    assert (found.cause, found.attributes) == (None, {})
    wide = ValueError("wide")
    wide.args = tuple(ValueError(str(number)) for number in range(1000))
    assert record_error(wide).unfaithful is not None


def test_a_cause_that_is_not_permitted_says_so_in_its_place() -> None:
    error = raised(ERRORS["httpx.ConnectError"])
    found = rebuild_error(record_error(error), {"httpx"})
    assert type(found) is httpx.ConnectError
    assert isinstance(found.__cause__, CassetteError)
    assert "httpcore" in str(found.__cause__)


def test_errors_within_errors_come_back() -> None:
    error = httpx.ConnectError("outer")
    error.args = ("outer", ConnectionResetError(errno.ECONNRESET, "reset"))
    error.reasons = [TimeoutError("late"), "text"]  # type: ignore[attr-defined]
    found = through_a_cassette(error)
    assert type(found.args[1]) is ConnectionResetError
    assert found.args[1].errno == errno.ECONNRESET
    assert type(found.reasons[0]) is TimeoutError  # type: ignore[attr-defined]
    assert found.reasons[1] == "text"  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups of exceptions came with Python 3.11")
def test_groups_of_exceptions_come_back() -> None:
    error = ExceptionGroup("all failed", [OSError(errno.ECONNREFUSED, "a"), ValueError("b")])  # type: ignore[name-defined,unused-ignore]  # noqa: F821
    found: Any = through_a_cassette(error)
    assert type(found) is type(error)
    assert [type(one) for one in found.exceptions] == [ConnectionRefusedError, ValueError]
    assert found.message == "all failed"


def test_an_argument_without_encoding_makes_the_error_unfaithful() -> None:
    recorded = record_error(ValueError("kept", object()))
    assert recorded.args[0] == "kept"
    assert "argument 1: " in str(recorded.unfaithful)
    with pytest.raises(CassetteError, match=r"not recorded faithfully.*Record it again"):
        rebuild_error(recorded, ROOTS)


def test_what_is_recorded_does_not_change_with_the_apps_objects() -> None:
    payload = {"a": [1]}
    recorded = record_error(ValueError(payload))
    payload["a"].append(2)
    assert recorded.args == ({"a": [1]},)


def test_recording_never_raises() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

        @property
        def code(self) -> int:
            raise RuntimeError("no code")

    recorded = record_error(OddError("a", OddError()), extra=("code", "nothing"))
    assert recorded.message == "<" + OddError.__qualname__ + ">"
    assert recorded.attributes == {}


def test_extra_names_are_read_from_where_the_dictionary_has_nothing() -> None:
    class CodedError(Exception):
        sqlstate = "23505"
        empty = None

    recorded = record_error(CodedError("x"), extra=("sqlstate", "empty", "nothing"))
    assert recorded.attributes == {"sqlstate": "23505"}


class PickyError(Exception):
    """A library's error: its constructor takes other arguments than it keeps, and must not run on replay."""

    constructed = 0
    __slots__ = ("_code", "slotted")

    def __init__(self, code: int, *, reason: str) -> None:
        type(self).constructed += 1
        super().__init__(f"{code}: {reason}")
        self.reason = reason

    @property
    def fixed(self) -> int:
        return 7


def test_constructors_of_libraries_do_not_run() -> None:
    error = PickyError(7, reason="because")
    recorded = record_error(error, extra=("fixed",))
    before = PickyError.constructed
    found: Any = rebuild_error(recorded, {__name__.partition(".")[0]})
    assert type(found) is PickyError
    assert (str(found), found.reason, found.fixed) == ("7: because", "because", 7)
    assert PickyError.constructed == before


class StatefulError(Exception):
    """Gives back its state as types written in C do: not by assignment."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("read-only")

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


def test_state_that_is_not_assigned_is_set_the_way_pickle_would() -> None:
    recorded = RecordedError(f"{__name__}:StatefulError", "x", ("x",), {"pgcode": "23505"})
    assert rebuild_error(recorded, {__name__.partition(".")[0]}).pgcode == "23505"  # type: ignore[attr-defined]


def test_state_that_is_not_assigned_is_set_at_once() -> None:
    recorded = RecordedError(f"{__name__}:WholeStateError", "x", ("x",), {"pgcode": "23505", "pgerror": "text"})
    found: Any = rebuild_error(recorded, {__name__.partition(".")[0]})
    assert (found.pgcode, found.pgerror) == ("23505", "text")


class WholeStateError(StatefulError):
    """As psycopg2's errors: what a state does not name is None afterwards."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(pgcode=state.get("pgcode"), pgerror=state.get("pgerror"))


def test_members_of_enumerations_come_back_as_themselves() -> None:
    error = httpx.ReadTimeout("x")
    error.status = http.HTTPStatus.IM_A_TEAPOT  # type: ignore[attr-defined]
    error.code = httpx.codes.OK  # type: ignore[attr-defined]
    error.kind = socket.AddressFamily.AF_INET  # type: ignore[attr-defined]
    error.foreign = uuid.SafeUUID.safe  # type: ignore[attr-defined]
    found: Any = through_a_cassette(error)
    assert found.status is http.HTTPStatus.IM_A_TEAPOT
    assert found.code is httpx.codes.OK
    assert found.kind is socket.AddressFamily.AF_INET
    assert not hasattr(found, "foreign")


@pytest.mark.parametrize(
    "path", ["httpx:Client.get", "builtins:int.real", "httpx:codes.nothing", "", "httpx:codes.__doc__"]
)
def test_a_hostile_record_reaches_nothing_by_way_of_enumerations(path: str) -> None:
    found = rebuild_error(RecordedError("builtins:ValueError", "m", enums={"x": path}), ROOTS)
    assert not hasattr(found, "x")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("os:system", "'os' is neither"),
        ("subprocess:CalledProcessError", "'subprocess' is neither"),
        ("no_such_package:Error", "'no_such_package' is neither"),
        ("builtins:SystemExit", "no Exception"),
        ("builtins:KeyboardInterrupt", "no Exception"),
        ("builtins:GeneratorExit", "no Exception"),
        ("builtins:BaseException", "no Exception"),
        ("builtins:print", "no such class"),
        ("builtins:int", "no Exception"),
        ("builtins:", "does not name a class"),
        ("", "neither"),
        (":", "neither"),
        ("httpx", "does not name a class"),
        ("httpx:Nothing", "no such class"),
        ("httpx.nothing:Error", "has not imported httpx.nothing"),
        ("httpx.__main__:Error", "does not name a class"),
        ("asyncio.__main__:Error", "neither"),
        ("http.server:HTTPStatus", "neither"),
        ("httpx:Client.__init__", "does not name a class"),
        ("httpx:Client.get", "no such class"),
        ("httpx._utils:os.error", "no such class"),
        ("httpx:Client", "no Exception"),
        ("socket:os.error", "no such class"),
        ("builtins:ValueError.__class__", "does not name a class"),
        ("httpx._exceptions:contextlib.ExitStack", "no such class"),
    ],
)
def test_nothing_is_imported_or_made_that_is_not_permitted(path: str, says: str) -> None:
    before = set(sys.modules)
    with pytest.raises(CassetteError, match=says):
        rebuild_error(RecordedError(path, "m"), ROOTS)
    assert {name for name in set(sys.modules) - before if not name.startswith("httpx")} == set()


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that is imported, with modules that are not."""
    package = tmp_path / "stranger_package"
    package.mkdir()
    (package / "__init__.py").write_text("def __getattr__(name):\n    from . import quits\n    return quits\n")
    (package / "errors.py").write_text("class FoundError(Exception):\n    pass\n")
    (package / "quits.py").write_text("raise SystemExit('a program')\n")
    (package / "interrupts.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(package.name)
    yield package.name
    for name in [name for name in sys.modules if name.partition(".")[0] == package.name]:
        del sys.modules[name]


def test_nothing_below_a_package_is_imported_because_a_file_names_it(strangers: str) -> None:
    error = RecordedError(f"{strangers}.errors:FoundError", "m")
    with pytest.raises(CassetteError, match=rf"has not imported {strangers}\.errors"):
        rebuild_error(error, {strangers})
    assert f"{strangers}.errors" not in sys.modules
    assert type(rebuild_error(error, {f"{strangers}.errors"})).__name__ == "FoundError"
    assert type(rebuild_error(error, {strangers})).__name__ == "FoundError"


@pytest.mark.parametrize("module", ["quits", "interrupts"])
def test_an_import_that_ends_programs_is_a_cassette_error(strangers: str, module: str) -> None:
    with pytest.raises(CassetteError, match="cannot be imported"):
        rebuild_error(RecordedError(f"{strangers}.{module}:FoundError", "m"), {f"{strangers}.{module}"})


def test_a_name_that_a_module_does_not_have_is_not_asked_for(strangers: str) -> None:
    with pytest.raises(CassetteError, match="no such class"):
        rebuild_error(RecordedError(f"{strangers}:Anything", "m"), {strangers})
    assert f"{strangers}.quits" not in sys.modules


def test_a_foreign_class_in_a_permitted_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx, "Foreign", email.errors.MessageError, raising=False)
    with pytest.raises(CassetteError, match="belongs to email"):
        rebuild_error(RecordedError("httpx:Foreign", "m"), ROOTS)


@pytest.mark.parametrize(
    "error",
    [
        RecordedError("builtins:UnicodeDecodeError", "m", ("too", "few")),
        RecordedError("builtins:UnicodeDecodeError", "m", (1, 2, 3, 4, 5)),
        RecordedError("builtins:ValueError", "m", cause=None, unfaithful="argument 0"),
    ],
)
def test_arguments_that_a_class_cannot_have_are_cassette_errors(error: RecordedError) -> None:
    with pytest.raises(CassetteError):
        rebuild_error(error, ROOTS)


def test_dangerous_attributes_of_a_hostile_record_are_not_set() -> None:
    attributes = {"__class__": 1, "__traceback__": 1, "__dict__": {}, "__cause__": 1, "ok": 1, "args": 7}
    found: Any = rebuild_error(RecordedError("builtins:ValueError", "m", ("a",), attributes), ROOTS)
    assert (type(found), found.ok, found.args) == (ValueError, 1, ("a",))


def test_hostile_records_that_nest_too_deep_end() -> None:
    error = RecordedError("builtins:ValueError", "m")
    for _ in range(50):
        error = RecordedError("builtins:ValueError", "m", (error,))
    with pytest.raises(CassetteError, match="errors within errors"):
        rebuild_error(error, ROOTS)


def test_an_error_with_notes_keeps_them() -> None:
    error = ValueError("x")
    error.__notes__ = ["a note"]  # type: ignore[attr-defined,unused-ignore]
    assert through_a_cassette(error).__notes__ == ["a note"]  # type: ignore[attr-defined,unused-ignore]


def test_arguments_that_are_classes_have_no_encoding() -> None:
    recorded = record_error(raised(lambda: Decimal("x")))
    assert recorded.cls == "decimal:InvalidOperation"
    assert "type has no encoding" in str(recorded.unfaithful)
