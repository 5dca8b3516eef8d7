"""What a process of pytest-xdist tells the run's first process of its tests: what that makes something of.

By default it tells when a test begins, and makes a report of its set-up, of the test and of its tear-down. For tests
of a few milliseconds, to pack, send and unpack these takes as long as the tests. Nobody looks at the report of a
set-up that passed and said nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["leave_out_what_nobody_reads"]

_SAYS_NOTHING = "says nothing"


class _Packing:
    """A plugin that packs a report that says nothing into a mark."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_to_serializable(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> dict[str, Any] | None:
        says_nothing = (
            isinstance(report, pytest.TestReport)
            and report.when != "call"
            and report.passed
            and not (report.sections or report.user_properties or report.longrepr)
        )
        return {_SAYS_NOTHING: True} if says_nothing else None


def leave_out_what_nobody_reads(config: pytest.Config) -> None:
    """Let a process of pytest-xdist send no report that says nothing, unless the run lists times or each test.

    Args:
        config: That of the process.
    """
    options = config.option
    if options.verbose > 0 or options.durations is not None or getattr(options, "xmlpath", None) is not None:
        return
    # It has no name under which it could be asked for.
    interactor: Any = next(one for one in config.pluginmanager.get_plugins() if hasattr(one, "sendevent"))
    send = interactor.sendevent

    def send_what_is_read(name: str, **facts: Any) -> None:
        if name != "logstart" and not (name == "testreport" and _SAYS_NOTHING in facts["data"]):
            send(name, **facts)

    interactor.sendevent = send_what_is_read
    config.pluginmanager.register(_Packing())
