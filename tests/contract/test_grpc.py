"""gRPC channels keep the contract, blocking and with asyncio."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import Contract
from tests.contract.grpc_flavour import AsyncGrpcFlavour, GrpcFlavour

pytestmark = pytest.mark.timeout(600)


class TestGrpc(Contract):
    flavour: ClassVar[GrpcFlavour] = GrpcFlavour()
    cases = flavour.cases


class TestAsyncGrpc(Contract):
    flavour: ClassVar[GrpcFlavour] = AsyncGrpcFlavour()
    cases = flavour.cases
