"""MongoDB clients keep the contract: pymongo, blocking and with asyncio, and Motor."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import Contract
from tests.contract.pymongo_flavour import AsyncPymongoFlavour, MotorFlavour, PymongoFlavour

pytestmark = pytest.mark.timeout(1200)


class TestPymongo(Contract):
    flavour: ClassVar[PymongoFlavour] = PymongoFlavour()
    cases = flavour.cases


# A monitor of pymongo's that connects while its event loop ends leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestAsyncPymongo(Contract):
    flavour: ClassVar[PymongoFlavour] = AsyncPymongoFlavour()
    cases = flavour.cases


class TestMotor(Contract):
    flavour: ClassVar[PymongoFlavour] = MotorFlavour()
    cases = flavour.cases
