"""MongoDB clients keep the contract: pymongo, blocking and with asyncio, and Motor.

Each case is run with one of them, which the seed draws, and with all of them in ``make test-whole``.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import Contract, Shares
from tests.contract.pymongo_flavour import AsyncPymongoFlavour, MotorFlavour, PymongoFlavour

pytestmark = pytest.mark.timeout(1200)

one_client_a_case = Shares("clients of MongoDB")


@one_client_a_case
class TestPymongo(Contract):
    flavour: ClassVar[PymongoFlavour] = PymongoFlavour()
    cases = flavour.cases


@one_client_a_case
# A monitor of pymongo's that connects while its event loop ends leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestAsyncPymongo(Contract):
    flavour: ClassVar[PymongoFlavour] = AsyncPymongoFlavour()
    cases = flavour.cases


@one_client_a_case
class TestMotor(Contract):
    flavour: ClassVar[PymongoFlavour] = MotorFlavour()
    cases = flavour.cases
