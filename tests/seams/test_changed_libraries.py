"""A release of a library that renamed what a plugin relies upon: recordings pass it through, replays refuse it.

A replay makes no call for real, and the app gets no error of ours but the refusal. Each program runs in a process of
its own, where our faults are contained as in production.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

import timetracer_otel
from tests import forks
from tests.examples import sampled
from tests.loopback import Loopback
from tests.process._programs import instrumented
from timetracer_otel.libraries.aiohttp import private_names as _aiohttp_names
from timetracer_otel.libraries.httpx import internals
from timetracer_otel.libraries.redis import internals as _redis_internals
from timetracer_otel.libraries.requests import private_names as _requests_names
from timetracer_otel.libraries.sqlalchemy import internals as _sqlalchemy_internals
from timetracer_otel.libraries.urllib3 import private_names as _urllib3_names
from timetracer_otel.plugins import aiohttp_plugin, httpx_plugin, redis_plugin, requests_plugin, sqlalchemy_plugin

KNOWN = {
    "httpx": httpx_plugin.plugin,
    "requests": requests_plugin.plugin,
    "aiohttp": aiohttp_plugin.plugin,
    "redis": redis_plugin.plugin,
    "sqlalchemy": sqlalchemy_plugin.plugin,
}
LIBRARIES = ("httpx", "requests", "aiohttp", "redis", "sqlalchemy")

RELIED_UPON: dict[str, tuple[str, ...]] = {
    "httpx": tuple(f"httpx:{name}" for name in internals.RELIED_UPON),
    "requests": _requests_names.RELIED_UPON,
    "aiohttp": _aiohttp_names.RELIED_UPON,
    "redis": _redis_internals.RELIED_UPON,
    "sqlalchemy": _sqlalchemy_internals.RELIED_UPON["sqlalchemy"],
}

CALLS = {"httpx": 2, "requests": 1, "aiohttp": 1, "redis": 3, "sqlalchemy": 1}
"""How many calls the program makes, each time."""

MOVED = {
    "httpx": "httpx:HTTPTransport",
    "requests": "requests.adapters:BaseAdapter",
    "aiohttp": "aiohttp.http_parser:RawResponseMessagePy",
    "redis": "redis.lock:Lock",
    "sqlalchemy": "sqlalchemy.pool.base:_AdhocProxiedConnection",
}
"""A class of each that is found elsewhere, or nowhere."""


def _private_names() -> list[tuple[str, str]]:
    """Every private name in the tables that can be renamed in the library's source without breaking the library."""
    return [
        (library, name)
        for library, names in RELIED_UPON.items()
        for name in names
        if _last(name).startswith("_") and _last(name) != "__init__" and not name.startswith("http.client:")
    ]


def _last(name: str) -> str:
    """What is renamed: the parameter, the attribute as it is written in its class, or the name itself."""
    path, _, parameter = name.rstrip(")").partition("(")
    if parameter.startswith("_"):
        return parameter
    *owners, last = path.rpartition(":")[2].split(".")
    return last.removeprefix(f"_{owners[-1].lstrip('_')}") if owners and "__" in last[1:] else last


def _sample() -> list[tuple[str, str]]:
    return [
        one
        for library in LIBRARIES
        for one in sampled([private for private in _private_names() if private[0] == library], 1)
    ]


@pytest.fixture(scope="module")
def cassettes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each library recorded, where nothing was renamed: there replays answer."""
    folder = tmp_path_factory.mktemp("seams")
    found = {}
    for library in LIBRARIES:
        found[library] = folder / f"{library}.msgpack"
        result = _run(library, found[library])
        assert result["record"]["events"] > 0
        assert result["replay"]["calls"] == result["bare"]["calls"]
        assert (result["replay"]["arrived"], result["replay"]["ok"]) == (0, True)
        assert (result["said"], result["faults"]) == ([], {})
    return found


def _run(library: str, cassette: Path, *change: str, **environment: str) -> Any:
    program = ("-m", "tests.seams.program", library, str(cassette), *change)
    done = forks.run(*program, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _check_passed_and_refused(library: str, missing: str, result: Any) -> None:
    bare, record, replay, live = (result[part] for part in ("bare", "record", "replay", "live"))
    assert bare["arrived"] > 0
    assert all(kind == "value" for kind, _ in bare["calls"]), "the library itself does not work like this"
    assert (record["calls"], record["arrived"]) == (bare["calls"], bare["arrived"])
    assert record["events"] == 0
    # A name of urllib3 that its own plugin relies upon is missed by that, too, as requests stands on it.
    is_of_both = missing.startswith("urllib3") and _last(missing) in map(_last, _urllib3_names.RELIED_UPON)
    both = {library, "urllib3"} if is_of_both else {library}
    assert list(record["dropped"]) == [f"{library} calls that cannot be seen"]
    assert replay["arrived"] == 0
    assert replay["ok"] is False
    assert len(replay["calls"]) == CALLS[library]
    for kind, text in replay["calls"]:
        assert kind == "ReplayMismatchError"
        assert f"calls of {library} cannot be seen with" in text
        assert missing in text
        assert version(library) in text
        assert "what to do: install a release of" in text
        assert f"{library} {KNOWN[library].knows[library]}" in text
    assert replay["verdict"].startswith(f"0 hit, {CALLS[library]} missed, ")
    assert replay["verdict"].endswith(" 0 live")
    assert (live["calls"], live["arrived"]) == (bare["calls"], bare["arrived"])
    assert " 0 missed," in live["verdict"]
    assert not live["verdict"].endswith(" 0 live")
    assert len(result["said"]) == len(both)
    (said,) = [one for one in result["said"] if f"calls of {library} " in one]
    assert missing in said
    assert f"{library} {KNOWN[library].knows[library]}" in said
    assert f"Recordings pass calls of {library} through and lack them; replays refuse them." in said
    # Once for each session that needed the seams.
    assert result["faults"] == dict.fromkeys((f"{each}.install" for each in both), 3)


@pytest.mark.sweep
@pytest.mark.parametrize(("library", "name"), _sample())
def test_a_renamed_name_passes_in_recordings_and_refuses_in_replays(
    cassettes: dict[str, Path], library: str, name: str
) -> None:
    package = name.partition(":")[0].partition(".")[0]
    result = _run(library, cassettes[library], "rename", f"{package}:{_last(name)}")
    _check_passed_and_refused(library, name, result)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_class_that_moved_passes_in_recordings_and_refuses_in_replays(
    cassettes: dict[str, Path], library: str
) -> None:
    result = _run(library, cassettes[library], "delete", MOVED[library])
    _check_passed_and_refused(library, MOVED[library], result)


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_EXCLUDED_URLS", "own"])
@pytest.mark.parametrize("library", ["httpx", "requests", "aiohttp"])
def test_a_typo_in_the_excluded_urls_excludes_nothing_and_is_said_once(
    cassettes: dict[str, Path], tmp_path: Path, library: str, variable: str
) -> None:
    if variable == "own":
        variable = f"OTEL_PYTHON_{'AIOHTTP_CLIENT' if library == 'aiohttp' else library.upper()}_EXCLUDED_URLS"
    result = _run(library, tmp_path / "typo.msgpack", **{variable: "health,["})
    assert result["record"]["calls"] == result["bare"]["calls"]
    assert result["record"]["events"] == CALLS[library]
    assert result["replay"]["calls"] == result["bare"]["calls"]
    assert (result["replay"]["arrived"], result["replay"]["ok"]) == (0, True)
    (said,) = result["said"]
    assert said.startswith(f"timetracer-otel: {variable}='health,[' is no list of regular expressions (")
    assert result["faults"] == {}


def test_a_replay_is_one_also_where_an_instrumentation_fails_to_start(tmp_path: Path) -> None:
    cassette = str(tmp_path / "whole.msgpack")
    with Loopback() as upstream:
        with timetracer_otel.record(cassette):
            assert httpx.get(f"{upstream.url}/users/1").json()["name"] == "Ada"
        done = instrumented(
            f"import httpx; print(httpx.get('{upstream.url}/users/1').json()['name'])",
            TIMETRACER_MODE="replay",
            TIMETRACER_CASSETTE=cassette,
            OTEL_PYTHON_HTTPX_EXCLUDED_URLS="[",
        )
        assert upstream.hits["/users/1"] == 1
    assert "Instrumenting of httpx failed" in done.stderr, "OpenTelemetry takes this value: nothing is shown here"
    assert done.stdout == "Ada\n"
    assert done.stderr.endswith("1 hit, 0 missed, 0 unused, 0 live\n")
    assert done.stderr.count("OTEL_PYTHON_HTTPX_EXCLUDED_URLS='[' is no list of regular expressions") == 1
