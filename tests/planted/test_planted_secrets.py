"""A thousand secrets, one in each place where a call can carry one: none is on the disk, nor in what a command says.

One program makes calls of every library to real servers, with the settings as they are by default. Each secret tells
by its text which it is, and every byte that was written is searched for all of them.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import io
import json
import lzma
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import lz4.frame
import pytest
import zstandard

from tests import forks
from tests.children import ROOT, environment, instrumented_path
from tests.examples import WHOLE, drawn
from tests.planted.secrets import Planted, traces
from tests.servers._ports import free_port
from tests.servers.mariadb import MariaDb, needs_mariadb
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main

_INSTRUMENTED = {"django", "fastapi", "flask", "httpx", "requests", "aiohttp-client", "redis", "sqlalchemy"}
_OTHERS = 5000
"""The number of the first secret of the replay."""
_FRAMEWORKS = ("fastapi", "flask", "django")
_DRIVERS = ["sql psycopg", "sql psycopg2", "sql asyncpg"]
_KINDS = [
    ["http httpx", "http requests"],
    ["redis sync", "redis async"],
    _DRIVERS if needs_mariadb.args[0] else [*_DRIVERS, "sql pymysql"],
    ["http httpx async", "http aiohttp"],
    ["web fastapi", "web flask"],
]
"""What makes calls, by what its places have in common."""
_DRAWN = drawn(_KINDS, "planted")
"""One of each kind, which the seed draws; all in ``make fuzz``."""
_RECORDED = [*_DRAWN, "sql sqlite", "spans all", "process", "long", "web django"]
_REPLAYED = [*(next(scene for scene in kind if scene in _DRAWN) for kind in (*_KINDS[:3], _KINDS[4]))]


class Run(NamedTuple):
    """What a run of the program has left."""

    planted: dict[int, Planted]
    cassettes: Path
    aside: Path
    said: bytes


class Both(NamedTuple):
    """A recording, and a replay of it with other secrets."""

    recorded: Run
    replayed: Run


def run(folder: Path, servers: dict[str, str], first: int, mode: str, *scenes: str) -> Run:
    """Run the program in a process of its own."""
    aside, cassettes = folder / mode, folder / "cassettes"
    aside.mkdir()
    settings = {
        "TIMETRACER_CASSETTE": str(cassettes),
        "TIMETRACER_LIVE_HOSTS": ",".join(f"127.0.0.1:{servers[name]}" for name in _FRAMEWORKS),
        "TIMETRACER_REPLAY_REPORT": str(aside / "report.jsonl"),
    }
    done = forks.run(
        *("-m", "tests.planted.program", str(aside), str(first), *scenes),
        cwd=folder,
        env=environment(
            _INSTRUMENTED,
            PYTHONPATH=instrumented_path(str(ROOT), folder),
            PLANTED_SERVERS=json.dumps(servers),
            TIMETRACER_MODE=mode,
            TIMETRACER_DIR=str(cassettes),
            TIMETRACER_LOG_LEVEL="debug",
            OTEL_TRACES_EXPORTER="none",
            DJANGO_SETTINGS_MODULE="tests.planted.django_service",
            PLANTED_REDIS=servers["redis"],
            **(settings if mode == "replay" else {}),
        ),
        timeout=300,
    )
    assert (aside / "planted.json").exists(), done.stderr[-100000:]
    planted = [Planted(*entry) for entry in json.loads((aside / "planted.json").read_text())]
    return Run({one.number: one for one in planted}, cassettes, aside, (done.stdout + done.stderr).encode())


pytestmark = pytest.mark.sweep


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("planted")
    with contextlib.ExitStack() as stack:
        postgres = Postgres()
        stack.callback(postgres.close)
        redis = stack.enter_context(RedisServer(folder))
        servers = {
            "upstream": str(free_port()),
            "redis": redis.url,
            "sqlite": f"sqlite:///{folder}/app.db",
            **{
                driver: postgres.url(driver).render_as_string(hide_password=False)
                for driver in ("psycopg", "psycopg2", "asyncpg")
            },
            "pymysql": "",
            **{framework: str(free_port()) for framework in _FRAMEWORKS},
        }
        if "sql pymysql" in _DRAWN:
            mariadb = MariaDb()
            stack.callback(mariadb.close)
            servers["pymysql"] = mariadb.url("pymysql").render_as_string(hide_password=False)
        recorded = run(folder, servers, 0, "record", *_RECORDED)
        redis.stop()
        postgres.stop()
        yield Both(recorded, run(folder, servers, _OTHERS, "replay", *_REPLAYED))


def unpacked(data: bytes) -> Iterator[bytes]:
    """These bytes, and all that is compressed in them."""
    yield data
    for mark, begin in _PACKED.items():
        at = data.find(mark)
        while at >= 0:
            with contextlib.suppress(zlib.error, lzma.LZMAError, OSError, RuntimeError, zstandard.ZstdError):
                yield from unpacked(begin().decompress(data[at:]))
            at = data.find(mark, at + 1)
    for found in _IN_BASE64.finditer(data):
        with contextlib.suppress(ValueError):
            yield from unpacked(base64.b64decode(found[0], validate=True))


_PACKED: Final[dict[bytes, Callable[[], Any]]] = {
    b"\x1f\x8b\x08": lambda: zlib.decompressobj(31),
    **dict.fromkeys((b"x\x01", b"x\x9c", b"x\xda"), zlib.decompressobj),
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
    b"]\0\0": lzma.LZMADecompressor,
    b"BZh": bz2.BZ2Decompressor,
    b"(\xb5/\xfd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    b'\x04"M\x18': lz4.frame.LZ4FrameDecompressor,
}
_IN_BASE64: Final = re.compile(rb"eJ[w-z][A-Za-z0-9+/]{16,}={0,2}")
"""zlib."""


def found_in(data: bytes, planted: dict[int, Planted], where: str) -> list[str]:
    """The secrets in these bytes, each with its place."""
    return [
        f"{planted[trace.number].place}, known by {planted[trace.number].why}, in {where}: {trace.around!r}"
        if trace.number in planted
        else f"{trace.number} in {where}: {trace.around!r}"
        for piece in unpacked(data)
        for trace in traces(piece)
        if trace.number is None or trace.number in planted
    ]


def files_of(run: Run) -> list[Path]:
    """All files that were written while the program ran, but for its own notes."""
    every = [*run.cassettes.rglob("*"), *run.aside.rglob("*")]
    return [path for path in every if path.is_file() and path.name != "planted.json"]


def test_no_secret_is_in_any_byte_on_the_disk(both: Both) -> None:
    recorded = both.recorded
    assert len(recorded.planted) > (1000 if WHOLE else 700)
    files = files_of(recorded)
    # Requests, the process, a part that was copied while its request ran.
    assert len(files) > 80
    assert any(".part" in path.name for path in files)
    # A file that is written while the recording runs knows the secrets up to then: docs/redaction.md says so.
    up_to_then = {number: one for number, one in recorded.planted.items() if one.why != "a later call"}
    leaks = [
        leak
        for path in files
        for leak in found_in(
            path.name.encode() + path.read_bytes(),
            up_to_then if ".part" in path.name else recorded.planted,
            path.name,
        )
    ]
    assert leaks == []
    # Nor is one in what the recorder logs.
    assert found_in(recorded.said, recorded.planted, "the log") == []


def test_whatever_is_written_is_for_its_owner_alone(both: Both, tmp_path: Path) -> None:
    recorded, one = both.recorded, next(both.recorded.cassettes.rglob("*.msgpack"))
    exported, scrubbed = tmp_path / "a.har", tmp_path / "new" / "scrubbed"
    assert main(["export", "--to", "har", "-o", str(exported), str(one)]) == 0
    assert main(["scrub", str(one), "--output", str(scrubbed)]) == 0
    written = [recorded.cassettes, *recorded.cassettes.rglob("*"), both.replayed.aside / "report.jsonl"]
    # A file of locks tells which process still writes.
    assert {path.suffix for path in written} > {".msgpack", ".jsonl"}
    for path in [*written, exported, tmp_path / "new", *(tmp_path / "new").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_every_place_is_recorded(both: Both) -> None:
    """A secret that no call carried would be found nowhere."""
    recorded = both.recorded
    pseudonyms = {name for path in recorded.cassettes.rglob("*.msgpack") for name in read_cassette(path).pseudonyms}
    assert len(pseudonyms) > 0.9 * len(recorded.planted)


@pytest.mark.parametrize(
    "command",
    [("list",), ("show",), ("show", "--bodies"), ("show", "--json"), ("export", "--to", "har")],
    ids=" ".join,
)
def test_no_secret_is_in_what_a_command_says(both: Both, command: tuple[str, ...]) -> None:
    recorded = both.recorded
    leaks, length = [], 0
    by_size = sorted(recorded.cassettes.rglob("*.msgpack"), key=lambda path: path.stat().st_size)
    # Those of many calls, and some of one.
    cassettes = [*by_size[-14:], *by_size[:-14:12]]
    for path in [None] if command == ("list",) else cassettes:
        output = io.BytesIO()
        with contextlib.redirect_stdout(io.TextIOWrapper(output, encoding="utf-8")) as stream:
            code = main([*command, *(["--dir", str(recorded.cassettes)] if path is None else [str(path)])])
            stream.flush()
        assert code == 0
        length += len(output.getvalue())
        leaks += found_in(output.getvalue(), recorded.planted, str(path))
    assert length > 100 * len(cassettes)
    assert leaks == []


def test_no_secret_is_in_what_audit_and_scrub_say_and_write(both: Both, tmp_path: Path) -> None:
    recorded, some, folder = both.recorded, tmp_path / "some", tmp_path / "scrubbed"
    some.mkdir()
    files = sorted(recorded.cassettes.rglob("*.msgpack"), key=lambda path: path.stat().st_size)
    for path in files if WHOLE else files[:-4:12]:
        shutil.copy(path, some)
    for command in (
        ["audit", str(some), "--json", "--pseudonyms"],
        ["scrub", str(some), "--output", str(folder), "--redact-extra", "of", "--redact", "strict"],
    ):
        output = io.BytesIO()
        with contextlib.redirect_stdout(io.TextIOWrapper(output, encoding="utf-8")) as stream:
            main(command)
            stream.flush()
        assert output.getvalue()
        assert found_in(output.getvalue(), recorded.planted, command[0]) == []
    scrubbed = [path for path in folder.rglob("*") if path.is_file()]
    assert len(scrubbed) == len(list(some.iterdir())) > 5
    for path in scrubbed:
        assert found_in(path.name.encode() + path.read_bytes(), recorded.planted, path.name) == []


def test_no_secret_is_in_what_a_replay_says_of_its_misses(both: Both) -> None:
    replayed = both.replayed
    told = b"\n".join([replayed.said, *(path.read_bytes() for path in files_of(replayed) if path.suffix == ".jsonl")])
    assert told.count(b"No recorded call matches") > 80
    # What was told by an answer is none of this run's: the recording answered, with pseudonyms.
    known = {number: one for number, one in replayed.planted.items() if one.why.startswith("its ")}
    assert len(known) > 120
    assert [leak for leak in found_in(told, known, "what the replay said") if not leak.startswith("None")] == []
