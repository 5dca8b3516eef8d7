"""requests keeps the contract."""

from __future__ import annotations

from tests.contract.http_cases import case as http_cases
from tests.contract.http_contract import HttpContract
from tests.contract.requests_flavour import RequestsFlavour


class TestRequests(HttpContract):
    flavour = RequestsFlavour()
    cases = http_cases.fitting(flavour)
