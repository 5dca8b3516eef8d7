"""One subject of one library in one process: sets itself up, says so, and runs one batch of calls for each line on
its standard input, which names the size of the bodies.

Answers each line with a line of JSON: microseconds of processor time of each call on the calling thread; of the whole
batch on all threads, from opening what stands around it until all is written; bytes on disk; and how many answers
were not what the server sends, with the first of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib.metadata
import json
import platform
import re
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from libraries import LIBRARIES, Library, Place, expected
from subjects import SUBJECTS, Around, Setting, Subject
from workload import Operation, operations

DISTRIBUTIONS = {
    "httpx": "httpx",
    "requests": "requests",
    "aiohttp": "aiohttp",
    "sqlalchemy": "SQLAlchemy",
    "redis": "redis",
    "psycopg": "psycopg",
    "opentelemetry-sdk": "opentelemetry-sdk",
    "timetracer-otel": "timetracer-otel",
    "timetracer": "timetracer",
    "vcrpy": "vcrpy",
    "cassetter": "cassetter",
    "tusk-drift-python-sdk": "tusk-drift-python-sdk",
    "responses": "responses",
    "aioresponses": "aioresponses",
    "fakeredis": "fakeredis",
}


class Runner:
    """Makes the calls of one library."""

    def __init__(self, library: Library, place: Place) -> None:
        self._library = library
        self._place = place
        self._loop = asyncio.new_event_loop() if library.is_async else None
        self._kept: Any = None

    def batch(self, size: str, subject: Subject) -> dict[str, Any]:
        """Make a batch of calls, and give what it took."""
        library, todo = self._library, operations(size)
        client = self._run(self._opened(subject.client))
        began = time.process_time_ns()
        took, answers = self._run(self._calls(client, size, subject, todo))
        subject.flush()
        whole = time.process_time_ns() - began
        if not library.keeps_client:
            self._run(self._closed(client))
        wanted = [expected(library, operation) for operation in todo]
        # Types count as well: text is no bytes.
        pairs = zip(answers, wanted, strict=True)
        unlike = [answer for answer, right in pairs if type(answer) is not bytes or answer != right]
        return {
            "calls": [ns / 1000 for ns in took],
            "whole": whole / 1000 / len(todo),
            "wrong": len(unlike),
            "first": told(unlike[0]) if unlike else None,
            "disk": subject.on_disk(size) / len(todo) if subject.on_disk is not None else None,
        }

    def end_client(self) -> None:
        """Let the next batch begin with a client that was never used."""
        if self._kept is not None:
            self._library.close(self._kept)
            self._kept = None

    def _run(self, steps: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is not None:
            return self._loop.run_until_complete(steps)
        # A library that does not await does all in one step.
        try:
            steps.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("a library that is not asyncio's waits for something")

    async def _opened(self, given: Any) -> Any:
        if not self._library.keeps_client:
            return self._library.client(self._place, given)
        if self._kept is None:
            self._kept = self._library.client(self._place, given)
        return self._kept

    async def _closed(self, client: Any) -> None:
        with contextlib.suppress(Exception):
            closing = self._library.close(client)
            if closing is not None:
                await closing

    async def _calls(
        self, client: Any, size: str, subject: Subject, todo: list[Operation]
    ) -> tuple[list[int], list[Any]]:
        """Nanoseconds of each call, and each answer, or what was raised in its place."""
        library, place = self._library, self._place
        took: list[int] = []
        answers: list[Any] = []
        try:
            with subject.around(size), library.inside(client) as given:
                for operation in todo:
                    began = time.thread_time_ns()
                    try:
                        answer = library.call(given, place, operation)
                        if library.is_async:
                            answer = await answer
                    except Exception as error:
                        answer = error
                    took.append(time.thread_time_ns() - began)
                    answers.append(answer)
        except Exception as error:
            # What stands around the batch, or what the connection is opened with, has failed.
            answers += [error] * (len(todo) - len(answers))
        return took, answers


def told(answer: object) -> str:
    """An answer in one short line."""
    text = f"{type(answer).__name__}: {answer}" if isinstance(answer, Exception) else repr(answer)
    # The name of the temporary folder says nothing.
    return " ".join(re.sub(r"/[^ ]*/(?=[^ /]*\.yaml)", "", text).split())[:160]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--library", choices=LIBRARIES, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--name", required=True, help="of its own in the server")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", required=True)
    arguments = parser.parse_args()
    library = LIBRARIES[arguments.library]
    place = (arguments.address, arguments.name)
    library.fill(place)
    runner = Runner(library, place)

    def record_all(around: Around) -> None:
        for size in arguments.sizes:
            runner.batch(size, Subject(around))
        runner.end_client()
        library.empty(place)
        # Whoever runs us stops the server of an HTTP client.
        say("recorded")
        sys.stdin.readline()

    setting = Setting(arguments.library, library, place, arguments.folder, arguments.sizes, record_all)
    subject = SUBJECTS[arguments.subject](setting)
    gc.collect()
    gc.freeze()
    versions = {label: version for name, label in DISTRIBUTIONS.items() if (version := installed(name))}
    say({**versions, "Python": platform.python_version()})
    for line in sys.stdin:
        say(runner.batch(line.strip(), subject))


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
