"""The demo's service: FastAPI, three HTTP clients, a database and Redis, and not a word about recording or tracing.

What makes it record or replay are the environment variables that it is started with; see run.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import redis.asyncio
import requests
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

PORT, UPSTREAM, DATABASE, REDIS = int(sys.argv[1]), *sys.argv[2:5]


class Line(BaseModel):
    product: int
    count: int


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Purchase(Base):
    __tablename__ = "purchase"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    product: Mapped[int]
    bought_at: Mapped[str] = mapped_column(server_default=func.strftime("%Y-%m-%d %H:%M:%f", "now"))


engine = create_engine(DATABASE)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with (
        httpx.AsyncClient(base_url=UPSTREAM) as client,
        aiohttp.ClientSession(UPSTREAM) as session,
        redis.asyncio.Redis.from_url(REDIS, decode_responses=True) as basket,
    ):
        app.state.http, app.state.aiohttp, app.state.redis = client, session, basket
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


@app.get("/stock/{product}")
def stock(product: int) -> Any:
    """The requests library, with a redirect on the way."""
    with requests.Session() as session:
        answer = session.get(f"{UPSTREAM}/stock/{product}", timeout=10)
    return {"stock": answer.json(), "hops": [hop.status_code for hop in answer.history]}


@app.get("/prices")
async def prices() -> Any:
    """aiohttp, reading a stream."""
    async with app.state.aiohttp.get("/report") as answer:
        sizes = [len(line) async for line in answer.content]
    return {"sizes": sizes, "charset": answer.charset}


def buy(customer: int, product: int) -> dict[str, Any]:
    with Session(engine, expire_on_commit=False) as session:
        buyer = session.scalars(select(Customer).where(Customer.id == customer)).one()
        purchase = Purchase(customer_id=buyer.id, product=product)
        session.add(purchase)
        session.commit()
        session.refresh(purchase)
        count = session.scalar(select(func.count()).where(Purchase.customer_id == buyer.id))
    return {"buyer": buyer.name, "purchase": purchase.id, "bought_at": purchase.bought_at, "purchases": count}


@app.post("/checkout/{customer}/{product}")
async def checkout(customer: int, product: int) -> Any:
    """Everything in one request: HTTP by two clients, the database in a worker thread, and Redis."""
    offered, bought = await asyncio.gather(
        app.state.http.get(f"/products/{product}"), asyncio.to_thread(buy, customer, product)
    )
    async with app.state.aiohttp.post("/quotes", json={"product": product, "count": 1}) as answer:
        quote = await answer.json()
    async with app.state.redis.pipeline(transaction=True) as pipe:
        sold, _, basket = (
            await pipe.incr(f"sold:{product}").hset("basket", "last", product).hgetall("basket").execute()
        )
    return {"offered": offered.json(), **bought, "quote": quote["quote"], "sold": sold, "basket": basket}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
