"""redis-py keeps the contract in all its ways of use.

Each case is run with a synchronous and an asynchronous client, over RESP2 and over RESP3. The flavours of one such
pair share the cases (they differ in what reads the replies and whether these are decoded); in ``make fuzz`` each
flavour runs all.
"""

from __future__ import annotations

from tests.contract.framework import Contract, Shares
from tests.contract.redis_cases import CASES
from tests.contract.redis_contract import FLAVOURS


def _contract(name: str, **attributes: object) -> type[Contract]:
    return type(name, (Contract,), {"__module__": __name__, "cases": CASES, **attributes})


_SHARES = {
    (asynchronous, resp3): Shares(f"flavours of Redis {asynchronous} {resp3}")
    for asynchronous in (False, True)
    for resp3 in (False, True)
}
# A class for each flavour, as pytest-xdist spreads classes over its processes.
for _flavour in FLAVOURS:
    _name = "Test" + "".join(word.capitalize() for word in _flavour.name.split("-"))
    _shares = _SHARES[_flavour.asynchronous, _flavour.protocol == 3]
    globals()[_name] = _shares(_contract(_name, flavour=_flavour))
