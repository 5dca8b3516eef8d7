"""What is said of a request that has no answer."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

from tests.sample_cassettes import cassette
from timetracer_otel.cassette import save_cassette
from timetracer_otel.match.folder_index import CassetteLibrary
from timetracer_otel.types import HeaderMap, RequestSnapshot
from timetracer_otel.verify import Address, plan
from timetracer_otel.verify.compare import Ignored
from timetracer_otel.verify.runner import Outcome, Runner
from timetracer_otel.verify.verdicts import VerdictFile


def test_a_service_that_dies_of_a_request_is_not_waited_for_behind_an_answer(tmp_path: Path) -> None:
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    recorded = RequestSnapshot("GET", "/die", headers=HeaderMap(((b"host", b"127.0.0.1"),)))
    path = save_cassette(cassette([], request=recorded), folder / "x.msgpack")
    library = CassetteLibrary(folder)

    def die() -> None:
        connection, _ = listening.accept()
        report.write_text(json.dumps({"request": "GET /die", "cassette": path, "state": "began"}) + "\n")
        connection.recv(65536)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        service = threading.Thread(target=die)
        service.start()
        address = Address("http", *listening.getsockname())
        runner = Runner(library, address, VerdictFile(report), Ignored.of([]), {}, 60.0, fail_on_unused=False)
        result = runner.judge(plan(library)[0])
        service.join()
    assert result.outcome is Outcome.FAILED
    assert [problem.partition(":")[0] for problem in result.problems] == ["no answer"]
    assert result.notes == []
