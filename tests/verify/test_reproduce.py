"""``timetracer-otel reproduce``: a request that failed, played again offline, and debugged where it failed."""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.examples import drawn
from tests.servers._ports import free_port
from tests.verify._failures import Failing
from tests.verify._services import ROOT, SCRIPT, environment, listens

FRAMEWORKS = drawn([["flask", "django"]], "framework")


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Failing:
    return Failing("starlette", tmp_path_factory.mktemp("failing"))


def told(text: str) -> str:
    """A report with times and addresses as they are called here."""
    text = re.sub(r"in [\d.]+ m?s", "in TIME", text)
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://SERVICE", text)


def test_a_failed_request_is_found_by_its_trace_and_fails_in_the_same_way(failing: Failing) -> None:
    row = failing.order
    assert (row.status, row.failed) == (500, True)
    done = failing.reproduce(row.trace_id or row.session_id, COLUMNS="80")
    assert done.stderr == ""
    assert done.returncode == 0
    assert told(done.stdout) == (
        f"reproduce: GET /orders/7 of {row.path}, the service at http://SERVICE\n"
        "\n"
        "recorded  500 in TIME\n"
        "    (21 B)\n"
        "    Internal Server Error\n"
        "now       500 in TIME\n"
        "    (the same body)\n"
        "\n"
        "equal     it is answered as it was recorded\n"
        "calls     2 of 2 recorded calls were made\n"
    )


def test_a_changed_service_differs(failing: Failing) -> None:
    done = failing.reproduce(failing.order.session_id[:8], REPAIRED="1", COLUMNS="200")
    assert done.returncode == 1
    assert told(done.stdout).splitlines()[2:] == [
        "recorded  500 in TIME",
        "    (21 B)",
        "    Internal Server Error",
        "now       200 in TIME",
        "    (40 B)",
        "    {",
        '      "found": {',
        '        "id": 7,',
        '        "name": "Ada"',
        "      },",
        '      "left": 0',
        "    }",
        "",
        "differs   status: recorded 500, now 200",
        "          header content-type: recorded 'text/plain; charset=utf-8', now 'application/json'",
        "          --- recorded body",
        "          +++ body now",
        "          @@ -1 +1 @@",
        "          -Internal Server Error",
        '          +{"found":{"id":7,"name":"Ada"},"left":0}',
        "calls     2 of 2 recorded calls were made",
    ]


def test_debug_enters_pdb_at_the_line_of_the_app_that_failed(failing: Failing) -> None:
    done = failing.reproduce(failing.order.session_id, "--debug", typed="p stock.status_code\np number\nq\n")
    assert "GET /orders/7 fails: KeyError: 'left'" in done.stderr
    assert "_failing.py" in done.stdout
    assert '-> left = stock.json()["left"]' in done.stdout
    assert "(Pdb) 500\n(Pdb) 7\n" in done.stdout
    assert "equal     it is answered as it was recorded" in done.stdout
    assert done.returncode == 0


def test_a_failure_that_the_app_answers_itself_has_no_line(failing: Failing) -> None:
    done = failing.reproduce(failing.rows["/stock"].session_id, "--debug")
    assert "GET /stock fails without an exception: the app answers so itself" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_debug_finds_the_line_behind_the_error_handlers_of_a_framework(framework: str, tmp_path: Path) -> None:
    done = (made := Failing(framework, tmp_path)).reproduce(made.order.session_id, "--debug", typed="p number\nq\n")
    assert '-> left = stock.json()["left"]' in done.stdout, done.stderr
    assert "(Pdb) 7\n" in done.stdout
    assert done.returncode == 0


def test_an_editor_attaches_before_the_app_is_loaded(failing: Failing) -> None:
    """Spoken to as editors do, by the Debug Adapter Protocol."""
    port, command = free_port(), ["python", *failing.module]
    with subprocess.Popen(
        [SCRIPT, "reproduce", failing.order.path, "--attach", str(port), "--", *command],
        env=environment(command),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        waiting = f"timetracer-otel: waiting for a debugger at 127.0.0.1:{port}\n"
        while (line := running.stderr.readline()) != waiting:
            assert line, "it ended without waiting"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as editor, editor.makefile("rwb") as wire:
            assert not listens(failing.port)
            _attach(wire)
        printed, _ = running.communicate(timeout=120)
    assert "equal     it is answered as it was recorded" in printed
    assert running.returncode == 0


def _attach(wire: Any) -> None:
    """Attach, let the process go on, and stay until it has ended."""

    def ask(command: str, **arguments: Any) -> None:
        asked = {"seq": next(numbers), "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(asked).encode()
        wire.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        wire.flush()

    def heard(kind: str) -> dict[str, Any]:
        while True:
            length = 0
            while (line := wire.readline().strip()) or not length:
                length = int(line.partition(b":")[2]) if line.lower().startswith(b"content-length") else length
            found: dict[str, Any] = json.loads(wire.read(length))
            if kind in (found.get("event"), found.get("command")):
                return found

    numbers = itertools.count(1)
    ask("initialize", adapterID="test", clientID="test", linesStartAt1=True, pathFormat="path")
    heard("initialize")
    ask("attach", justMyCode=False)
    heard("initialized")
    ask("configurationDone")
    heard("terminated")


def test_a_shell_answers_calls_from_the_recording(failing: Failing) -> None:
    url = json.loads(
        subprocess.run(
            [SCRIPT, "show", failing.order.path, "--json"], capture_output=True, text=True, env=environment([])
        ).stdout
    )["events"][1]["signature"]["url"]
    typed = f"import httpx\nprint(httpx.get({url!r}).json(), len(cassette.events))\n"
    done = failing.reproduce(failing.order.session_id, "--shell", typed=typed)
    assert "{'error': 'no stock'} 2" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to run behind --, as in: timetracer-otel reproduce ID -- python app.py"),
        (["FOLDER", "--", "python", "x"], "is a folder. Name one recording of it; list shows their ids."),
        (["PROCESS", "--", "python", "x"], "cannot be sent again: it is about no request."),
        (["ORDER", "--attach", "70000", "--", "python", "x"], "--attach"),
        (["ORDER", "--shell", "--", "python", "x"], "--shell: gives a prompt in the place of CMD."),
        (["ORDER", "--debug", "--shell"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line(failing: Failing, arguments: list[str], said: str) -> None:
    from tests.sample_cassettes import cassette
    from timetracer_otel.cassette import save_cassette
    from timetracer_otel.types import RequestSnapshot, ResponseSnapshot

    process = failing.folder.parent / "process.msgpack"
    save_cassette(cassette([], request=RequestSnapshot("", ""), response=ResponseSnapshot(0)), process)
    names = {"FOLDER": str(failing.folder), "PROCESS": str(process), "ORDER": failing.order.path}
    done = subprocess.run(
        [SCRIPT, "reproduce", *(names.get(each, each) for each in arguments)],
        capture_output=True,
        text=True,
        env=environment([]),
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
