"""Runs a program under ``opentelemetry-instrument``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.environment_checks import check_environment, default_exporters
from timetracer_otel.config import child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["instrumented", "launch"]

_INSTRUMENT = "opentelemetry-instrument"
_RUN_INSTRUMENT = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"


def launch(
    program: Sequence[str],
    settings: Mapping[str, str],
    variables: Mapping[str, str] | None = None,
    announcement: str = "",
) -> int:
    """Run the program, instrumented, with these settings.

    On POSIX systems the program takes the place of this process: signals, streams and the exit code are its
    own, and this function does not return. On Windows it is a child process whose exit code is returned.

    Args:
        program: Its name or path, and its arguments.
        settings: Values by field of `TraceConfig`.
        variables: Variables of its environment besides.
        announcement: Told on stderr before it begins.

    Raises:
        CommandError: There is no such program, or its environment would keep it from being recorded.
    """
    full, environment = instrumented(program, settings)
    environment |= variables or {}
    if announcement:
        print(f"timetracer-otel: {one_line(announcement)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return _run_child(full, environment) if sys.platform == "win32" else _become(full, environment)


def instrumented(program: Sequence[str], settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command and the environment with which `launch` would run a program.

    Raises:
        CommandError: There is no such program, or its environment would keep it from being recorded.
    """
    environment = child_environment(settings)
    _put_on_path(environment)
    default_exporters(environment)
    check_environment(environment, replaying=settings.get("mode") == "replay")
    if shutil.which(program[0], path=environment.get("PATH")) is None:
        raise CommandError(f"cannot run {program[0]!r}: there is no such command on PATH, nor an executable file.")
    return [*_instrument(), *program], environment


def _instrument() -> list[str]:
    """The ``opentelemetry-instrument`` of the environment that we are installed in, whatever ``PATH`` says."""
    suffix = ".exe" if sys.platform == "win32" else ""
    beside = Path(sys.executable).with_name(_INSTRUMENT + suffix)
    if os.access(beside, os.X_OK):
        return [str(beside)]
    return [sys.executable, "-c", _RUN_INSTRUMENT]


def _put_on_path(environment: dict[str, str]) -> None:
    """Let ``python`` mean the interpreter that we are installed in, as in an activated environment.

    Another interpreter would not find this library, and the program would run without being recorded.
    """
    beside = str(Path(sys.executable).parent)
    folders = environment.get("PATH", os.defpath).split(os.pathsep)
    if beside not in folders:
        environment["PATH"] = os.pathsep.join([beside, *folders])


def _become(full: list[str], environment: Mapping[str, str]) -> NoReturn:
    os.execve(full[0], full, environment)  # noqa: S606  # running what the user asked for is the purpose


def _run_child(full: Sequence[str], environment: Mapping[str, str]) -> int:
    with subprocess.Popen(full, env=environment) as process:  # noqa: S603  # as above
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # The child is in the same console group and gets the Ctrl-C too. It decides what that means.
                continue
