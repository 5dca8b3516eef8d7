"""What a service's process says about its requests, read as it is written."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from timetracer_otel.verify import VerdictFile
from timetracer_otel.verify.verdicts import CallVerdict


def write(path: Path, **found: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(found) + "\n")


def test_lines_of_one_cassette_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "v"
    verdicts = VerdictFile(path)
    assert verdicts.wait_for("a", 0.0) is None
    write(path, cassette="a", state="began")
    assert verdicts.wait_for("a", 0.0) == CallVerdict()
    write(path, cassette="a", state="ended", misses=["one"], unused=[2])
    write(path, cassette=None, state="ended", misses=["other"])
    write(path, cassette="a", state="late", misses=["two"])
    assert verdicts.wait_for("a", 5.0) == CallVerdict(["one", "two"], [2], ended=True)


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v"
    line = json.dumps({"cassette": "a", "state": "ended"}) + "\n"
    path.write_text(line[:20])
    verdicts = VerdictFile(path)
    assert verdicts.wait_for("a", 0.0) is None
    path.write_text(line)
    assert verdicts.wait_for("a", 0.0) == CallVerdict(ended=True)


def test_whoever_waits_hears_of_the_end(tmp_path: Path) -> None:
    path = tmp_path / "v"
    verdicts = VerdictFile(path)
    write(path, cassette="a", state="began")
    writer = threading.Timer(0.3, lambda: write(path, cassette="a", state="ended", unused=[1]))
    writer.start()
    assert verdicts.wait_for("a", 20.0) == CallVerdict(unused=[1], ended=True)
    writer.join()


def test_nobody_waits_long_for_a_service_that_does_not_replay(tmp_path: Path) -> None:
    began = time.monotonic()
    assert VerdictFile(tmp_path / "v").wait_for("a", 60.0) is None
    assert time.monotonic() - began < 20


def test_closing_ends_the_waiting(tmp_path: Path) -> None:
    write(tmp_path / "v", cassette="a", state="began")
    verdicts = VerdictFile(tmp_path / "v")
    closer = threading.Timer(0.2, verdicts.close)
    closer.start()
    assert verdicts.wait_for("a", 60.0) == CallVerdict()
    closer.join()
