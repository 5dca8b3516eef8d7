"""A service that is recorded: ``python -m tests.cli._shop UPSTREAM DATABASE`` asks itself for some of its routes.

With ``PORT`` behind that, it waits for requests there. What it does at its start belongs to no request. One route
fails since its upstream does.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys

import httpx
from fastapi import FastAPI

upstream, database, *port = sys.argv[1:]
connection = sqlite3.connect(database, check_same_thread=False)
connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT)")
app = FastAPI()


@app.get("/users/{number}")
async def user(number: int) -> object:
    async with httpx.AsyncClient(base_url=upstream) as client:
        return (await client.get(f"/users/{number}")).json()


@app.post("/orders")
async def order() -> object:
    with connection:
        connection.execute("INSERT INTO orders (item) VALUES (?)", ("tea",))
    with httpx.Client(base_url=upstream) as client:
        client.get("/failing").raise_for_status()
    return None


@app.get("/orders")
async def orders() -> object:
    return [connection.execute("SELECT item FROM orders WHERE id = ?", (number,)).fetchall() for number in (1, 2, 3)]


async def main() -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        for method, path in (("GET", "/users/7"), ("GET", "/users/8"), ("POST", "/orders"), ("GET", "/orders")):
            await client.request(method, path)


if port:
    import uvicorn

    uvicorn.run(app, port=int(port[0]), log_level="critical")
else:
    asyncio.run(main())
