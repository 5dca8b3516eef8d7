"""aiohttp keeps the contract."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import ClassVar

import aiohttp
import pytest

from tests.contract.aiohttp_cases import case as aiohttp_cases
from tests.contract.aiohttp_flavour import AiohttpFlavour
from tests.contract.framework import Case, Contract
from tests.contract.http_cases import case as http_cases

FLAVOUR = AiohttpFlavour()

_CALLS = {"redirect_loop": 10, "plain_text_to_a_tls_port": 2, "protocol_errors": 13}
"""Calls of cases in which aiohttp does more or less of itself: it gives up a loop earlier, and tries again where a
connection was closed before an answer came."""
if "preemptive" not in inspect.signature(aiohttp.DigestAuthMiddleware).parameters:
    _CALLS["digest_auth_of_a_session_with_another_algorithm"] = 4


def _as_aiohttp(case: Case) -> Case:
    return replace(case, calls=_CALLS.get(case.name, case.calls))


# A large upload that times out leaves its transport behind, bare as well.
@pytest.mark.filterwarnings(
    "ignore:unclosed transport:ResourceWarning", "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"
)
class TestAiohttp(Contract):
    flavour = FLAVOUR
    cases: ClassVar[list[Case]] = [
        *(_as_aiohttp(case) for case in http_cases.fitting(FLAVOUR.features)),
        *aiohttp_cases.fitting(FLAVOUR.features),
    ]
