"""Runs the own tests of client libraries three times and compares: traced only, recorded, replayed.

``make suite-clients`` calls it, and ``make suite-drivers`` for the drivers of databases. Each of the three runs is a
process of its own under ``opentelemetry-instrument``, with a hash seed of its own, which is printed; each test has a
cassette of its own. The servers of Redis and PostgreSQL are stopped before the replay, SQLAlchemy's databases are in
memory, and the HTTP servers are those of the tests. Writes the results to the file that ``--write`` names. Ends with
an error where a test that passes traced does not pass while recording, nor when it is recorded once more.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.suite_clients.causes import BY_NATURE, CAUSES  # noqa: E402 - the project is no package of the environment
from tests.suite_clients.clients import APART, CLIENTS, DRIVERS, Client  # noqa: E402

MODES = ("traced", "record", "replay")
SEED = os.environ.get("TEST_SEED") or str(random.randrange(2**32))

Outcomes = dict[str, list[str]]

KINDS = {
    "cannot be replayed": "a call was refused whose result cannot be replayed, such as a switch to WebSocket frames",
    "Blocked": "a connection that no plugin makes was refused",
    "No recorded call matches": "a call was refused that differs from each recorded one",
    "ReplayMismatchError": "a call was refused for another reason, which the error says",
    "did not run": "the run ended before the test",
    "skipped": "the test is skipped where no server answers",
}
"""By a part of what a lost test says: what happened."""
_OTHER = "nothing was refused, and the test found something else than live"


@dataclass
class Result:
    """One client's three runs."""

    client: Client
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    again: dict[str, list[str]] = field(default_factory=dict)
    """By mode: tests that passed when they were run once more."""

    def passed(self, mode: str) -> set[str]:
        """The tests that pass in a mode."""
        return {name for name, (outcome, _) in self.outcomes[mode].items() if outcome == "passed"}

    def lost(self, mode: str) -> list[str]:
        """Those that pass traced, and do not pass in the mode."""
        return sorted(self.passed("traced") - self.passed(mode))

    def text(self, mode: str, name: str) -> str:
        """A test's outcome, and all that it says."""
        return " ".join(self.outcomes[mode].get(name, ["did not run"]))

    def why(self, mode: str, name: str) -> str:
        """What a lost test says, in a line or two."""
        outcome, text = self.outcomes[mode].get(name, ["did not run", ""])
        said = [line.removeprefix("E ").strip() for line in text.splitlines() if line.startswith("E  ")]
        return " / ".join([outcome, *(said or text.splitlines()[-2:])[:2]])[:300]


def hash_seed(client: Client, mode: str) -> int:
    """The hash seed of a run: another one for each, and all of them other ones in the next call of the suite."""
    return random.Random(f"{SEED} {client.name} {mode}").randrange(2**32)


def version_of(client: Client) -> str:
    """The version that is tried."""
    return sys.version.split()[0] if client.source == "python" else importlib.metadata.version(client.project)


def source_of(client: Client, folder: Path, given: Mapping[str, Path]) -> Path:
    """The folder with the tests of the version that is installed, without the package: that is the installed one."""
    if client.source == "given":
        return given[client.name]
    source = folder / client.name / "source"
    if source.exists():
        return source
    if client.source == "python":
        # Tests leave files where they run.
        tests = Path(sysconfig.get_path("stdlib")) / "test"
        source.mkdir(parents=True)
        for part in [*client.tests, *(each.name for each in (*tests.glob("*.pem"), *tests.glob("certdata")))]:
            copy = shutil.copytree if (tests / part).is_dir() else shutil.copy
            copy(tests / part, source / part)
        return source
    wanted = f"{client.project}=={version_of(client)}"
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", client.project),
                *("--dest", scratch, wanted),
            ],
            check=True,
        )
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(scratch, filter="data")
        (unpacked,) = (each for each in Path(scratch).iterdir() if each.is_dir())
        for package in (client.project, "src"):
            shutil.rmtree(unpacked / package, ignore_errors=True)
        shutil.move(unpacked, source)
    return source


def run_mode(client: Client, mode: str, source: Path, folder: Path, *options: str, **variables: str) -> Outcomes:
    """One run of the tests in a process of its own."""
    outcomes = folder / f"{mode}.json"
    outcomes.unlink(missing_ok=True)
    (folder / "cassettes").mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TIMETRACER_"))},
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "suite",
        "OTEL_TRACES_EXPORTER": "none",
        "PYTHONHASHSEED": str(hash_seed(client, mode)),
        # SQLAlchemy's tests take the package beside them otherwise.
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(HERE),
        "SUITE_CASSETTES": str(folder / "cassettes"),
        "SUITE_LAST": " ".join(client.last),
        "SUITE_MATCHED_WITHOUT": client.matched_without,
        "SUITE_WARM_UP": " ".join(client.warm_up),
        "SUITE_MODE": mode,
        "SUITE_OUTCOMES": str(outcomes),
        "SUITE_SCOPE": client.scope,
        "SUITE_WAITS_FOR_SERVER": client.waits_for_server if mode == "replay" else "",
        "TIMETRACER_MAX_EVENTS": "1000000",
        **variables,
    }
    if mode == "traced":
        environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "timetracer"
    command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, "-m", "pytest"]
    command += ["-q", "-p", "no:cacheprovider", "-W", "ignore", "-o", "addopts=", "-p", "outcomes", "--tb=native"]
    with (folder / f"{mode}.log").open("w") as log:
        subprocess.run(
            [*command, *client.tests, *client.options, *options],
            cwd=source,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not outcomes.exists():
        raise SystemExit(f"{client.name}: {mode} did not end:\n{(folder / f'{mode}.log').read_text()[-3000:]}")
    found: Outcomes = json.loads(outcomes.read_text())
    return found


@dataclass
class Server:
    """What a client's tests speak to. Before each run it is as at first."""

    ready: Callable[[], None] = lambda: None
    """Called before each run."""
    options: tuple[str, ...] = ()
    """What pytest is told of it."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the tests read from the environment."""
    stopped: Callable[[], Mapping[str, str]] = dict
    """Called before the replay: stops it, or says by variables what the plugin of pytest stops."""


_postgres_is_used = Lock()
"""All databases are in one server, and each client stops it."""


@contextmanager
def server_of(client: Client) -> Iterator[Server]:
    """The server that is started for a client, where it needs one. An environment has what its own clients need."""
    if client.server == "redis":
        from tests.servers.redis import RedisServer

        # Some of the tests are about the log of slow commands.
        settings = {"slowlog-log-slower-than": "10000"}
        with tempfile.TemporaryDirectory() as scratch, RedisServer(Path(scratch), **settings) as redis:

            def ready() -> None:
                redis.stop()
                redis.start()

            # The client's own conftest asks the server when the run begins.
            options = ("--redis-url", f"redis://localhost:{redis.port}/0")
            yield Server(ready, options, stopped=lambda: {"SUITE_STOPS": str(redis.pid)})
    elif client.server == "postgres":
        from tests.servers.postgres import Postgres

        with _postgres_is_used:
            postgres = Postgres()
            url = postgres.url("psycopg")
            place = {"host": url.query["host"], "database": url.database}
            variables = {name: value.format(**place) for name, value in client.variables.items()}

            def stopped() -> Mapping[str, str]:
                postgres.stop()
                return {}

            try:
                yield Server(postgres.clear, variables=variables, stopped=stopped)
            finally:
                postgres.close()
    else:
        yield Server(variables=client.variables)


def run(client: Client, source: Path, folder: Path, options: list[str]) -> Result:
    """A client's three runs."""
    result = Result(client)
    with server_of(client) as server:
        options = [*options, *server.options]
        for mode in MODES:
            variables = dict(server.variables)
            server.ready()
            if mode == "replay" and client.scope == "marker":
                # In a block, the first test of a class may set up what the others use, so each has to run again.
                only = folder / "only.json"
                only.write_text(json.dumps(sorted(result.passed("traced"))))
                variables["SUITE_ONLY"] = str(only)
            if mode == "replay":
                variables.update(server.stopped())
            result.outcomes[mode] = run_mode(client, mode, source, folder, *options, **variables)
            lost = result.lost(mode)
            if mode != "traced" and lost:
                # Some depend on how long something takes, on when garbage is collected, or on which thread is first.
                again, only = folder / "again", folder / "again.json"
                only.write_text(json.dumps(lost))
                variables["SUITE_ONLY"] = str(only)
                if mode == "record":
                    server.ready()
                else:
                    variables["SUITE_CASSETTES"] = str(folder / "cassettes")
                found = run_mode(client, mode, source, again, *options, **variables)
                passed = [name for name in lost if found.get(name, [""])[0] == "passed"]
                result.again[mode] = passed
                result.outcomes[mode].update((name, found[name]) for name in passed)
                if mode == "record" and passed:
                    shutil.copytree(again / "cassettes", folder / "cassettes", dirs_exist_ok=True)
    return result


def compared(client: Client, folder: Path, options: list[str], given: Mapping[str, Path]) -> Result:
    """A client's three runs, and what they say."""
    seeds = {mode: hash_seed(client, mode) for mode in MODES}
    print(f"{client.name}: hash seeds by TEST_SEED={SEED}: {seeds}", flush=True)
    (folder / client.name).mkdir(parents=True, exist_ok=True)
    result = run(client, source_of(client, folder, given), folder / client.name, options)
    lines = [line_of(result)]
    lines += [f"  {mode}: passed when run again: {name}" for mode, names in result.again.items() for name in names]
    for mode in MODES[1:]:
        lines += [f"  {mode}: {name}\n    {result.why(mode, name)}" for name in result.lost(mode)]
    print("\n".join(lines), flush=True)
    return result


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drivers", action="store_true", help="the drivers of databases, not the clients of servers")
    every = (*CLIENTS, *DRIVERS, *APART)
    names = ", ".join(client.name for client in every)
    parser.add_argument("clients", nargs="*", help=f"any of {names}; all clients, or all drivers, where left out")
    parser.add_argument("--write", type=Path, help="the file for the results")
    parser.add_argument("--keep", type=Path, help="a folder for sources, cassettes and logs")
    parser.add_argument("--pytest", default="", help="more arguments for pytest")
    parser.add_argument("--at-once", type=int, default=2, help="how many clients are tried side by side")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="CLIENT=FOLDER",
        help="a checkout with the client's tests, where its distributions have none (psycopg)",
    )
    options = parser.parse_args()
    given = {name: Path(folder).resolve() for name, _, folder in (each.partition("=") for each in options.source)}
    clients = [client for client in every if client.name in options.clients]
    clients = clients or list(DRIVERS if options.drivers else CLIENTS)
    for client in [each for each in clients if each.source == "given" and each.name not in given]:
        print(f"{client.name}: left out, since no --source {client.name}=FOLDER names its tests", flush=True)
        clients.remove(client)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.at_once) as at_once:
        top = (options.keep or Path(scratch)).resolve()
        work = partial(compared, folder=top, options=shlex.split(options.pytest), given=given)
        results = list(at_once.map(work, clients))
    if options.write:
        apart = all(client in APART for client in clients)
        page = apart_page if apart else drivers_page if options.drivers else clients_page
        options.write.write_text(page(results))
    if any(result.lost("record") for result in results):
        raise SystemExit(1)


def line_of(result: Result) -> str:
    """One client's numbers."""
    passed = len(result.passed("traced"))
    return (
        f"{result.client.name}: {passed} pass traced; of these {passed - len(result.lost('record'))} pass while "
        f"recording, {passed - len(result.lost('replay'))} in replay"
    )


def clients_page(results: list[Result]) -> str:
    """``docs/client-suites.md``."""
    lines = [
        "# The clients' own tests",
        "",
        "<!-- Made by make suite-clients. -->",
        "",
        "`make suite-clients` runs tests that the authors of the clients wrote for them, from their source",
        "distributions, three times: with OpenTelemetry's tracing only, recorded, and replayed. Each test has a",
        "cassette of its own. The Redis server is stopped before the replay. SQLAlchemy's databases are in memory.",
        "The HTTP servers are those of the tests themselves, and are not called in the replay. What a test draws",
        "from `random` is the same in each run.",
        "",
        *numbers(results, "client"),
        "## Tests that pass traced and not in replay",
        "",
        "Most of these tests look at what is beneath a call: what arrived at their server, which connection was",
        "used, what lies in the pool. A replay has none of these.",
        "",
        "| client | tests | what happened in the replay |",
        "|---|---|---|",
    ]
    for result in results:
        kinds = Counter(kind_of(result.text("replay", name)) for name in result.lost("replay"))
        lines += [f"| {result.client.name} | {number} | {kind} |" for kind, number in kinds.most_common()]
    return "\n".join(lines) + "\n"


def drivers_page(results: list[Result]) -> str:
    """``docs/driver-suites.md``."""
    lines = [
        "# The drivers' own tests",
        "",
        "<!-- Made by make suite-drivers. -->",
        "",
        "`make suite-drivers` runs the tests that the authors of the drivers wrote for them, three times: with",
        "OpenTelemetry's tracing only, recorded, and replayed. Each test has a cassette of its own. PostgreSQL is",
        "stopped before the replay. The tests of sqlite3 are Python's own, those of psycopg2 and asyncpg come from",
        "their source distributions. Psycopg's distributions have no tests: they are those of a checkout of its",
        "repository, without the tests that it marks as slow, and without those of `psycopg.pq`, which call libpq.",
        "PostgreSQL has no port, so tests that need one fail traced as well. The tests that fail while recording, or",
        "in the replay, are run once more, by themselves, since many count on how long something takes.",
        "",
        "Most of sqlite3's tests have a database in memory, which is the process's own: a replay runs them for real.",
        "`sqlite3-memory` are the same tests with `memory_databases=True`, where each statement is answered.",
        "",
        *numbers(results, "driver"),
        "## Tests that pass traced and not in replay",
        "",
    ]
    for result in results:
        lines += [f"### {result.client.name}", "", *by_cause(result, "replay"), ""]
    return "\n".join(lines)


_URLLIB3_HEAD = """\
# urllib3's own tests

<!-- Made by make suite-urllib3. -->

`make suite-urllib3` runs urllib3's own tests, from its source distribution, three times: with
OpenTelemetry's tracing only, recorded, and replayed. Each test has a cassette of its own. The servers are
those of the tests themselves; nobody asks them in the replay, and their end is not waited for. They have
the ports of the recording there. What is asked of a pool is answered from the cassette. A connection that
a test makes by itself, beneath all pools, is made for real (`TIMETRACER_UNCAPTURED=live`). A test that
fails while recording, or in the replay, is run once more, by itself, since many count on how long
something takes. Tests that want the exact bytes of a request fail traced as well: OpenTelemetry adds a
header to it.
"""
_HTTP_CLIENT_HEAD = """\
# Python's own tests of http.client and urllib

<!-- Made by make suite-httpclient. -->

`make suite-httpclient` runs Python's own tests of `http.client` and `urllib.request`, three times: with
OpenTelemetry's tracing only, recorded, and replayed. Each test has a cassette of its own. The servers are
those of the tests themselves; nobody asks them in the replay. Most of the tests have no server: they give
a connection a socket of their own, which has an answer in memory, and that is recorded and replayed as
any other. What a test does by sockets alone is done for real (`TIMETRACER_UNCAPTURED=live`). The tests of
`xmlrpc.client` are left out, since they wait without an end for what their server hears. Tests that fail
traced do so because OpenTelemetry reads more of a response than their stand-ins have.
"""


def apart_page(results: list[Result]) -> str:
    """``docs/urllib3-suite.md`` or ``docs/http-client-suite.md``."""
    head = _URLLIB3_HEAD if results[0].client.name == "urllib3" else _HTTP_CLIENT_HEAD
    lines = [head, *numbers(results, "client")]
    for result in results:
        if result.lost("record"):
            lines += ["## Tests that pass traced and not while recording", "", *by_cause(result, "record"), ""]
        natural = BY_NATURE.get(result.client.name, {})
        passed, lost = len(result.passed("traced")), result.lost("replay")
        apart = [name for name in lost if cause_of(result, name) in natural]
        if apart:
            possible, answered = passed - len(apart), passed - len(lost)
            lines += [
                f"{len(apart)} of the tests of {result.client.name} that are lost in the replay are about something",
                "that no replay has: what the server got, a handshake, a connection of the test's own. Without",
                f"them, {answered} of {possible} pass ({_percent(answered, possible)}).",
                "",
            ]
        lines += ["## Tests that pass traced and not in replay", "", *by_cause(result, "replay"), ""]
    return "\n".join(lines)


def _percent(some: int, of: int) -> str:
    """A share, rounded. All but one are not 100 %."""
    share = some / max(of, 1)
    return f"{share if share == 1 else min(share, 0.999):.1%}"


def by_cause(result: Result, mode: str) -> list[str]:
    """The tests that are lost in a mode, a line for each cause."""
    groups: dict[str, Counter[str]] = {}
    for name in result.lost(mode):
        groups.setdefault(cause_of(result, name, mode), Counter())[short(name)] += 1
    lines = []
    for cause, names in sorted(groups.items(), key=lambda group: -group[1].total()):
        times = ", ".join(f"`{name}`" + (f" ({number})" if number > 1 else "") for name, number in names.items())
        lines.append(f"- {names.total()}: {cause}: {times}")
    return lines


def numbers(results: list[Result], what: str) -> list[str]:
    """The lines of the table of a page."""
    lines = [
        f"Python {sys.version.split()[0]}:",
        "",
        f"| {what} | version | pass traced | pass while recording | pass in replay |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        passed, lost = len(result.passed("traced")), len(result.lost("replay"))
        lines.append(
            f"| {result.client.name} | {version_of(result.client)} | {passed} "
            f"| {passed - len(result.lost('record'))} | {passed - lost} ({_percent(passed - lost, passed)}) |"
        )
    return [*lines, ""]


def short(name: str) -> str:
    """The name of a test without its file, its class and its parameters."""
    return name.partition("[")[0].rpartition("::")[2]


def cause_of(result: Result, name: str, mode: str = "replay") -> str:
    """Why a test is lost in a mode, as somebody found out; or what happened, where nobody did."""
    for cause, parts in CAUSES.get(result.client.name, {}).items():
        if any(part in name for part in parts):
            return cause
    return kind_of(result.text(mode, name))


def kind_of(text: str) -> str:
    """What kind of difference a lost test met, by its outcome and what it says."""
    return next((kind for part, kind in KINDS.items() if part in text), _OTHER)


if __name__ == "__main__":
    main()
