"""Servers of Google's Pub/Sub and Firestore, as far as the tests ask them, run as a program.

They speak the clients' own protocols, by the messages that the clients are shipped with. It prints its port, and ends
when its standard input ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.cloud.firestore_v1 import types as firestore  # type: ignore[import-untyped]
from google.pubsub_v1 import types as pubsub  # type: ignore[import-untyped]

_topics: dict[str, Any] = {}
_subscriptions: dict[str, tuple[str, queue.Queue[Any]]] = {}
_documents: dict[str, Any] = {}
_numbers = iter(range(1, 10_000))


def create_topic(topic: Any, context: Any) -> Any:
    if topic.name in _topics:
        context.abort(grpc.StatusCode.ALREADY_EXISTS, f"there is {topic.name}")
    _topics[topic.name] = topic
    return topic


def list_topics(request: Any, context: Any) -> Any:
    names = sorted(_topics)
    start = int(request.page_token or 0)
    # Two a page.
    page = names[start : start + 2]
    token = str(start + 2) if start + 2 < len(names) else ""
    return pubsub.ListTopicsResponse(topics=[_topics[name] for name in page], next_page_token=token)


def publish(request: Any, context: Any) -> Any:
    if request.topic not in _topics:
        context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.topic}")
    made = []
    for message in request.messages:
        message.message_id = str(next(_numbers))
        made.append(message.message_id)
        for topic, waiting in _subscriptions.values():
            if topic == request.topic:
                waiting.put(message)
    return pubsub.PublishResponse(message_ids=made)


def create_subscription(request: Any, context: Any) -> Any:
    _subscriptions[request.name] = (request.topic, queue.Queue())
    return request


def _taken(name: str, most: int) -> list[Any]:
    _, waiting = _subscriptions[name]
    found: list[Any] = []
    while len(found) < most and not waiting.empty():
        message = waiting.get()
        found.append(pubsub.ReceivedMessage(ack_id=f"ack-{message.message_id}", message=message))
    return found


def pull(request: Any, context: Any) -> Any:
    return pubsub.PullResponse(received_messages=_taken(request.subscription, request.max_messages))


def acknowledge(request: Any, context: Any) -> Any:
    return _empty()


def streaming_pull(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    first = next(requests)
    while context.is_active():
        found = _taken(first.subscription, 10)
        if found:
            yield pubsub.StreamingPullResponse(received_messages=found)
        time.sleep(0.02)


def _empty() -> Any:
    from google.protobuf.empty_pb2 import Empty

    return Empty()


def commit(request: Any, context: Any) -> Any:
    for write in request.writes:
        _documents[write.update.name] = write.update
    results = [firestore.WriteResult(update_time=_now()) for _ in request.writes]
    return firestore.CommitResponse(write_results=results, commit_time=_now())


def _now() -> Any:
    from google.protobuf.timestamp_pb2 import Timestamp

    return Timestamp(seconds=1_700_000_000, nanos=5)


def batch_get(request: Any, context: Any) -> Iterator[Any]:
    for name in request.documents:
        found = _documents.get(name)
        if found is None:
            yield firestore.BatchGetDocumentsResponse(missing=name, read_time=_now())
        else:
            made = firestore.Document(name=name, fields=found.fields, create_time=_now(), update_time=_now())
            yield firestore.BatchGetDocumentsResponse(found=made, read_time=_now())


def run_query(request: Any, context: Any) -> Iterator[Any]:
    collection = request.structured_query.from_[0].collection_id
    for name in sorted(_documents):
        if f"/{collection}/" in name:
            made = firestore.Document(
                name=name, fields=_documents[name].fields, create_time=_now(), update_time=_now()
            )
            yield firestore.RunQueryResponse(document=made, read_time=_now())


def _handler(kind: Any, function: Any, request: Any, response: Any) -> Any:
    serialize = (lambda message: message.SerializeToString()) if response is None else response.serialize
    return kind(function, request.deserialize, serialize)


_ONE, _MANY, _BOTH = (
    grpc.unary_unary_rpc_method_handler,
    grpc.unary_stream_rpc_method_handler,
    grpc.stream_stream_rpc_method_handler,
)
_SERVICES = {
    "google.pubsub.v1.Publisher": {
        "CreateTopic": _handler(_ONE, create_topic, pubsub.Topic, pubsub.Topic),
        "ListTopics": _handler(_ONE, list_topics, pubsub.ListTopicsRequest, pubsub.ListTopicsResponse),
        "Publish": _handler(_ONE, publish, pubsub.PublishRequest, pubsub.PublishResponse),
    },
    "google.pubsub.v1.Subscriber": {
        "CreateSubscription": _handler(_ONE, create_subscription, pubsub.Subscription, pubsub.Subscription),
        "Pull": _handler(_ONE, pull, pubsub.PullRequest, pubsub.PullResponse),
        "Acknowledge": _handler(_ONE, acknowledge, pubsub.AcknowledgeRequest, None),
        "ModifyAckDeadline": _handler(_ONE, acknowledge, pubsub.ModifyAckDeadlineRequest, None),
        "StreamingPull": _handler(_BOTH, streaming_pull, pubsub.StreamingPullRequest, pubsub.StreamingPullResponse),
    },
    "google.firestore.v1.Firestore": {
        "Commit": _handler(_ONE, commit, firestore.CommitRequest, firestore.CommitResponse),
        "BatchGetDocuments": _handler(
            _MANY, batch_get, firestore.BatchGetDocumentsRequest, firestore.BatchGetDocumentsResponse
        ),
        "RunQuery": _handler(_MANY, run_query, firestore.RunQueryRequest, firestore.RunQueryResponse),
    },
}


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(32))
    for name, handlers in _SERVICES.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(json.dumps({"ports": {"google": port}}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
