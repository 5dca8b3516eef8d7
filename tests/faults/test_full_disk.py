"""A disk that is full, a folder that is not to be written to: the app goes on, and says so once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, plain

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and file systems of POSIX")

SERVICE = """
import json, os, pathlib, resource, time
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from timetracer_otel import counters
from timetracer_otel.otel import TimetracerInstrumentor
trace.set_tracer_provider(TracerProvider())
TimetracerInstrumentor().instrument()

def job(number, users=20, body=b"", then=lambda: None):
    with trace.get_tracer("my.app").start_as_current_span(f"job {{number}}", kind=trace.SpanKind.CONSUMER):
        for user in range(users):
            assert httpx.get(f"{base}/users/{{user}}").json()["id"] == user
            if body:
                assert httpx.post(f"{base}/echo", content=body).content == body
            then()

def told():
    trace.get_tracer_provider().force_flush()
    now = counters()
    return now.cassettes_written, dict(now.cassettes_dropped), dict(now.events_dropped), dict(now.faults)
"""
REFUSED = "the folder could not be written to"


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room, of which nobody who is not root makes one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not _mounted(folder):
        pytest.skip("cannot mount a file system here; the limit of file sizes stands in for it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mounted(folder: Path) -> bool:
    mount = shutil.which("mount")
    return (
        mount is not None
        and not subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    )


def _run(upstream: Loopback, folder: Path, code: str, said: str = "Recordings are dropped and counted.") -> list[str]:
    """Run a service to its end, which says something once; gives what it prints."""
    done = plain(
        SERVICE.format(base=upstream.url) + code,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(folder),
        TIMETRACER_JOURNAL_S="0.02",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count(said) == 1, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_costs_recordings_and_nothing_else_and_they_come_back_with_the_room(
    upstream: Loopback, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    printed = _run(
        upstream,
        small_disk,
        f"""
job(1)
print(told())
filler = open({str(filler)!r}, "wb", buffering=0)
try:
    while True:
        filler.write(bytes(4096))
except OSError:
    pass
for number in range(2, 5):
    job(number, body=bytes(5000))
print(told())
filler.close()
os.unlink({str(filler)!r})
job(5)
print(told())
""",
    )
    assert printed == [
        "(1, {}, {}, {})",
        "(1, {'the disk was full': 3}, {}, {})",
        "(2, {'the disk was full': 3}, {}, {})",
    ]
    found = {cassette.request.path: cassette for cassette in cassettes(small_disk)}
    assert {path for path, cassette in found.items() if cassette.complete} == {"job 1", "job 5"}
    # What there was room for of the others before it ran out.
    assert set(found) <= {f"job {number}" for number in range(1, 6)}
    assert not [*small_disk.rglob("*.part"), *small_disk.rglob("*.tmp")]


def test_files_that_may_not_grow_end_in_counted_recordings_and_the_app_does_not_notice(
    upstream: Loopback, tmp_path: Path
) -> None:
    printed = _run(
        upstream,
        tmp_path,
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
job(1, users=2)
# The journal writes the first calls by themselves: nothing can be read of a part that is cut in its first.
def first_calls_are_written():
    latest = time.monotonic() + 60
    while time.monotonic() < latest and not any(part.stat().st_size > 5_000 for part in folder.rglob("*.part")):
        time.sleep(0.01)
folder = pathlib.Path(os.environ["TIMETRACER_DIR"])
job(2, users=3, body=bytes(5000), then=first_calls_are_written)
print(told())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
job(3)
print(told())
""",
    )
    reason = "a file would have been larger than the process may write"
    assert printed == [f"(1, {{{reason!r}: 1}}, {{}}, {{}})", f"(2, {{{reason!r}: 1}}, {{}}, {{}})"]
    found = {cassette.request.path: cassette for cassette in cassettes(tmp_path)}
    assert (found["job 1"].complete, found["job 3"].complete) == (True, True)
    # The part held what fitted: that is the cassette now.
    assert not found["job 2"].complete
    assert 0 < len(found["job 2"].events) < 6
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob("*.tmp")]


def test_a_folder_that_becomes_unwritable_is_no_concern_of_the_app(upstream: Loopback, tmp_path: Path) -> None:
    folder = tmp_path / "cassettes"
    printed = _run(
        upstream,
        folder,
        f"""
job(1)
told()
# Root may write anywhere, but not below a file.
os.rename({str(folder)!r}, {str(tmp_path / "away")!r})
open({str(folder)!r}, "w").close()
job(2)
print(told())
os.unlink({str(folder)!r})
job(3)
print(told())
""",
    )
    assert printed == [f"(1, {{{REFUSED!r}: 1}}, {{}}, {{}})", f"(2, {{{REFUSED!r}: 1}}, {{}}, {{}})"]
    assert [cassette.request.path for cassette in cassettes(folder)] == ["job 3"]


def test_too_many_open_files_count_as_that_and_the_app_hears_of_the_cure(upstream: Loopback, tmp_path: Path) -> None:
    folder = tmp_path / "cassettes"
    printed = _run(
        upstream,
        folder,
        """
opened = []
def open_many():
    # More than once: the journal may have a file open the first time, and close it.
    for _ in range(4):
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            time.sleep(0.05)
job(1)
told()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for number in (2, 3):
    job(number, users=1, then=open_many)
    told()
    while opened:
        os.close(opened.pop())
print(told())
job(4)
print(told())
""",
        "Too many open files. Close what the app leaves open, or raise the limit of open files (ulimit -n). ",
    )
    assert printed == [
        "(1, {'too many files were open': 2}, {}, {})",
        "(2, {'too many files were open': 2}, {}, {})",
    ]
    found = {cassette.request.path: cassette for cassette in cassettes(folder)}
    assert {path for path, cassette in found.items() if cassette.complete} == {"job 1", "job 4"}
    # A part that the journal had opened before the app took all that were left is a cassette of what it held.
    assert set(found) <= {"job 1", "job 2", "job 3", "job 4"}


def test_calls_of_the_process_that_a_full_disk_costs_count_as_that(upstream: Loopback, small_disk: Path) -> None:
    printed = _run(
        upstream,
        small_disk,
        f"""
httpx.get("{upstream.url}/users/1")
filler = open({str(small_disk / "filler")!r}, "wb", buffering=0)
try:
    while True:
        filler.write(bytes(4096))
except OSError:
    pass
for user in range(40):
    httpx.get("{upstream.url}/users/2")
print(list(told()[2]))
""",
        "Calls outside requests are counted, not recorded",
    )
    assert printed == ["['calls that could not be written: the disk was full']"]
