"""VCR.py's cassettes, made by vcrpy itself, replay in ours for each client; and ours, converted, replay in vcrpy."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version
from vcr import VCR

from tests.cli import _callers
from tests.loopback import Loopback
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main

CLIENTS = list(_callers.CLIENTS)
KEEPS_DECODED = Version(version("vcrpy")) >= Version("9")
"""Whether it keeps bodies of urllib3 decoded, as the exporter writes them. 8, the last one for Python 3.10, does
not."""


def told(client: str, url: str) -> list[Any]:
    """What a client got, with the headers in the order of their names: VCR.py sorts them."""
    return [(status, sorted(headers), body) for status, headers, body in _callers.CLIENTS[client](url)]


class Made:
    """Files of vcrpy and of ours, by client, and what the clients got. The server is stopped by now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict[str, list[Any]] = {}
        with Loopback() as server, warnings.catch_warnings():
            # vcrpy leaves connections open.
            warnings.simplefilter("ignore", ResourceWarning)
            self.url = server.url
            for client in CLIENTS:
                self.expected[client] = told(client, server.url)
                for serializer in ("yaml", "json"):
                    if serializer == "json" and client != "aiohttp":
                        continue  # The bodies of the others are no text for vcrpy 8, the last one for Python 3.10.
                    vcr = VCR(serializer=serializer, record_mode="all")
                    with vcr.use_cassette(str(folder / f"vcr-{client}.{serializer}")):
                        told(client, server.url)
                with record(folder / f"ours-{client}.msgpack"):
                    told(client, server.url)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("vcr"))


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("recorded_by", CLIENTS)
def test_a_cassette_of_vcrpy_answers_each_client(made: Made, recorded_by: str) -> None:
    assert main(["convert", str(made.folder / f"vcr-{recorded_by}.yaml"), "ours.msgpack"]) == 0
    for client in CLIENTS:
        with replay("ours.msgpack", fail_on_unused=True):
            assert told(client, made.url) == made.expected[client]


def test_a_cassette_of_vcrpy_in_json_answers_each_client(made: Made) -> None:
    assert main(["convert", str(made.folder / "vcr-aiohttp.json"), "ours.msgpack"]) == 0
    for client in CLIENTS:
        with replay("ours.msgpack", fail_on_unused=True):
            assert told(client, made.url) == made.expected[client]


@pytest.mark.parametrize("client", [each for each in CLIENTS if KEEPS_DECODED or each in {"httpx", "aiohttp"}])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_our_recording_replays_in_vcrpy(made: Made, client: str) -> None:
    assert main(["convert", str(made.folder / f"ours-{client}.msgpack"), "theirs.yaml"]) == 0
    with VCR(record_mode="none").use_cassette("theirs.yaml") as cassette:
        assert told(client, made.url) == made.expected[client]
    assert cassette.all_played


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_imported_call_replays_in_vcrpy_for_each_client(made: Made, client: str) -> None:
    assert main(["convert", str(made.folder / "vcr-httpx.yaml"), "ours.msgpack"]) == 0
    assert main(["convert", "ours.msgpack", "theirs.yaml"]) == 0
    with VCR(record_mode="none").use_cassette("theirs.yaml"):
        answers = told(client, made.url)
    assert [(status, body) for status, _, body in answers] == [
        (status, body) for status, _, body in made.expected[client]
    ]


def test_our_recording_replays_in_vcrpy_from_json(made: Made) -> None:
    assert main(["convert", str(made.folder / "ours-aiohttp.msgpack"), "theirs.json", "--to", "vcr-json"]) == 0
    with VCR(serializer="json", record_mode="none").use_cassette("theirs.json"):
        assert told("aiohttp", made.url) == made.expected["aiohttp"]


def test_what_json_cannot_hold_is_left_out_and_said(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(made.folder / "ours-httpx.msgpack"), "theirs.json", "--to", "vcr-json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("timetracer-otel: theirs.json: left out: #2 httpx GET ")
    assert line.endswith("/items: JSON holds no bytes; VCR.py's YAML does")


def interaction(**changes: Any) -> dict[str, Any]:
    return {
        "request": {"method": "POST", "uri": "http://h/x", "body": changes.pop("sent", None), "headers": {"A": "1"}},
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": changes.pop("headers", {}),
            "body": {"string": "tea"},
            **changes.pop("response", {}),
        },
        **changes,
    }


def written(*interactions: dict[str, Any], **more: Any) -> str:
    Path("theirs.yaml").write_text(yaml.safe_dump({"interactions": interactions, "version": 1, **more}))
    return "theirs.yaml"


def test_the_older_form_of_httpx_is_read() -> None:
    older = interaction()
    older["response"] = {"http_version": "HTTP/1.1", "status_code": 201, "headers": {"B": ["2"]}, "content": "tea"}
    assert main(["convert", written(older), "ours.msgpack"]) == 0
    (event,) = read_cassette("ours.msgpack").events
    assert event.result.status == 201
    assert event.result.body is not None
    assert (event.result.body.data, dict(event.result.headers)) == (b"tea", {"b": "2"})


def test_bodies_that_were_files_or_iterators_are_bytes() -> None:
    Path("theirs.yaml").write_text(
        """
interactions:
- request:
    method: POST
    uri: 'http://h/1'
    headers: {}
    body: !!python/object/new:_io.BytesIO {state: !!python/tuple [tea, 0, null]}
  response: &answer {status: {code: 200, message: OK}, headers: {}, body: {string: ''}}
- request: {method: POST, uri: 'http://h/2', headers: {}, body: !!python/object/apply:builtins.iter {args: [[te, a]]}}
  response: *answer
version: 1
"""
    )
    assert main(["convert", "theirs.yaml", "ours.msgpack"]) == 0
    calls = [event.call for event in read_cassette("ours.msgpack").events]
    assert [call.body.data for call in calls if call is not None and call.body is not None] == [b"tea", b"tea"]


@pytest.mark.parametrize(
    ("made_of", "line"),
    [
        (
            interaction(headers={"Content-Length": ["99"]}),
            "interactions[0] POST http://h/x: the header Content-Length is 3 now, the length of the body",
        ),
        (
            interaction(sent=7),
            "interactions[0] POST http://h/x cannot be replayed: the body of its request is a value of int, no bytes",
        ),
        (interaction(note="x"), "interactions[0] POST http://h/x: note: a cassette has no place for it"),
    ],
)
def test_what_is_changed_or_lost_is_said(
    made_of: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", written(made_of), "ours.msgpack"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"timetracer-otel: theirs.yaml: {line}"]


@pytest.mark.parametrize(
    "text",
    [
        "interactions: !!python/object/apply:os.system ['true']",
        "interactions: 7",
        "interactions: [{request: 1}]",
        "interactions: [{request: {method: GET, uri: x}, response: {status: 200}}]",
        "interactions: [",
    ],
)
def test_a_file_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_text(text)
    assert main(["convert", "bad.yaml", "ours.msgpack", "--from", "vcr"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "VCR.py" in line
    assert not Path("ours.msgpack").exists()
