"""The cases that only urllib.request and what stands on it have."""

from __future__ import annotations

import threading
import urllib.request
import xmlrpc.client
from typing import Any

from tests.contract.framework import CaseList
from tests.contract.http_client_flavour import observe_response
from tests.contract.observation import observe_error
from tests.contract.urllib_flavour import UrllibFlavour

__all__ = ["URLLIB_CASES", "case"]

case = CaseList()
URLLIB_CASES = case.cases


def _opened(url: Any, **options: Any) -> Any:
    with urllib.request.urlopen(url, **options) as response:
        return observe_response(response)


@case(4)
async def urlopen_in_its_forms(f: UrllibFlavour) -> Any:
    return [
        _opened(f.url("/echo?a=1")),
        _opened(f.url("/echo"), data=b"sent", timeout=5),
        _opened(urllib.request.Request(f.url("/echo"), headers={"X-One": "1"}, method="DELETE")),
        _opened(f.url("/echo", "tls"), context=f.trusting()),
    ]


@case(1)
async def urlretrieve(f: UrllibFlavour) -> Any:
    seen: list[Any] = []
    name, headers = urllib.request.urlretrieve(f.url("/bytes/20000"), reporthook=lambda *step: seen.append(step))
    with open(name, "rb") as file:
        content = file.read()
    urllib.request.urlcleanup()
    return [content, headers.items(), seen]


@case(2)
async def installed_opener_with_a_handler_of_the_users(f: UrllibFlavour) -> Any:
    class Signing(urllib.request.BaseHandler):
        handler_order = 400

        def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
            request.add_unredirected_header("X-Signed", str(len(request.full_url) > 1))
            return request

    opener = urllib.request.build_opener(Signing)
    with opener.open(f.url("/echo")) as response:
        seen = [observe_response(response)]
    with opener.open(f.url("/echo?2")) as response:
        return [*seen, observe_response(response)]


@case(1)
async def server_that_speaks_no_xml_rpc(f: UrllibFlavour) -> Any:
    try:
        xmlrpc.client.ServerProxy(f.url("/status/404")).anything(1, "two")
    except Exception as error:
        return observe_error(error)
    return None


@case(3)
async def openers_in_threads(f: UrllibFlavour) -> Any:
    results: dict[int, Any] = {}

    def one(number: int) -> None:
        results[number] = _opened(f.url(f"/echo?n={number}"))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(3)]
