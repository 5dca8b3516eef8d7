"""Run in a process of its own: what apps do with Google's clients of Pub/Sub and Firestore; prints what they saw.

Usage: ``grpc_google_program.py bare|record|replay CASSETTE ADDRESS``.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import time
from contextlib import nullcontext
from typing import Any

from google.api_core.exceptions import AlreadyExists, NotFound  # type: ignore[import-untyped]
from google.auth.credentials import AnonymousCredentials  # type: ignore[import-untyped]
from google.cloud import firestore, pubsub_v1  # type: ignore[attr-defined]

from timetracer_otel import record, replay


def topics() -> list[Any]:
    """Publish, list, and fail."""
    publisher = pubsub_v1.PublisherClient()
    subscriber = pubsub_v1.SubscriberClient()
    seen: list[Any] = []
    names = [publisher.topic_path("shop", name) for name in ("orders", "returns", "stock")]
    seen += [publisher.create_topic(name=name).name for name in names]
    try:
        publisher.create_topic(name=names[0])
    except AlreadyExists as error:
        seen.append([type(error).__name__, str(error), str(error.grpc_status_code)])
    seen.append([topic.name for topic in publisher.list_topics(project="projects/shop")])
    subscription = subscriber.subscription_path("shop", "orders")
    seen.append(subscriber.create_subscription(name=subscription, topic=names[0]).topic)
    seen += [publisher.publish(names[0], each, kind="test").result(timeout=30) for each in (b"one", b"two")]
    pulled = subscriber.pull(subscription=subscription, max_messages=10)
    seen += [
        [each.ack_id, each.message.data.decode(), dict(each.message.attributes)] for each in pulled.received_messages
    ]
    subscriber.acknowledge(subscription=subscription, ack_ids=[each.ack_id for each in pulled.received_messages])
    try:
        publisher.publish(publisher.topic_path("shop", "nosuch"), b"x").result(timeout=30)
    except NotFound as error:
        seen.append([type(error).__name__, str(error)])
    publisher.stop()
    subscriber.close()
    return seen


def streaming_pull() -> list[Any]:
    """Messages that come over a stream, to a callback in a thread."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topic = publisher.topic_path("shop", "stream")
    publisher.create_topic(name=topic)
    subscription = subscriber.subscription_path("shop", "stream")
    subscriber.create_subscription(name=subscription, topic=topic)
    heard: queue.Queue[Any] = queue.Queue()

    def hear(message: Any) -> None:
        heard.put(message.data.decode())
        message.ack()

    pulling = subscriber.subscribe(subscription, callback=hear)
    seen = []
    for text in (b"one", b"two"):
        # Threads of the client's send by the clock, and tell nobody. One gives more time for what it finds in work
        # when it begins, another acknowledges what it finds done, several messages at once. So that each run sends
        # the same, a message comes when these threads rest.
        time.sleep(0.5)
        publisher.publish(topic, text).result(timeout=30)
        seen.append(heard.get(timeout=30))
    # What is not acknowledged when it ends is given back, by another call.
    time.sleep(1)
    pulling.cancel()
    pulling.result(timeout=30)
    publisher.stop()
    return seen


def documents() -> list[Any]:
    """Set, get and query documents."""
    client = firestore.Client(project="shop", credentials=AnonymousCredentials())
    items = client.collection("items")
    items.document("tea").set({"price": 3, "tags": ["green", "black"], "of": {"country": "Nepal"}})
    items.document("milk").set({"price": 1.5, "fresh": True, "raw": "ä"})
    found = items.document("tea").get()
    return [
        found.to_dict(),
        str(found.update_time),
        items.document("nosuch").get().exists,
        [[each.id, sorted((each.to_dict() or {}).items())] for each in items.stream()],
    ]


async def documents_async() -> list[Any]:
    """The same with asyncio."""
    client = firestore.AsyncClient(project="shop", credentials=AnonymousCredentials())
    orders = client.collection("orders")
    await orders.document("1").set({"of": "tea"})
    found = await orders.document("1").get()
    return [found.to_dict(), [each.id async for each in orders.stream()]]


def main(mode: str, cassette: str, address: str) -> None:
    os.environ["PUBSUB_EMULATOR_HOST"] = os.environ["FIRESTORE_EMULATOR_HOST"] = address
    blocks: Any = {"bare": nullcontext(), "record": record(cassette), "replay": replay(cassette)}
    with blocks[mode] as session:
        seen = [topics(), streaming_pull(), documents(), asyncio.run(documents_async())]
    verdict = str(session.verdict()) if mode == "replay" else ""
    print(json.dumps([seen, verdict], sort_keys=True), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
