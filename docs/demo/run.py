"""The main job, end to end: record a service, stop its upstream, replay it.

``python docs/demo/run.py [--dir FOLDER]``, or ``make demo``.

Exit code 0 where every replayed answer equals the recorded one; 1 where anything differs, is missing or dies.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from otlp_receiver import OtlpReceiver
from processes import Children, DemoError, accepts_connections, clean_environment, free_ports
from stores import make_database, redis_command

from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli.terminal import print_lines
from timetracer_otel.types import Cassette

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
OWN_FOLDER = HERE.parents[1] / "build" / "demo"
COMPARED_HEADERS = ("content-type", "content-length", "retry-after")
COLUMN = 54
LOOKS = ((r"^== .*", "bold"), (r"\bEQUAL\b", "green"), (r"\bDIFFERENT\b", "bold red"), (r"^  \$ .*", "cyan"))
"""What stands out on a terminal, where the extra ``cli`` is installed."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    what: str
    status: int
    calls: Mapping[str, int]
    """How many calls each library makes; -1 for "some", where that is the library's business."""
    body: object = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


ORDER = [
    {"product": 1, "count": 1},
    {"product": 2, "count": 2},
    {"product": 3, "count": 3},
    {"product": 1, "count": 4},
]
EVERYTHING = {"httpx": 1, "aiohttp": 1, "sqlalchemy": -1, "redis": -1}
REQUESTS = [
    Request("GET", "/products/2", "JSON, sync client", 200, {"httpx": 1}),
    Request("POST", "/orders", "4 concurrent POSTs, answered out of order", 200, {"httpx": 4}, ORDER),
    Request("GET", "/report", "a stream, line by line", 200, {"httpx": 1}),
    Request("GET", "/reviews/1", "upstream answers 503, the service copes", 502, {"httpx": 1}),
    Request("GET", "/stock/3", "requests, with a redirect", 200, {"requests": 2}),
    Request("GET", "/prices", "aiohttp, a stream", 200, {"aiohttp": 1}),
    Request("POST", "/checkout/1/2", "httpx, aiohttp, a database and Redis", 200, EVERYTHING, {}),
    Request("POST", "/checkout/2/3", "the same for somebody else", 200, EVERYTHING, {}),
]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument(
        "--dir", type=Path, default=OWN_FOLDER, help="where to leave the files (default: build/demo, emptied first)"
    )
    folder: Path = arguments.parse_args().dir.resolve()
    signal.signal(signal.SIGTERM, _exit)
    started = time.monotonic()
    try:
        if folder == OWN_FOLDER:
            shutil.rmtree(folder, ignore_errors=True)
        require(not (folder / "cassettes").exists(), f"{folder} holds cassettes already; name another --dir")
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        with OtlpReceiver() as backend, Children(folder / "logs") as children:
            Demo(folder, backend, children).run()
    except (DemoError, OSError) as error:
        show(f"\nFAILED: {error}")
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    show(f"\nDone in {time.monotonic() - started:.0f} s: {len(REQUESTS)} of {len(REQUESTS)} answers are EQUAL.")
    return 0


class Demo:
    """The steps, in order; each raises `DemoError` where something is not as it must be."""

    def __init__(self, folder: Path, backend: OtlpReceiver, children: Children) -> None:
        self.cassettes = folder / "cassettes"
        self.database = folder / "shop.db"
        self.backend = backend
        self.children = children
        self.upstream_port, self.redis_port, self.service_port, *self.replay_ports = free_ports(3 + len(REQUESTS))

    def run(self) -> None:
        recorded = self.record()
        cassettes = self.find_cassettes()
        self.stop_everything()
        replayed = self.replay(cassettes)
        self.compare(recorded, replayed)
        self.verify()
        self.show(cassettes)
        self.say_what_next(cassettes)

    def record(self) -> list[Answer]:
        """Send the requests to the service while the upstream is there."""
        step("Record: the service runs under stock opentelemetry-instrument")
        say("$ OTEL_TRACES_EXPORTER=otlp,timetracer opentelemetry-instrument python docs/demo/service.py")
        self.children.start(
            "upstream",
            [sys.executable, str(HERE / "upstream.py"), str(self.upstream_port)],
            clean_environment(),
            self.upstream_port,
        )
        make_database(self.database)
        self.children.start("redis", redis_command(self.redis_port), clean_environment(), self.redis_port)
        settings = {"OTEL_TRACES_EXPORTER": "otlp,timetracer", "TIMETRACER_DIR": str(self.cassettes)}
        self.start_service("service", self.service_port, settings)
        self.children.wait_until_listening("upstream", "redis", "service")
        answers = []
        for request in REQUESTS:
            answer = send(request, self.service_port)
            require(
                answer.status == request.status, f"{request}: {request.status} was to be answered: {answer.body!r}"
            )
            answers.append(answer)
        self.children.check()
        self.children.stop("service")
        self.check_spans(replayed=False)
        return answers

    def find_cassettes(self) -> list[Path]:
        """One cassette for each request, in the order of the requests."""
        files = sorted(self.cassettes.rglob("*.msgpack"))
        by_request: dict[str, Path] = {}
        for path in files:
            cassette = read_cassette(path)
            require(cassette.complete, f"{path} is not complete")
            name = f"{cassette.request.method} {cassette.request.path}"
            require(name not in by_request, f"{name} has more than one cassette in {self.cassettes}")
            by_request[name] = path
        require(set(by_request) == {str(request) for request in REQUESTS}, f"cassettes for {sorted(by_request)}")
        for request in REQUESTS:
            check_events(request, read_cassette(by_request[str(request)]))
        say(f"{len(by_request)} requests were answered; each has a cassette in {shown(self.cassettes)}")
        return [by_request[str(request)] for request in REQUESTS]

    def stop_everything(self) -> None:
        """From here on nobody can ask anything."""
        step("Stop the upstream and Redis, delete the database")
        for name, port in (("upstream", self.upstream_port), ("redis", self.redis_port)):
            require(accepts_connections(port), f"{name} ended too early")
            self.children.stop(name)
            require(not accepts_connections(port), f"{name} still answers")
        self.database.unlink()
        say(f"their ports refuse connections, {shown(self.database)} is gone")

    def replay(self, cassettes: list[Path]) -> list[Answer]:
        """Start the same service once for each cassette, and send each the request it was recorded from."""
        step(f"Replay: the same service, {len(cassettes)} times side by side, each with one cassette")
        say("$ TIMETRACER_MODE=replay TIMETRACER_CASSETTE=… opentelemetry-instrument python docs/demo/service.py")
        names = [f"replay-{number}" for number in range(1, len(cassettes) + 1)]
        for name, port, cassette in zip(names, self.replay_ports, cassettes, strict=True):
            settings = {
                "OTEL_TRACES_EXPORTER": "otlp",
                "TIMETRACER_MODE": "replay",
                "TIMETRACER_CASSETTE": str(cassette),
            }
            self.start_service(name, port, settings)
        self.children.wait_until_listening(*names)
        answers = []
        for request, port in zip(REQUESTS, self.replay_ports, strict=True):
            answers.append(send(request, port))
        self.children.check()
        require(not accepts_connections(self.upstream_port), "somebody serves the upstream's port")
        require(not self.database.exists(), "somebody made the database again")
        self.children.stop(*names)
        self.check_spans(replayed=True)
        return answers

    def compare(self, recorded: list[Answer], replayed: list[Answer]) -> None:
        """Say of each answer whether it is the recorded one, and put those side by side that are not."""
        step("The replayed answers, and those that were recorded while everything was running")
        different = []
        for request, before, after in zip(REQUESTS, recorded, replayed, strict=True):
            equal = before == after
            answer = f"{after.status}, {len(after.body)} bytes"
            say(f"{request!s:20} {'EQUAL' if equal else 'DIFFERENT':9}  {answer:14}  {request.what}")
            if equal:
                continue
            different.append(str(request))
            say(f"{'':4}{'recorded':{COLUMN}}  replayed")
            for left, right in zip(described(before), described(after), strict=True):
                for one, other in padded(left, right):
                    say(f"{'':4}{one:{COLUMN}}  {other}")
        require(not different, f"these answers differ: {', '.join(different)}")

    def verify(self) -> None:
        """All of that in one command: the service once, each recorded request, each answer compared."""
        step("Verify: one service answers every recorded request from its own cassette")
        say(f"$ timetracer-otel verify {shown(self.cassettes)} --jobs 4 -- python docs/demo/service.py …")
        require(not accepts_connections(self.service_port), "the recorded service still answers")
        done = subprocess.run(
            [
                *(str(BIN / "timetracer-otel"), "verify", str(self.cassettes), "--jobs", "4"),
                *("--", *self.service_command(self.service_port)),
            ],
            env={**self.service_environment(), "OTEL_TRACES_EXPORTER": "none"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        say("  ".join(done.stdout.splitlines()[-1:]))
        require(
            done.returncode == 0 and f"{len(REQUESTS)} passed" in done.stdout,
            f"it ended with {done.returncode}: {done.stderr}",
        )
        require(not self.database.exists(), "somebody made the database again")

    def show(self, cassettes: list[Path]) -> None:
        """What a cassette holds, as the command line shows it."""
        step("What a cassette holds")
        command = ["show", name_of(cassettes[-1]), "--dir", shown(self.cassettes)]
        say(f"$ timetracer-otel {' '.join(command)}")
        done = subprocess.run(
            [str(BIN / "timetracer-otel"), *command],
            env={**clean_environment(), "COLUMNS": str(shutil.get_terminal_size((118, 24)).columns - 2)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        require(done.returncode == 0, f"it ended with {done.returncode}: {done.stderr}")
        _, _, calls = done.stdout.partition("\n\n")
        require("redis" in calls, f"it shows no calls: {done.stdout}")
        show(textwrap.indent(calls.rstrip(), "  "))

    def say_what_next(self, cassettes: list[Path]) -> None:
        """Commands that work on what the demo leaves."""
        step("Try next")
        program, folder = shown(BIN / "timetracer-otel"), shown(self.cassettes)
        service = " ".join(
            [shown(BIN / "python"), shown(HERE / "service.py"), *self.service_command(self.service_port)[2:]]
        )
        checkouts = f"{name_of(cassettes[-2])} {name_of(cassettes[-1])}"
        say(f"$ {program} list {folder}")
        say(f"$ {program} diff {checkouts} --dir {folder}")
        say(f"$ {program} reproduce {name_of(cassettes[-1])} --dir {folder} -- {service}")

    def start_service(self, name: str, port: int, settings: dict[str, str]) -> None:
        """The same command every time; only the environment differs."""
        command = [str(BIN / "opentelemetry-instrument"), *self.service_command(port)]
        self.children.start(name, command, {**self.service_environment(), **settings}, port)

    def service_command(self, port: int) -> list[str]:
        return [
            sys.executable,
            str(HERE / "service.py"),
            str(port),
            f"http://127.0.0.1:{self.upstream_port}",
            f"sqlite:///{self.database}",
            f"redis://127.0.0.1:{self.redis_port}/0",
        ]

    def service_environment(self) -> dict[str, str]:
        return {
            **clean_environment(),
            "OTEL_SERVICE_NAME": "demo-shop",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.backend.endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def check_spans(self, *, replayed: bool) -> None:
        """The tracing backend has got a span of every request and every call, marked where they were replayed."""
        # One span for a chain of redirects; how many there are of SQL and Redis is their instrumentations' business.
        calls = sum(request.calls.get(name, 0) for request in REQUESTS for name in ("httpx", "aiohttp"))
        chains = sum("requests" in request.calls for request in REQUESTS)
        wanted = {"server": len(REQUESTS), "http client": calls + chains}
        found = self.backend.wait_for(wanted)
        spans = self.backend.take_all()
        marked = sum(span.replayed for span in spans if span.kind == "http client")
        others = sum(span.replayed for span in spans) - marked
        replays = f"; {marked + others} of them are marked timetracer.replayed" if replayed else ""
        say(f"the OTLP backend received {len(spans)} spans{replays}")
        got = {kind: found[kind] for kind in wanted}
        require(got == wanted, f"the backend should have {wanted}, and has {got}")
        require(
            marked == (wanted["http client"] if replayed else 0), "the wrong spans are marked timetracer.replayed"
        )


def send(request: Request, port: int) -> Answer:
    """Send one request to the service, by the standard library's own client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        body = None if request.body is None else json.dumps(request.body)
        connection.request(request.method, request.path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"{request}: {error!r}") from error
    finally:
        connection.close()
    headers = {name: value for name in COMPARED_HEADERS if (value := response.headers.get(name)) is not None}
    return Answer(response.status, headers, content)


def check_events(request: Request, cassette: Cassette) -> None:
    """The cassette holds each call that the service made for this request, and each can be replayed."""
    found = Counter(event.signature.lib for event in cassette.events)
    require(set(found) == set(request.calls), f"{request}: calls of {dict(found)}, not of {dict(request.calls)}")
    for name, count in request.calls.items():
        require(count in (-1, found[name]), f"{request}: {found[name]} calls of {name}, not {count}")
    for event in cassette.events:
        require(event.not_replayable is None, f"{request}: event {event.eid}: {event.not_replayable}")


def described(answer: Answer) -> list[str]:
    """Status, headers and body of an answer, a line each."""
    return [
        f"status {answer.status}",
        ", ".join(f"{name}: {value}" for name, value in answer.headers.items()),
        answer.body.decode("utf-8", "replace"),
    ]


def padded(left: str, right: str) -> list[tuple[str, str]]:
    """Two texts wrapped into columns of equal height."""
    columns = [textwrap.wrap(text, COLUMN, break_on_hyphens=False) or [""] for text in (left, right)]
    height = max(map(len, columns))
    one, other = (column + [""] * (height - len(column)) for column in columns)
    return list(zip(one, other, strict=True))


def require(truth: bool, otherwise: str) -> None:
    """Go on only where something is so."""
    if not truth:
        raise DemoError(otherwise)


def shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def name_of(cassette: Path) -> str:
    """The id at the end of a cassette's name, by which every command finds it."""
    return cassette.name.partition(".")[0].rpartition("_")[2]


def step(title: str) -> None:
    show(f"\n== {title}")


def say(line: str) -> None:
    show(f"  {line}")


def show(text: str) -> None:
    print_lines(text.split("\n"), LOOKS)
    sys.stdout.flush()


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
