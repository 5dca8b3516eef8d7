"""Run in a process of its own, under a hash seed of its own: one side of the cases of several libraries.

Usage: ``hash_seed_program.py record|replay FOLDER`` with, by library, the URL of its database or an empty text, and
the names of its cases or null for a sample, as JSON on the standard input. Drivers that are used directly are called
``direct psycopg`` and the like. The folder holds one cassette for each
case, and what the recording side tells the other one of its servers. Prints, by library and case, what was seen; in a
replay also what was missed and what was left.
"""

from __future__ import annotations

import importlib
import json
import ssl
import sys
from pathlib import Path
from pprint import pformat
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from tests.contract.direct_flavour import DirectFlavour
from tests.contract.framework import Case, Flavour
from tests.contract.sql_flavour import SqlFlavour
from tests.examples import sampled
from tests.servers import mariadb
from tests.servers._upstream import _SECURE
from tests.servers.postgres import execute
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.session import ReplaySession

SAMPLE = 3
_LEFT_OUT = frozenset({"odd_framings", "protocol_errors", "two_megabytes", "write_timeout"})
"""Cases whose runs differ by nature (see `tests.contract.test_requests`), or take long: megabytes become lines."""

_HTTP = {
    "httpx": ("HttpxFlavour", ("httpx", "sync")),
    "requests": ("RequestsFlavour", ()),
    "aiohttp": ("AiohttpFlavour", ()),
    "http_client": ("HttpClientFlavour", ()),
    "urllib": ("UrllibFlavour", ()),
    "urllib3": ("Urllib3Flavour", ()),
}
"""By library: the class of its flavour, and what it is made with. What a process does not run it does not import."""

_WITHOUT_SERVERS = (SqlFlavour, DirectFlavour)
"""Flavours of files, or whose servers stand elsewhere."""


def _flavour(name: str) -> tuple[Flavour, list[Case]]:
    if name in _HTTP:
        kind, made_with = _HTTP[name]
        flavour = getattr(importlib.import_module(f"tests.contract.{name}_flavour"), kind)(*made_with)
        lists = [importlib.import_module(f"tests.contract.{cases}_cases").case for cases in ("http", name)]
        return flavour, [case for cases in lists for case in cases.fitting(flavour.features)]
    if name == "redis":
        module = importlib.import_module("tests.contract.redis_contract")
        return module.RedisFlavour(asynchronous=False), importlib.import_module("tests.contract.redis_cases").CASES
    if name.startswith("direct "):
        direct: DirectFlavour = importlib.import_module(f"tests.contract.{name.split()[1]}_flavour").FLAVOUR()
        return direct, direct.cases
    sql = SqlFlavour(name)
    return sql, sql.cases


class Side:
    """A library on one side: its flavour, with the servers of the recording or what is known of them."""

    def __init__(self, name: str, url: str, names: list[str] | None, folder: Path, *, records: bool) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        self.records = records
        self._told = self.folder / "servers.json"
        self._url = sa.make_url(url) if url else None
        self.flavour, cases = _flavour(name)
        left = [case for case in cases if case.name not in _LEFT_OUT]
        self.cases = sampled(left, SAMPLE) if names is None else [case for case in cases if case.name in names]
        self._start()

    def _start(self) -> None:
        flavour: Any = self.flavour
        if hasattr(flavour, "tell"):
            given = "" if self._url is None else self._url.render_as_string(hide_password=False)
            flavour.tell(given, self.folder, gone=not self.records)
        elif isinstance(flavour, SqlFlavour):
            flavour._file = self.folder / "app.db"
        elif self.records:
            flavour.start(self.folder)
            told = (
                {name: getattr(flavour.server, name) for name in ("port", "url", "socket_path")}
                if hasattr(flavour, "server")
                else flavour.upstream._process.facts["ports"]
            )
            self._told.write_text(json.dumps(told))
        elif self.name == "redis":
            flavour.server = SimpleNamespace(running=False, **json.loads(self._told.read_text()))
        else:
            ports, authority = json.loads(self._told.read_text()), self.folder / "authority.pem"
            flavour.upstream = SimpleNamespace(
                running=False,
                port=ports.__getitem__,
                authority=authority,
                trusting=ssl.create_default_context(cafile=str(authority)),
                url=lambda path="", server="http": (
                    f"{'https' if server in _SECURE else 'http'}://127.0.0.1:{ports[server]}{path}"
                ),
            )

    def run(self) -> dict[str, Any]:
        """What was seen, by case."""
        self.flavour.enable()
        found: dict[str, Any] = {}
        answers = 0
        for case in self.cases:
            # Where a test shows this, the program has failed or hangs: in the last case.
            print(self.name, case.name, file=sys.stderr, flush=True)
            cassette = self.folder / f"{case.name}.msgpack"
            if self.records:
                self._reset()
                with record(cassette, **self.flavour.recording):
                    found[case.name] = self._seen(case)
                answers += sum(event.result.exception is None for event in read_cassette(cassette).events)
                continue
            session: Any
            with replay(cassette, fail_on_miss=False, **self.flavour.replaying) as session:
                found[case.name] = self._seen(case)
            assert isinstance(session, ReplaySession)
            found[case.name] += [*map(str, session.misses), *map(str, session.blocked)]
            found[case.name] += [f"left: {event.signature}" for event in session.get_unconsumed_events()]
            found[case.name] += [f"live: {name}" for name in session.verdict().live]
        self.flavour.disable()
        # Where nobody is reached, each case fails in the same way on both sides.
        assert answers or not self.records, f"no server has answered any call of {self.name}: {found}"
        if self.records and not isinstance(self.flavour, _WITHOUT_SERVERS):
            self.flavour.tear_down()
        return found

    def _reset(self) -> None:
        if self._url is None:
            self.flavour.reset()
        elif self._url.get_backend_name() == "postgresql":
            execute(self._url, "DROP SCHEMA IF EXISTS public CASCADE", "DROP SCHEMA IF EXISTS test_schema CASCADE")
            execute(self._url, "CREATE SCHEMA public")
        elif self._url.get_backend_name() == "mongodb":
            self.flavour.reset()
        elif self._url.get_backend_name() == "mysql":
            name = self._url.database
            mariadb.execute(self._url, f"DROP DATABASE {name}", f"CREATE DATABASE {name} CHARACTER SET utf8mb4")

    def _seen(self, case: Case) -> list[str]:
        try:
            if self._url is not None and isinstance(self.flavour, SqlFlavour):
                url = self._url if self.records else self._url.set(port=1)
                return pformat(SqlFlavour.perform_with(case, url)).splitlines()
            return pformat(self.flavour.perform(case)).splitlines()
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]


def main(mode: str, folder: Path, asked: dict[str, tuple[str, list[str] | None]]) -> None:
    sides = [Side(name, url, names, folder, records=mode == "record") for name, (url, names) in asked.items()]
    print(json.dumps({name: side.run() for name, side in zip(asked, sides, strict=True)}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin))
