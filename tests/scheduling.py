"""Which tests one process of pytest-xdist runs together, and which are spread over all of them.

``--dist loadscope`` gives a whole class, or all functions of a module, to one process, and the largest first. That is
what the contract's classes need, which record once for all of their tests. Elsewhere a test is a program of its own
that runs for seconds: a module of thirty such tests, begun last, would keep one core busy for minutes while the other
has nothing to do. Those tests are handed out one by one, behind everything larger.

The number of tests says little where a single one takes ten seconds. Such modules come first, so that short tests are
left for the end.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

__all__ = ["LONG", "is_long", "is_spread", "make_scheduler", "scope_of"]

LONG = (
    *("tests/contract/test_hash_seeds.py", "tests/docs/test_commands.py", "tests/faults/test_kill.py"),
    *("tests/faults/test_sigterm.py", "tests/hybrid/test_order_service.py", "tests/hybrid/test_interleavings.py"),
    *("tests/lines/test_django.py", "tests/lines/test_lines.py", "tests/lines/test_world.py"),
    *("tests/load/test_load.py", "tests/planted/test_planted_secrets.py", "tests/process/test_jobs.py"),
    *("tests/process/test_startup_calls.py", "tests/seams/test_faults_of_ours.py", "tests/tooling/test_skips.py"),
    *("tests/verify/test_verify.py", "tests/verify/test_verify_django.py", "tests/verify/test_verify_frameworks.py"),
    "tests/verify/test_verify_jobs.py",
)
"""Modules with a few tests that take many seconds each, or together."""

_SPREAD = (
    *("tests/cli/", "tests/docs/", "tests/faults/", "tests/lines/", "tests/process/"),
    *("tests/pytest_plugin/", "tests/verify/"),
)
_SHARED = re.compile(r'^@pytest\.fixture\(.*scope="module"|^@(?:functools\.)?cache\b', re.MULTILINE)
"""What a module makes once for its tests; within a test's text, for the run that the test starts, it is indented."""


class _Spreading(LoadScopeScheduling):  # type: ignore[misc]
    """As ``loadscope``, but some tests are handed out one by one, and what takes long is handed out early."""

    def schedule(self) -> None:
        begins = self.collection is None
        super().schedule()
        if begins:
            # The first scopes are given away by now: they are the largest.
            for scope in [*filter(is_long, reversed(self.workqueue))]:
                self.workqueue.move_to_end(scope, last=False)

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid, self._spread)

    @cached_property
    def _spread(self) -> frozenset[str]:
        # All processes collect the same, and in the same order.
        collected = next(iter(self.registered_collections.values()))
        modules = {nodeid.split("::", 1)[0] for nodeid in collected}
        return frozenset(module for module in modules if is_spread(module, self.config.rootpath))


def is_spread(module: str, root: Path) -> bool:
    """Whether the tests of a module share nothing, and take long enough that each is worth a message of its own."""
    return module.startswith(_SPREAD) and not _SHARED.search((root / module).read_text(encoding="utf-8"))


def is_long(scope: str) -> bool:
    """Whether the tests of a scope take many seconds, though they are few."""
    return scope.startswith(LONG)


def scope_of(nodeid: str, spread: frozenset[str]) -> str:
    """What is run together with a test: everything with the same name here.

    Args:
        nodeid: The test's.
        spread: The modules whose tests are handed out one by one.
    """
    module = nodeid.split("::", 1)[0]
    # A parameter's text may hold colons.
    head = nodeid.split("[", 1)[0]
    return nodeid if module in spread else head.rsplit("::", 1)[0]


def make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """The scheduler for ``--dist loadscope``; pytest-xdist's own for anything else."""
    return _Spreading(config, log) if config.getoption("dist") == "loadscope" else None
