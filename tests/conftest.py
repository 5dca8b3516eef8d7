"""What all tests share: faults of ours are raised, the environment says nothing, no session leaks.

And what all runs share: an interrupt is an interrupt, and a server that cannot be started ends the run at once.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests import forks, run_folders
from tests.servers._failure import ServerDidNotStart
from tests.servers._leashed import RUN as TEMPLATES
from tests.servers._leashed import TEMPORARY
from timetracer_otel.base import faults
from timetracer_otel.base.otel_context import instrumentation_suppressed
from timetracer_otel.context import get_current_session
from timetracer_otel.guard import network_guard

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

_SERVER = "server that did not start"


def pytest_configure(config: pytest.Config) -> None:
    """Take SIGINT as it comes, and choose the seed of what is sampled.

    A shell without job control starts what runs in the background with SIGINT ignored, and every child inherits
    that. The programs that tests interrupt would not notice.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The processes of pytest-xdist inherit it.
    seed = os.environ.setdefault("TEST_SEED", str(random.randrange(2**32)))
    if getattr(config.option, "hypothesis_seed", seed) is None:
        config.option.hypothesis_seed = seed
    if forks.RUN not in os.environ and sys.platform == "linux":
        folder = os.environ[forks.RUN] = str(run_folders.made("forks"))
        os.environ[forks.OWNER] = str(os.getpid())
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    if TEMPLATES not in os.environ and sys.platform != "win32":
        run_folders.remove_leftovers(Path(tempfile.gettempdir()), TEMPORARY)
        templates = os.environ[TEMPLATES] = str(run_folders.made("servers"))
        # Where root runs the tests, another user reads them.
        Path(templates).chmod(0o755)
        config.add_cleanup(lambda: shutil.rmtree(templates, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collector off while tests are collected, and what is there then out of what it looks through.

    Collecting makes 5,000 tests and imports every client library, of which next to nothing is garbage. The collector
    would look through all of it again and again: a quarter of the time, in each worker. While tests run, it comes ten
    times less often than by default, which saves a twentieth.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(7_000, 10, 10)
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: Sequence[Any]) -> None:
    """Have the processes of the run forked from one that has imported what each of them would import again."""
    python = forks.worker()
    for spec in specs if python is not None else ():
        if spec.popen:
            spec.python = python


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the processes of the run send what is read, and no more."""
    if hasattr(session.config, "workerinput"):
        from tests.reporting import leave_out_what_nobody_reads

        leave_out_what_nobody_reads(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Hand tests that are programs of their own out one by one."""
    from tests.scheduling import make_scheduler

    return make_scheduler(config, log)


def pytest_report_header() -> str:
    """Say how to have the same samples again."""
    hashes = os.environ.get("PYTHONHASHSEED", "random, and unknown to Python; make test sets it")
    return f"samples of this run: TEST_SEED={os.environ['TEST_SEED']}; PYTHONHASHSEED={hashes}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note in a test's report that it failed for want of a server: the report reaches the run's first process."""
    if call.excinfo is not None and isinstance(call.excinfo.value, ServerDidNotStart):
        item.user_properties.append((_SERVER, str(call.excinfo.value)))
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """End the whole run where a server did not start: hundreds of tests would fail for the same reason."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for name, reason in report.user_properties:
            if name == _SERVER:
                pytest.exit(str(reason), returncode=pytest.ExitCode.INTERNAL_ERROR)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped, and why: a run without a server must not look like a whole one."""
    reasons = Counter(
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
    )
    terminalreporter.section(f"skipped tests: {reasons.total()}" if reasons else "no test was skipped")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count}: {reason}")


@pytest.fixture(scope="session", autouse=True)
def _silent_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the settings of whoever runs the tests out of the environment.

    Every client of httpx reads the certificates that it trusts, at once. The usual file has 150, which takes 40 ms of
    the processor, thousands of times. Here is one certificate, of nobody's: the tests that talk TLS bring their own.
    """
    certificate = tmp_path_factory.mktemp("trusted") / "nobody.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            # PYTHONUNBUFFERED: with it, what a program prints stands before what it logs, without a flush between.
            # PYTHONHASHSEED is that of this process: no program that a test starts shares it.
            not_ours = name.startswith(("TIMETRACER_", "OTEL_", "PYTHONUNBUFFERED", "PYTHONHASHSEED"))
            # CI: tests record, wherever they run.
            if not_ours or name == "CI" or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("SSL_CERT_FILE", str(certificate))
        yield


@pytest.fixture(scope="session", autouse=True)
def _faults_are_raised() -> Iterator[None]:
    """No test passes over a contained fault of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "raise_faults", True)
        yield


@pytest.fixture(autouse=True)
def _no_session_leaks() -> Iterator[None]:
    """Every test starts and ends outside any session, and leaves the network guard as it was."""
    assert get_current_session() is None
    guarded = network_guard.guarded
    yield
    assert get_current_session() is None
    assert network_guard.guarded == guarded, "the test has left the network guard on"
    assert not network_guard._is_let(), "the test has left a context in which the network guard lets all pass"
    assert not instrumentation_suppressed(), "the test has left a context without instrumentation"
