"""Cassettes of strangers: whatever is in one, each command says one line or prints what is harmless to a terminal."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.conftest import SCRIPT, command_environment
from tests.golden.make_golden import golden
from tests.unit.cassette.hostile_files import hostile_files
from timetracer_otel.cassette import cassette_to_bytes, read_cassette
from timetracer_otel.cli import main
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import CassetteError, ReplayMismatchError
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import BodySnapshot, Call, CallSnapshot, Cassette, DependencyEvent, HeaderMap
from timetracer_otel.verify import plan

ODD: Final = "a\ud800\x9b2J\x1b[2J\u202e\u2066é\n\x7f\u2028"
"""A lone surrogate, sequences that clear a terminal, marks of direction, line breaks."""

KEPT: Final = frozenset({"recorded_at", "mode", "redaction_mode", "store_request_body", "store_response_body"})
"""Texts that say how others are read."""


def _odd(value: Any, name: str = "") -> Any:
    """A copy in which each text has what no text should have."""
    if isinstance(value, str) and type(value) is str:
        return value if name in KEPT else value + ODD
    if isinstance(value, HeaderMap):
        odd = ODD.encode("utf-8", "surrogatepass")
        return HeaderMap((key, text + odd) for key, text in value.pairs)
    if type(value) is dict:
        return {_odd(key): _odd(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_odd, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _odd(getattr(value, each.name), each.name) for each in fields(value)})
    return value


def _with_event(change: Callable[[DependencyEvent], None]) -> bytes:
    cassette = golden()
    for event in cassette.events:
        event.call = event.call or CallSnapshot()
        change(event)
    return cassette_to_bytes(cassette)


def _lazy(event: DependencyEvent) -> None:
    assert event.call is not None
    lazies = [range(10**9), ipaddress.ip_network("::/0"), ipaddress.ip_interface("1.2.3.4/0"), memoryview(b"ab")]
    event.call.args = lazies
    event.result.reply = {"head_ms": float("nan"), "reason_phrase": range(10**9), "http_version": lazies}
    event.signature.query = {"lazy": range(10**9), "\ud800": [range(10**9)]}
    if event.span is not None:
        event.span.attributes = {"lazy": range(10**9)}


def _nested(event: DependencyEvent) -> None:
    assert event.call is not None
    value: Any = None
    for level in range(98):
        value = [value] if level % 3 else {"a": (value,)} if level < 40 else {"a": value}
    event.call.args = event.result.reply = value


def _charsets(event: DependencyEvent) -> None:
    for charset in (b"idna", b"utf-7", b"punycode", b"unicode_escape", b"antigravity"):
        event.result.headers = HeaderMap([(b"content-type", b"text/plain; charset=" + charset)])
    event.result.body = BodySnapshot(captured=True, encoding="bytes", data=b"+2AA-" + b"a" * 100_000)


def _numbers(cassette: Cassette) -> Cassette:
    body = BodySnapshot(captured=True, encoding="bytes", data=b"x", size_bytes=-(10**18))
    cassette.request = replace(cassette.request, body=body, headers={"content-length": "9" * 5000})
    cassette.stats.dropped = {"a": 10**4000}
    for event in cassette.events:
        event.eid = -(10**30)
        event.result.status = 10**4000
    return cassette


FILES: Final[dict[str, Callable[[], bytes]]] = {
    **hostile_files(1 << 12),
    "odd texts": lambda: cassette_to_bytes(_odd(golden())),
    "lazies": lambda: _with_event(_lazy),
    "deep values": lambda: _with_event(_nested),
    "charsets": lambda: _with_event(_charsets),
    "numbers": lambda: cassette_to_bytes(_numbers(golden())),
    "a body that is a bomb": lambda: cassette_to_bytes(_bomb()),
    "a cut mark": lambda: b"\x86\xa6format\xb3timetracer-cassette\xa6versio",
}


def _bomb() -> Cassette:
    import brotli

    cassette = golden()
    body = BodySnapshot(captured=True, encoding="bytes", data=brotli.compress(bytes(16 << 20), quality=1))
    for event in cassette.events:
        event.result = replace(event.result, body=body, headers=HeaderMap([(b"content-encoding", b"br")]))
    return cassette


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    for number, make in enumerate(FILES.values()):
        (folder / f"{number}.msgpack").write_bytes(make())
    return folder


def _path(folder: Path, name: str) -> str:
    return str(folder / f"{list(FILES).index(name)}.msgpack")


COMMANDS: Final[dict[str, list[str]]] = {
    "show": ["show", "PATH"],
    "bodies": ["show", "--bodies", "PATH"],
    "json": ["show", "--json", "PATH"],
    "view": ["view", "PATH", "-o", os.devnull],
    "difference": ["view", "PATH", "PATH", "-o", os.devnull],
    "har": ["export", "--to", "har", "PATH"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_each_command_says_one_line_or_prints_what_is_there(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    code = main([part.replace("PATH", _path(folder, name)) for part in COMMANDS[command]])
    sys.stdout.flush()
    out, err = capfd.readouterr()
    # An export also says what it leaves out, in few lines.
    left_out = [line for line in err.splitlines() if line.startswith("timetracer-otel: left out: ")]
    assert len(left_out) <= 40
    assert not left_out or command == "har"
    assert (code, out == "", err.count("\n") - len(left_out)) in {(0, False, 0), (2, True, 1)}
    assert err.replace("\n", "").isprintable()
    assert "a fault of this program" not in err
    if command in ("show", "bodies"):
        assert out.replace("\n", "").isprintable()
    elif command in ("view", "difference"):
        assert code == 2 or out == f"wrote {os.devnull}\n"
    elif code == 0:
        json.loads(out)


def test_a_folder_of_them_is_listed(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10000")  # with room for the paths
    assert main(["list", "--dir", str(folder)]) == 0
    sys.stdout.flush()
    out, err = capfd.readouterr()
    assert err == ""
    assert out.replace("\n", "").isprintable()
    assert all(f"{number}.msgpack" in out for number in range(len(FILES)))


def test_a_folder_of_them_is_replayed_and_planned(folder: Path) -> None:
    library = FolderIndex(str(folder))
    plan(library)
    for path in sorted(folder.iterdir()):
        with suppress(CassetteError, ReplayMismatchError):
            session = ReplaySession(read_cassette(path), str(path))
            session.match(Call("httpx", EventType.HTTP_CLIENT, "GET", url="http://x/"))


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
@pytest.mark.parametrize("command", ["json", "har"])
def test_a_terminal_gets_no_control_character(folder: Path, command: str) -> None:
    arguments = [part.replace("PATH", _path(folder, "odd texts")) for part in COMMANDS[command]]
    out = "".join(_on_a_terminal(arguments)).replace("\r\n", "\n")
    assert out.replace("\n", "").isprintable()
    assert "\\u009b2J\\u001b[2J\\u202e" in out
    json.loads(out)


def _on_a_terminal(arguments: list[str]) -> Iterator[str]:
    ours, theirs = os.openpty()
    with subprocess.Popen([SCRIPT, *arguments], stdout=theirs, env=command_environment()) as process:
        os.close(theirs)
        pieces = []
        try:
            while piece := os.read(ours, 1 << 16):
                pieces.append(piece)
        except OSError:  # Linux says so that the other side is closed.
            pass
        assert process.wait() == 0
    os.close(ours)
    yield b"".join(pieces).decode("utf-8")
