"""redis-py keeps the contract in all its ways of use."""

from __future__ import annotations

from tests.contract.framework import Contract
from tests.contract.redis_cases import CASES
from tests.contract.redis_contract import FLAVOURS


def _contract(name: str, **attributes: object) -> type[Contract]:
    return type(name, (Contract,), {"__module__": __name__, "cases": CASES, **attributes})


# A class for each flavour, as pytest-xdist spreads classes over its processes.
for _flavour in FLAVOURS:
    _name = "Test" + "".join(word.capitalize() for word in _flavour.name.split("-"))
    globals()[_name] = _contract(_name, flavour=_flavour)
