"""What is said of a request that has no answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sample_cassettes import body, cassette
from timetracer_otel.cassette import save_cassette
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.types import HeaderMap, RequestSnapshot, ResponseSnapshot
from timetracer_otel.verify import Address, plan
from timetracer_otel.verify.compare import Ignored
from timetracer_otel.verify.runner import Outcome, Result, Runner
from timetracer_otel.verify.verdicts import VerdictFile


def judged(index: FolderIndex, report: Path, answer: Callable[[socket.socket], None]) -> Result:
    """What is said of the one request of a folder, which a service answers over its connection."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        service = threading.Thread(target=serve)
        service.start()
        address = Address("http", *listening.getsockname())
        runner = Runner(index, address, VerdictFile(report), Ignored.of([]), {}, 60.0, fail_on_unused=False)
        result = runner.judge(plan(index)[0])
        service.join()
    return result


def test_a_service_that_dies_of_a_request_is_not_waited_for_behind_an_answer(tmp_path: Path) -> None:
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    recorded = RequestSnapshot("GET", "/die", headers=HeaderMap(((b"host", b"127.0.0.1"),)))
    path = save_cassette(cassette([], request=recorded), folder / "x.msgpack")

    def die(connection: socket.socket) -> None:
        report.write_text(json.dumps({"request": "GET /die", "cassette": path, "state": "began"}) + "\n")
        connection.recv(65536)

    result = judged(FolderIndex(folder), report, die)
    assert result.outcome is Outcome.FAILED
    assert [problem.partition(":")[0] for problem in result.problems] == ["no answer"]
    assert result.notes == []


@pytest.mark.parametrize(("bound", "outcome"), [(True, Outcome.PASSED), (False, Outcome.FAILED)])
def test_an_answer_is_compared_by_what_the_calls_have_bound(bound: bool, outcome: Outcome, tmp_path: Path) -> None:
    before, now, other = (f"{digit}f0c4f3e-7f0a-4c7e-9d55-0a1b2c3d4e5f" for digit in "9ab")
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    recorded = RequestSnapshot("GET", "/new", headers=HeaderMap(((b"host", b"127.0.0.1"),)))
    answer = ResponseSnapshot(
        200, HeaderMap([(b"content-type", b"application/json")]), body(f'["{before}"]'.encode())
    )
    path = save_cassette(cassette([], request=recorded, response=answer), folder / "x.msgpack")

    def serve(connection: socket.socket) -> None:
        bindings = [["uuid", before, now if bound else other]]
        lines = {"request": "GET /new", "cassette": path, "state": "ended", "bindings": bindings}
        report.write_text(json.dumps(lines) + "\n")
        connection.recv(65536)
        data = f'["{now}"]'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
        connection.sendall(f"{head}connection: close\r\n\r\n{data}".encode())

    result = judged(FolderIndex(folder), report, serve)
    assert result.outcome is outcome, result.problems
    assert result.problems == ([] if bound else [f"body $[0]: recorded '{before}', now '{now}'"])
