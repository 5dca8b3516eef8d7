"""http.client and urllib.request keep the contract."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contract.framework import Case, Contract, Shares
from tests.contract.http_cases import case as http_cases
from tests.contract.http_client_cases import case as http_client_cases
from tests.contract.http_client_flavour import HttpClientFlavour
from tests.contract.urllib_cases import case as urllib_cases
from tests.contract.urllib_flavour import UrllibFlavour

# What lies behind an early hint may or may not have arrived when the connection is used again: see "framings".
_LEFT_OUT = {"odd_framings"}
_OTHER_NUMBERS: dict[str, dict[str, int]] = {
    # A Location header that is no ASCII is an error in http.client, before the second call.
    "http.client": {"redirect_to_an_absolute_url_with_odd_characters": 1},
    # urllib.request follows no redirect that keeps a body, asks the same URL five times at most, knows digests by MD5
    # and SHA alone, and tries a password six times.
    "urllib": {
        "redirects_of_every_status_with_a_body": 8,
        "redirect_loop": 5,
        "digest_auth_of_a_session_with_another_algorithm": 2,
        "digest_auth_with_a_wrong_password": 7,
    },
}


def _cases(flavour: HttpClientFlavour | UrllibFlavour, more: list[Case]) -> list[Case]:
    numbers = _OTHER_NUMBERS[flavour.name.partition("-")[0]]
    return [
        replace(case, calls=numbers.get(case.name, case.calls))
        for case in [*http_cases.fitting(flavour.features), *more]
        if case.name not in _LEFT_OUT
    ]


one_client_a_case = Shares("clients of the standard library")


# An app that abandons a response leaves its connection to the garbage collector, bare as well.
@one_client_a_case
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
class TestHttpClient(Contract):
    flavour = HttpClientFlavour()
    cases = _cases(flavour, http_client_cases.cases)


@one_client_a_case
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
class TestUrllib(Contract):
    flavour = UrllibFlavour()
    cases = _cases(flavour, urllib_cases.cases)
