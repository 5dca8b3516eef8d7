"""``timetracer-otel convert``: calls that came from another tool's file are replayed by any client, offline."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.children import told_under_hash_seed
from tests.cli import _callers
from tests.loopback import Loopback
from tests.sample_cassettes import checkout
from timetracer_otel import replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.cli import main
from timetracer_otel.constants import ANY_HTTP_CLIENT
from timetracer_otel.exceptions import ReplayMismatchError

PROGRAM = Path(_callers.__file__)
MITMPROXY = Path(__file__).with_name("mitmproxy-11.har")
"""Written by mitmdump 11.0.2 (``hardump``) in front of `tests.loopback`; its host and port were renamed."""
RECORDED = ("httpx", "requests")


class Runs(NamedTuple):
    """What the program got: bare and recorded. The server is stopped by now."""

    folder: Path
    url: str
    bare: dict[str, Any]
    recorded: dict[str, Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("convert")
    with Loopback() as server:
        bare = told_under_hash_seed(1, PROGRAM, "bare", server.url, *_callers.CLIENTS, folder=folder)
        files = [f"{client}={client}.msgpack" for client in RECORDED]
        recorded = told_under_hash_seed(2, PROGRAM, "record", server.url, *files, folder=folder)
    return Runs(folder, server.url, bare, recorded)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error, without the program's name."""
    return [line.removeprefix("timetracer-otel: ") for line in capsys.readouterr().err.splitlines()]


def in_any_order(told: dict[str, Any]) -> dict[str, Any]:
    """The answers of each client, with their headers sorted."""
    return {
        key.partition("=")[0]: [(status, sorted(headers), body) for status, headers, body in answers]
        for key, answers in told.items()
    }


@pytest.mark.parametrize("suffix", [".har", ".yaml"])
def test_a_recording_that_went_through_another_format_replays_for_each_client(runs: Runs, suffix: str) -> None:
    folder, files = runs.folder, []
    for client, other in zip(RECORDED, (("httpx", "aiohttp"), ("requests", "urllib3")), strict=True):
        between, back = str(folder / f"{client}{suffix}"), f"{client}{suffix}.msgpack"
        assert main(["convert", str(folder / f"{client}.msgpack"), between]) == 0
        for each in other:
            assert main(["convert", between, str(folder / f"{each}-{back}")]) == 0
            files.append(f"{each}={each}-{back}")
    replayed = told_under_hash_seed(3, PROGRAM, "replay", runs.url, *files, folder=folder)
    expected = runs.bare
    if suffix == ".har":  # VCR.py keeps no order of headers.
        assert {key.partition("=")[0]: answers for key, answers in replayed.items()} == expected
    assert in_any_order(replayed) == in_any_order(expected)
    assert in_any_order(runs.recorded).items() <= in_any_order(expected).items()


def test_a_har_of_mitmproxy_answers_each_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(MITMPROXY), "shop.msgpack"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"shop.msgpack: 4 calls of {MITMPROXY}\n", "")
    cassette = read_cassette("shop.msgpack")
    assert {event.signature.lib for event in cassette.events} == {ANY_HTTP_CLIENT}
    assert cassette.session.framework == "mitmproxy 11.0.2"
    for client in _callers.CLIENTS.values():
        with ExitStack() as stack:
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(
                _callers, "CALLS", [_callers.CALLS[at] for at in (0, 1, 2, 4)]
            )
            stack.enter_context(replay("shop.msgpack", fail_on_unused=True))
            answers = client("http://shop.test:8080")
        assert [(status, body) for status, _, body in answers] == [
            (200, '{"id": 7, "name": "Ada"}'),
            (200, '{"items": ["tea", "cake"]}'),
            (200, '{"sku": "tea", "n": 2}'),
            (404, '{"error": "not found"}'),
        ]


def test_what_was_not_imported_is_a_miss_that_shows_the_nearest_call() -> None:
    main(["convert", str(MITMPROXY), "shop.msgpack"])
    with pytest.raises(ReplayMismatchError) as missed, replay("shop.msgpack"):
        httpx.get("http://shop.test:8080/users/8", params={"a": 1, "b": 2})
    assert "nearest recorded calls:\n    #1 GET http://shop.test:8080/users/7?a=1&b=2" in str(missed.value)


def test_secrets_of_another_tools_file_do_not_reach_the_cassette() -> None:
    har = json.loads(MITMPROXY.read_text())
    har["log"]["entries"][0]["request"]["headers"].append(
        {"name": "Authorization", "value": "Bearer s3cr3t-t0ken-77"}
    )
    Path("shop.har").write_text(json.dumps(har))
    assert main(["convert", "shop.har", "shop.msgpack"]) == 0
    assert b"s3cr3t-t0ken-77" not in Path("shop.msgpack").read_bytes()
    with replay("shop.msgpack"):
        answer = httpx.get(
            "http://shop.test:8080/users/7?b=2&a=1",
            headers={"Authorization": "Bearer s3cr3t-t0ken-77", "Content-Type": "application/json"},
        )
    assert answer.json() == {"id": 7, "name": "Ada"}


def test_what_har_cannot_hold_is_said_and_the_exit_code_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    save_cassette(checkout(), "checkout.msgpack")
    assert main(["convert", "checkout.msgpack", "checkout.har"]) == 1
    lines = told(capsys)
    assert lines
    assert all(line.startswith("checkout.har: left out: ") for line in lines)
    assert any("1 call of pika: HAR holds HTTP alone" in line for line in lines)
    assert main(["export", "--to", "har", "checkout.msgpack", "-o", "again.har"]) == 0
    assert [line.removeprefix("left out: ") for line in told(capsys)] == [
        line.removeprefix("checkout.har: left out: ") for line in lines
    ]
    assert Path("again.har").read_bytes() == Path("checkout.har").read_bytes()


def test_a_cassette_may_become_a_cassette_of_another_compression() -> None:
    save_cassette(checkout(), "checkout.msgpack")
    assert main(["convert", "checkout.msgpack", "checkout.msgpack.gz"]) == 0
    assert Path("checkout.msgpack.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert len(read_cassette("checkout.msgpack.gz").events) == len(checkout().events)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing.har", "x.msgpack"], "A: cannot read nothing.har: No such file or directory. Name another file."),
        (["text", "x.msgpack"], "A: text is of no format that is known here (cassette, har"),
        (["text", "x.msgpack", "--from", "har"], "The file is no HAR: it has no log with entries."),
        (
            ["text", "x.msgpack", "--from", "tar"],
            "--from: no importer called 'tar' is installed. Installed: cassette,",
        ),
        (["text", "x.unknown"], "B: the name of x.unknown says no format that is known here (cassette, har"),
        (["text", "x.msgpack", "--to", "tar"], "--to: no exporter called 'tar' is installed."),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text").write_text("a text")
    assert main(["convert", *arguments]) == 2
    (said,) = told(capsys)
    assert said.startswith(line)
    assert sorted(path.name for path in Path().iterdir()) == ["text"]
