"""The service under test: a process of its own, which is stopped at the end whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from timetracer_otel.base.private_files import open_private
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.redact.log_texts import without_secrets
from timetracer_otel.verify.planning import Address

__all__ = ["Service", "ServiceError", "ended_by_signals"]

STOP_S = 10.0
"""How long the service may take to end when it is asked to, before it is killed."""

_LAST_LINES = 25
_LOOKED_THROUGH = 200
"""Lines: a private key may begin before the last ones."""
_GROUPS = sys.platform != "win32"


class ServiceError(Exception):
    """The service does not listen; the text says why, and what the service printed."""


class Service:
    """A service that runs as long as the ``with`` block. It has a process group of its own, with all its children.

    Args:
        command: The command that runs the service.
        environment: The environment of the service.
        address: Where the service will accept connections; None for a worker, which accepts none.
        output: The file for what the service prints. None: it prints on this process's terminal, reads from it, and
            is in this process's group, so that a debugger in it can be used.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], address: Address | None, output: Path | None
    ) -> None:
        self._command = command
        self._environment = environment
        self._address = address
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        if self._accepts():
            raise ConfigurationError(
                f"--url: something listens at {self._address} already. Stop it, or say where CMD listens."
            )
        if self._output is None:
            self._process = subprocess.Popen(self._command, env=self._environment)  # noqa: S603 - as below
            return self
        # What the service prints may hold what it was asked.
        with open(open_private(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - running what the user asked for is the purpose
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=_GROUPS,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_listening(self, timeout_s: float) -> None:
        """Wait until the service accepts connections.

        Raises:
            ServiceError: The service has ended, or does not accept connections within that time.
        """
        until = time.monotonic() + timeout_s
        while not self._accepts():
            how = self.ending
            if how is not None:
                raise ServiceError(f"the service {how} before it listened at {self._address}.{self.printed()}")
            if time.monotonic() > until:
                raise ServiceError(
                    f"the service does not listen at {self._address} after {timeout_s:g} s.{self.printed()}"
                )
            time.sleep(0.05)

    @property
    def ending(self) -> str | None:
        """How the service ended (``ended with code 1``); None while it runs."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return None
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def last_lines(self) -> list[str]:
        """The last lines that the service printed, without what is secret in them by its form or its name."""
        if self._output is None:
            return []
        lines = self._output.read_text("utf-8", "replace").splitlines()[-_LOOKED_THROUGH:]
        return without_secrets("\n".join(lines)).splitlines()[-_LAST_LINES:]

    def stop(self) -> None:
        """End the service and all its children. Harmless when repeated.

        The service is asked to end first (SIGTERM), and killed if it does not within `STOP_S` seconds.
        """
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.terminate()
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # In ``finally``, so that a second Ctrl-C, which ends the wait, does not leave the service running.
            if _GROUPS and self._output is not None:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
            process.kill()
            process.wait()

    def _accepts(self) -> bool:
        if self._address is None:
            return False
        try:
            socket.create_connection((self._address.host, self._address.port), timeout=1).close()
        except OSError:
            return False
        return True

    def printed(self) -> str:
        """What the service printed at last, to be put behind the text of an error."""
        lines = self.last_lines()
        if self._output is None:
            return " Its output stands above."
        return "".join(["\nIts output:", *(f"\n    {line}" for line in lines)]) if lines else " It printed nothing."


@contextmanager
def ended_by_signals() -> Generator[None, None, None]:
    """Turn SIGTERM and SIGHUP into `SystemExit` while the block runs, so that ``with`` blocks stop the service."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [(number, signal.signal(number, end)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
