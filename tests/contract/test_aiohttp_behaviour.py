"""Sessions around aiohttp: what every HTTP client keeps."""

from __future__ import annotations

from tests.contract.aiohttp_flavour import AiohttpFlavour
from tests.contract.http_behaviour import HttpBehaviour
from tests.contract.http_cancellation import HttpCancellation
from tests.contract.http_redaction import HttpRedaction
from tests.contract.http_telemetry import HttpTelemetry

FLAVOUR = AiohttpFlavour()


class TestAiohttp(HttpBehaviour):
    flavour = FLAVOUR


class TestAiohttpRedaction(HttpRedaction):
    flavour = FLAVOUR


class TestAiohttpTelemetry(HttpTelemetry):
    flavour = FLAVOUR


class TestAiohttpCancellation(HttpCancellation):
    flavour = FLAVOUR
