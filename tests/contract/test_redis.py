"""redis-py keeps the contract in all its ways of use.

Each case is run with a synchronous and an asynchronous client. The flavours of one of these share the cases (they
differ in the protocol, in what reads the replies, and whether these are decoded); in ``make test-whole`` each
flavour runs all.
"""

from __future__ import annotations

from tests.contract.framework import Contract, Shares
from tests.contract.redis_cases import CASES
from tests.contract.redis_contract import FLAVOURS


def _contract(name: str, **attributes: object) -> type[Contract]:
    return type(name, (Contract,), {"__module__": __name__, "cases": CASES, **attributes})


_SHARES = {asynchronous: Shares(f"flavours of Redis {asynchronous}") for asynchronous in (False, True)}
# A class for each flavour, as pytest-xdist spreads classes over its processes.
for _flavour in FLAVOURS:
    _name = "Test" + "".join(word.capitalize() for word in _flavour.name.split("-"))
    globals()[_name] = _SHARES[_flavour.asynchronous](_contract(_name, flavour=_flavour))
