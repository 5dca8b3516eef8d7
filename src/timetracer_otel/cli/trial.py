"""What ``verify`` and ``reproduce`` have in common: a service that runs as a replay, and the requests for it."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import lines_of
from timetracer_otel.cli.bad_input import CommandError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Mapping, Sequence

    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import Address, Against, JobQueue, Planned, Runner, Service

__all__ = [
    "FLAGS",
    "Trial",
    "add_service_options",
    "checked",
    "header_options",
    "is_sendable",
    "positive_options",
    "require_extra",
]

FLAGS = {
    "mock_plugins": "--mock",
    "live_plugins": "--live",
    "live_hosts": "--live-hosts",
    "uncaptured": "--uncaptured",
    "variables": "--variables",
    "clock": "--clock",
}
"""The options that are settings of the service's replay."""

_MOST = 1_000_000
"""The largest number of seconds (eleven days) and of requests at once. A socket takes no infinite time limit."""
_NEEDED = ("tqdm", "junitparser")
"""The packages that the extra ``verify`` installs."""


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options about the service and its replay."""
    from timetracer_otel.cli.options import add_setting

    parser.add_argument("--url", metavar="URL", help="where CMD listens (default: where the recorded requests went)")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=30.0, help="seconds that one answer may take (default: 30)"
    )
    parser.add_argument(
        "--start-timeout",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds until CMD must accept connections (default: 60)",
    )
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header to send in the place of the recorded one, which may be redacted; may be given again",
    )
    parser.add_argument(
        "--ignore",
        metavar="RULES",
        action="append",
        default=[],
        help="what not to compare, separated by commas: header:<name>, body:<JSON path from $>; may be given again",
    )
    parser.add_argument("--service-log", metavar="FILE", type=Path, help="keep what CMD prints")
    add_setting(parser, "mock_plugins", "--mock", "NAMES")
    add_setting(parser, "live_plugins", "--live", "NAMES")
    add_setting(parser, "live_hosts", "--live-hosts", "HOSTS")
    add_setting(parser, "uncaptured", "--uncaptured", "")
    add_setting(parser, "variables", "--variables", "KINDS")
    add_setting(parser, "clock", "--clock", "")


def checked(args: argparse.Namespace) -> tuple[dict[str, str], bool]:
    """The settings of the service's replay that were given as options, by field, and whether it gets the clock of the
    recording. All options of `add_service_options` are checked.

    Raises:
        CommandError: A value is not allowed, or needs a package that is missing.
        ConfigurationError: A variable of the environment has a value that cannot be used.
    """
    from timetracer_otel.cli.options import check_clock, check_plugin_names, known_plugins, overrides

    given = overrides(args, FLAGS)
    recorded_clock = check_clock(given, FLAGS["clock"])
    check_plugin_names(given, FLAGS, known_plugins())
    header_options(args)
    positive_options(args, "timeout", "start_timeout")
    return given, recorded_clock


def require_extra(command: str) -> None:
    """Check that the packages of the extra ``verify`` are there.

    Raises:
        CommandError: One is missing; the text says how to install it.
    """
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        install = 'pip install "timetracer-otel[verify]"'
        raise CommandError(f"{command} needs {' and '.join(missing)}. Install: {install}")


def positive_options(args: argparse.Namespace, *names: str) -> None:
    """Check that options have numbers above 0.

    Raises:
        CommandError: One has none.
    """
    for name in names:
        flag, value = f"--{name.replace('_', '-')}", getattr(args, name)
        if not value > 0:
            raise CommandError(f"{flag}: {value:g} is not allowed. Allowed: more than 0.")
        if value > _MOST:
            raise CommandError(f"{flag}: {value:g} is not allowed. Allowed: at most {_MOST:g}.")


def header_options(args: argparse.Namespace) -> dict[str, str]:
    """The headers of ``--header``, by name in lower case.

    Raises:
        CommandError: One is no header.
    """
    return dict(map(_header, args.header))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not (name + value).isprintable() or not text.isascii():
        raise CommandError(f"--header: {text!r} is not allowed. Allowed: 'NAME: VALUE'.")
    return name.strip().lower(), value.strip()


def is_sendable(planned: Planned) -> bool:
    """Whether it is a request that can be sent as it was recorded."""
    return planned.left_out is None and planned.unsendable is None


@dataclass
class Trial:
    """A service in the replay of a folder, and what is needed to ask it.

    Args:
        args: The options of `add_service_options`, and ``program``.
        given: The settings that were given as options, by field.
        index: The folder.
        planned: What it is asked.
        terminal: Whether the service has the terminal of this process, for a debugger in it.
        against: What its calls are compared with; None where they are not.
        variables: Variables of the service's environment besides.
    """

    args: argparse.Namespace
    given: Mapping[str, str]
    index: FolderIndex
    planned: Sequence[Planned]
    terminal: bool = False
    against: Against | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_jobs(self) -> bool:
        """Whether CMD is the worker: where there are jobs alone. Of a folder with requests, it is the service."""
        return any(each.is_job for each in self.planned) and not any(map(is_sendable, self.planned))

    @contextmanager
    def service(
        self, address: Address | None, *, fail_on_unused: bool, recorded_clock: bool
    ) -> Generator[tuple[Runner, Service, JobQueue | None], None, None]:
        """Start the service, which is stopped at the end of the block.

        Args:
            address: Where it will listen; None for a worker.
            fail_on_unused: Whether a recorded call that was not made fails its request.
            recorded_clock: Whether the service gets the clock of the recordings.
        """
        from timetracer_otel.base.settings import variable_kinds
        from timetracer_otel.cli.launch import instrumented
        from timetracer_otel.cli.options import parsed_option
        from timetracer_otel.config import CALLS_MADE, JOB_SOURCE, TraceConfig
        from timetracer_otel.verify import (
            NOWHERE,
            Ignored,
            JobQueue,
            Runner,
            Service,
            VerdictFile,
            ended_by_signals,
        )

        args, given = self.args, self.given
        ignored = Ignored.of([rule for text in args.ignore for rule in parsed_option("ignore", "--ignore", text)])
        headers = header_options(args)
        kinds = variable_kinds(
            parsed_option("variables", FLAGS["variables"], given["variables"])
            if "variables" in given
            else TraceConfig.from_env().variables
        )
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="timetracer-otel-verify-")))
            verdicts = VerdictFile(scratch / "verdicts.jsonl")
            settings = {
                "mode": "replay",
                "cassette_path": self.index.directory,
                "replay_report": str(verdicts.path),
            }
            command, environment = instrumented(args.program, {**given, **settings})
            queue = stack.enter_context(JobQueue()) if self.takes_jobs else None
            if queue is not None:
                environment = {**environment, JOB_SOURCE: queue.address}
            runner = Runner(
                self.index,
                address or NOWHERE,
                verdicts,
                ignored,
                headers,
                args.timeout,
                fail_on_unused,
                kinds,
                recorded_clock,
                self.against,
            )
            if self.against is not None:
                calls = scratch / "calls"
                calls.mkdir()
                environment = {**environment, CALLS_MADE: str(calls)}
            stack.enter_context(ended_by_signals())
            output = None if self.terminal else args.service_log or scratch / "output.log"
            environment = {**environment, **self.variables}
            yield runner, stack.enter_context(Service(command, environment, address, output)), queue

    def wait(self, service: Service, queue: JobQueue | None) -> bool:
        """Wait until the service takes requests or jobs; False where it does not, which is told on stderr."""
        from timetracer_otel.verify import ServiceError

        try:
            if queue is not None:
                queue.wait_for_worker(service, self.args.start_timeout)
            else:
                service.wait_until_listening(self.args.start_timeout)
        except ServiceError as error:
            # With what the service printed, in lines of its own.
            print(f"timetracer-otel: {lines_of(str(error))}", file=sys.stderr)
            return False
        return True
