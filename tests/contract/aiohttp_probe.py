"""`telemetry_probe` for aiohttp."""

from __future__ import annotations

from typing import Any

from tests.contract import telemetry_probe
from tests.contract.aiohttp_flavour import AiohttpFlavour


def _flavour(*_: str) -> Any:
    return AiohttpFlavour()


if __name__ == "__main__":
    telemetry_probe.__dict__["HttpxFlavour"] = _flavour
    telemetry_probe.main()
