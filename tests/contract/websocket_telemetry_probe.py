"""Run in a process of its own: a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``websocket_telemetry_probe.py FOLDER``
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import websocket
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.contract.websocket_flavour import sync_client
from tests.servers.websocket_service import WebSocketService
from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_aiohttp
from timetracer_otel.session import ReplaySession


async def awaited(url: str) -> list[Any]:
    seen: list[Any] = []
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url + "/echo") as socket:
            await socket.send_str("a")
            seen.append(await socket.receive_str())
        try:
            await session.ws_connect(url + "/forbidden")
        except aiohttp.WSServerHandshakeError as error:
            seen.append(error.status)
    async with connect(url + "/echo", proxy=None) as other:
        await other.send("b")
        seen.append(await other.recv())
    try:
        await connect(url + "/forbidden", proxy=None)
    except InvalidStatus as error:
        seen.append(error.response.status_code)
    return seen


def blocking(url: str) -> list[Any]:
    seen: list[Any] = []
    with sync_client.connect(url + "/echo", proxy=None) as socket:
        socket.send("c")
        seen.append(socket.recv())
    try:
        sync_client.connect(url + "/forbidden", proxy=None)
    except InvalidStatus as error:
        seen.append(error.response.status_code)
    client = websocket.create_connection(url + "/echo", timeout=30)
    client.send("d")
    seen.append(client.recv())
    client.close()
    try:
        websocket.create_connection(url + "/forbidden", timeout=30)
    except websocket.WebSocketBadStatusException as error:
        seen.append(error.status_code)
    return seen


def main(folder: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    enable_aiohttp()
    service = WebSocketService()

    def run() -> tuple[Any, list[Any]]:
        exporter.clear()
        with trace.get_tracer("app").start_as_current_span("work"):
            seen = [*asyncio.run(awaited(service.url)), *blocking(service.url)]
        return seen, [
            {
                "name": span.name,
                "kind": span.kind.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
                "events": [event.name for event in span.events],
            }
            for span in exporter.get_finished_spans()
        ]

    found: dict[str, Any] = {"address": service.address}
    with record(folder / "x.msgpack") as recording:
        recorded, found["recorded"] = run()
    found["joined"] = [event.span.name if event.span is not None else None for event in recording.events]
    found["calls"] = len(recording.events)
    service.stop()
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        replayed, found["replayed"] = run()
    found["left"] = [str(event.signature) for event in session.get_unconsumed_events()]
    found["same"] = [recorded == replayed]
    service.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
