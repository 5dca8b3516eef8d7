"""Run in a process of its own: a call to AWS, with credentials that botocore looks for, recorded or replayed.

Usage: ``botocore_credentials_program.py record|replay FOLDER``. Prints as JSON what each client gave, and the verdict
of its replay. An unused event fails it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_aiohttp, enable_botocore

CONFIG = Config(region_name="us-east-1", retries={"max_attempts": 1}, connect_timeout=5)


def made() -> Any:
    return boto3.session.Session().client("sts", config=CONFIG)


def asked(client: Any) -> Any:
    found = []
    for _ in range(2):
        try:
            found.append(client.get_caller_identity()["Account"])
        except BotoCoreError as error:
            found.append([type(error).__qualname__, str(error)])
    return found


async def asked_by_asyncio() -> Any:
    async with get_session().create_client("sts", config=CONFIG) as client:
        try:
            return (await client.get_caller_identity())["Account"]
        except BotoCoreError as error:
            return [type(error).__qualname__, str(error)]


def main(mode: str, folder: Path) -> None:
    older = made()
    cases: dict[str, Callable[[], Any]] = {
        "new": lambda: asked(made()),
        "older": lambda: asked(older),
        "asyncio": lambda: asyncio.run(asked_by_asyncio()),
    }
    enable_botocore()
    enable_aiohttp()
    found = {}
    for name, work in cases.items():
        path = folder / f"{name}.msgpack"
        if mode == "record":
            with record(path) as session:
                seen = work()
            found[name] = {"seen": seen, "events": len(session.events)}
        else:
            with replay(path, fail_on_unused=True) as replayed:
                seen = work()
            found[name] = {"seen": seen, "verdict": str(replayed.verdict()).splitlines()[0]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
