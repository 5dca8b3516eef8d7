"""Looking at cassettes: what the commands print, to the letter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import timetracer_otel
from tests.cli.conftest import SCRIPT, Run, command_environment
from tests.sample_cassettes import cassette, checkout, http_event
from timetracer_otel.cassette import AppendWriter, CassetteStore, save_cassette
from timetracer_otel.types import RequestSnapshot, ResponseSnapshot

TREE = """\
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
"""  # noqa: E501


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """Name of a cassette in the folder that the commands run in."""
    save_cassette(checkout(), tmp_path / "checkout.msgpack")
    return "checkout.msgpack"


def test_list_shows_every_cassette_of_a_folder_and_what_cannot_be_read(run: Run, tmp_path: Path) -> None:
    store = CassetteStore(tmp_path / "cassettes")
    store.put(checkout())
    process = cassette([], request=RequestSnapshot("", ""), response=ResponseSnapshot(0))
    process.session.recorded_at = "2026-03-01T12:00:01+00:00"
    writer = AppendWriter(tmp_path / "cassettes" / "process.msgpack", process)
    writer.append(http_event(1, "http://a/"))
    writer.close()
    (tmp_path / "cassettes" / "notes.msgpack").write_bytes(b"not a cassette")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "cassettes").rglob("*.msgpack")}

    listed = run("list")

    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert lines[0].split() == [
        "recorded",
        "(UTC)",
        "request",
        "status",
        "took",
        "calls",
        "size",
        "state",
        "id",
        "file",
    ]
    size = f"{sizes['POST_checkout_120000_5a4d2c1e.msgpack'] / 1024:.1f}"
    assert lines[1] == (
        f"2026-03-01 12:00:00  POST /checkout     200  100 ms      5  {size} KiB  complete    5a4d2c1e  "
        "cassettes/2026-03-01/POST_checkout_120000_5a4d2c1e.msgpack"
    )
    assert lines[2].split() == [
        "2026-03-01",
        "12:00:01",
        "-",
        "-",
        "-",
        "1",
        *lines[2].split()[6:8],
        "recovered",
        "5a4d2c1e",
        "cassettes/process.msgpack",
    ]
    assert lines[3].split() == ["-", "-", "-", "-", "-", "14", "B", "unreadable", "-", "cassettes/notes.msgpack"]
    assert lines[4] == ""
    assert lines[5].startswith("cassettes/notes.msgpack is not a cassette of timetracer-otel: ")
    assert len(lines) == 6


def test_list_of_an_empty_folder_says_how_to_record(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    listed = run("list", "--dir", "empty")
    assert listed.returncode == 0
    assert listed.stdout == "No cassettes in empty. Record some with: timetracer-otel record --dir empty -- CMD\n"


@pytest.mark.parametrize("columns", [80, 100, 260])
def test_list_fits_the_terminal_and_names_each_whole(run: Run, tmp_path: Path, columns: int) -> None:
    CassetteStore(tmp_path / "cassettes").put(cassette([], request=RequestSnapshot("GET", "/" + "a" * 200)))
    lines = run("list", COLUMNS=str(columns)).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert "  5a4d2c1e" in lines[1]
    # The path stands there as a whole or not at all.
    assert lines[1].endswith("_120000_5a4d2c1e.msgpack" if columns == 260 else "5a4d2c1e")


def test_show_is_the_head_and_the_call_tree(run: Run, stored: str, tmp_path: Path) -> None:
    shown = run("show", stored)
    size = (tmp_path / stored).stat().st_size
    assert (shown.returncode, shown.stderr) == (0, "")
    head, tree = shown.stdout.split("\n\n", 1)
    assert head.splitlines() == [
        "request   POST /checkout -> 200 in 100.0 ms",
        "service   shop (test)",
        "recorded  2026-03-01T12:00:00.250000+00:00 with timetracer-otel 0.1.0, Python 3.12.1",
        "trace     0af7651916cd43dd8448eb211c80319c",
        f"file      checkout.msgpack ({size / 1024:.1f} KiB, complete)",
        "calls     5 (4 http.client, 1 custom); 1 observed only",
        "no plugin pika (1 call): a replay refuses them",
        "policies  redaction default, request bodies always, response bodies always",
        "lost      nothing",
        "versions  httpx 0.28.1",
    ]
    assert tree == TREE


def test_show_one_event_is_that_event_whole(run: Run, stored: str) -> None:
    shown = run("show", stored, "--event", "3")
    assert shown.stdout.splitlines() == [
        "#3 httpx POST http://127.0.0.1:8001/token",
        "  http.client, started at 30.0 ms, took 5.0 ms, 200",
        "  inside POST /checkout > GET",
        "  request",
        "    Content-Type: application/x-www-form-urlencoded",
        "    Cookie: a=1; b=2",
        "    (30 B)",
        "    grant=code&code=%5BREDACTED%5D",
        "  response 200",
        "    Set-Cookie: a=1; Path=/; HttpOnly",
        "    Set-Cookie: b=2; Secure",
        "    reply: {'http_version': b'HTTP/1.1', 'reason_phrase': b'OK'}",
        "    (4 B)",
        "    00000000  00 01 02 ff                                      ....",
        "  span POST 0000000000000003 of trace 0af7651916cd43dd8448eb211c80319c, parent 0000000000000002, sampled",
        "    scope: opentelemetry.instrumentation.httpx",
        "    http.request.method: POST",
    ]


def test_show_with_bodies_is_everything(run: Run, stored: str) -> None:
    shown = run("show", stored, "--bodies").stdout
    assert TREE in shown
    assert all(f"\n#{number} " in shown for number in range(1, 6))
    assert '        "café",\n' in shown


def test_show_as_json_is_json(run: Run, stored: str) -> None:
    whole = json.loads(run("show", stored, "--json").stdout)
    assert [event["eid"] for event in whole["events"]] == [1, 2, 3, 4, 5]
    one = json.loads(run("show", stored, "--json", "--event", "4").stdout)
    assert one == whole["events"][3]


def test_show_on_a_terminal_without_these_characters_is_ascii(run: Run, stored: str) -> None:
    shown = run("show", stored, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert shown.stdout.isascii()
    assert "#1  |- httpx GET" in shown.stdout


def test_a_closed_pipe_is_no_fault(tmp_path: Path) -> None:
    events = [http_event(eid, f"http://a/{eid}") for eid in range(1, 3000)]
    save_cassette(cassette(events), tmp_path / "long.msgpack")
    command = f'"{SCRIPT}" show long.msgpack --bodies | head -n 1; exit "${{PIPESTATUS[0]}}"'
    shown = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=command_environment(), capture_output=True, text=True, timeout=60
    )
    assert shown.stdout == "request   POST /checkout -> 200 in 100.0 ms\n"
    assert shown.stderr == ""
    assert shown.returncode == 141


def test_export_writes_what_the_exporter_gives(run: Run, stored: str, tmp_path: Path) -> None:
    to_output = run("export", "--to", "har", stored)
    to_file = run("export", "--to", "har", stored, "-o", "checkout.har")
    assert (to_file.returncode, to_file.stdout, to_file.stderr) == (0, "", to_output.stderr)
    assert to_file.stderr.startswith("timetracer-otel: left out: 1 call of pika: HAR holds HTTP alone\n")
    assert (tmp_path / "checkout.har").read_text("utf-8") == to_output.stdout
    assert len(json.loads(to_output.stdout)["log"]["entries"]) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"checkout.har", stored}


def test_the_module_is_the_same_command(tmp_path: Path) -> None:
    as_module = subprocess.run(
        [sys.executable, "-m", "timetracer_otel", "--version"], capture_output=True, text=True, cwd=tmp_path
    )
    as_script = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert as_module.stdout == as_script.stdout == f"timetracer-otel {timetracer_otel.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["record", "--help"], ["show", "--help"], ["--version"]])
def test_help_imports_no_library_that_a_plugin_is_for(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from timetracer_otel.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'httpx', 'requests', 'aiohttp', 'sqlalchemy', 'redis', 'opentelemetry.sdk', 'msgpack', 'asyncio'}; "
        "sys.exit(code or ' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_show_tells_the_error_of_a_request_and_its_traceback_with_bodies(run: Run, shop: Path) -> None:
    (failed,) = shop.rglob("POST_orders_*.msgpack")
    shown = run("show", str(failed), COLUMNS="80").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("error")]
    assert line.startswith("error     httpx.HTTPStatusError: Server error '500 Internal Server Error' for url")
    assert "Traceback" not in shown
    whole = run("show", str(failed), "--bodies").stdout
    assert "\n\nerror\n  Traceback (most recent call last):\n" in whole
    assert '/tests/cli/_shop.py", line ' in whole
