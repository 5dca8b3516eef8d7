"""httpx and httpx2 keep the contract, each synchronous, under asyncio and under trio.

Each case is run in one of these ways, which the seed draws, and in all of them in ``make test-whole``.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import Contract, Shares
from tests.contract.http_cases import case as http_cases
from tests.contract.httpx_cases import case as httpx_cases
from tests.contract.httpx_flavour import HttpxFlavour

one_way_a_case = Shares("ways of httpx")


class _Httpx(Contract):
    flavour: ClassVar[HttpxFlavour]

    def __init_subclass__(cls) -> None:
        cls.cases = [*http_cases.fitting(cls.flavour.features), *httpx_cases.fitting(cls.flavour.features)]


@one_way_a_case
class TestHttpxSync(_Httpx):
    flavour = HttpxFlavour("httpx", "sync")


@one_way_a_case
class TestHttpxAsyncio(_Httpx):
    flavour = HttpxFlavour("httpx", "asyncio")


# Streams that break or are abandoned leave generators of httpx and httpcore behind, bare as well; trio tells.
_GENERATORS_LEFT = pytest.mark.filterwarnings(
    "ignore:Async generator:ResourceWarning", "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"
)


@one_way_a_case
@_GENERATORS_LEFT
class TestHttpxTrio(_Httpx):
    flavour = HttpxFlavour("httpx", "trio")


@one_way_a_case
class TestHttpx2Sync(_Httpx):
    flavour = HttpxFlavour("httpx2", "sync")


@one_way_a_case
class TestHttpx2Asyncio(_Httpx):
    flavour = HttpxFlavour("httpx2", "asyncio")
