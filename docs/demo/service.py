"""The demo's service: FastAPI and httpx, and not a word about recording, replay or tracing.

What makes it record or replay are the environment variables that it is started with; see run.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

PORT, UPSTREAM = int(sys.argv[1]), sys.argv[2]


class Line(BaseModel):
    product: int
    count: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=UPSTREAM) as client:
        app.state.http = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/products/{product}")
def product(product: int) -> Any:
    """A plain call of the sync client, in one of FastAPI's worker threads."""
    with httpx.Client(base_url=UPSTREAM) as client:
        answer = client.get(f"/products/{product}", params={"currency": "EUR"})
    return JSONResponse(answer.json(), status_code=answer.status_code)


@app.post("/orders")
async def order(lines: list[Line]) -> Any:
    """Concurrent calls to one URL; their answers arrive in another order than they were asked for."""
    answers = await asyncio.gather(*(app.state.http.post("/quotes", json=line.model_dump()) for line in lines))
    quotes = [answer.json() for answer in answers]
    return {"quotes": quotes, "total": sum(quote["total"] for quote in quotes)}


@app.get("/report")
async def report() -> Any:
    """A streamed answer, read line by line."""
    async with app.state.http.stream("GET", "/report") as answer:
        lines = [line.upper() async for line in answer.aiter_lines()]
    return {"lines": lines, "http": answer.http_version}


@app.get("/reviews/{product}")
async def reviews(product: int) -> Any:
    """An error of the upstream that the service handles."""
    try:
        (await app.state.http.get(f"/reviews/{product}")).raise_for_status()
    except httpx.HTTPStatusError as error:
        detail = {"reviews": [], "because": str(error).splitlines()[0], "upstream": error.response.json()}
        return JSONResponse(detail, status_code=502, headers={"Retry-After": "30"})
    return {"reviews": ["unexpected"]}


@app.get("/overview")
async def overview() -> Any:
    """Several kinds of calls in one request: JSON, not found, and a redirect-free stream."""
    products = await asyncio.gather(*(app.state.http.get(f"/products/{number}") for number in (1, 2, 3, 4)))
    async with app.state.http.stream("GET", "/report") as answer:
        sizes = [len(chunk) async for chunk in answer.aiter_bytes()]
    return {
        "statuses": [found.status_code for found in products],
        "serials": [found.json()["serial"] for found in products],
        "report_bytes": sum(sizes),
    }


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
