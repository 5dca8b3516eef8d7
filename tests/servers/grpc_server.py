"""A server of gRPC, run as a program: methods of all four kinds, on messages that need no ``.proto`` of their own.

Requests and responses are `StringValue`. It prints its port, and ends when its standard input ends.

Given the files of a key and of a certificate, it listens by TLS as well.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

_listening: Any = None


def _text(text: str) -> StringValue:
    return StringValue(value=text)


def echo(request: StringValue, context: Any) -> StringValue:
    """The same text. Metadata whose name begins with ``echo`` comes back at the beginning and at the end."""
    sent = tuple((key, value) for key, value in context.invocation_metadata() if key.startswith("echo"))
    context.send_initial_metadata(sent)
    context.set_trailing_metadata((*sent, ("end", "1"), ("end", "2"), ("end-bin", b"\x00\xff\x80")))
    return _text(f"<{request.value}>")


def fail(request: StringValue, context: Any) -> StringValue:
    """Fail with the status that the request names, with details."""
    name, _, details = request.value.partition(":")
    status = Status(code=grpc.StatusCode[name].value[0], message=details)
    status.details.add().Pack(_text("more of it"))
    context.send_initial_metadata((("begun", "yes"),))
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()), ("why", "asked")))
    context.abort(grpc.StatusCode[name], details)
    raise AssertionError


def slow(request: StringValue, context: Any) -> StringValue:
    """Answer after so many seconds."""
    ends = time.monotonic() + float(request.value)
    while time.monotonic() < ends and context.is_active():
        time.sleep(0.01)
    return _text("done")


def count(request: StringValue, context: Any) -> Iterator[StringValue]:
    """So many messages, and then an error where the request asks for one."""
    number, _, error = request.value.partition(" ")
    context.set_trailing_metadata((("counted", number),))
    for each in range(int(number)):
        yield _text(str(each))
    if error:
        context.abort(grpc.StatusCode[error], f"after {number}")


def endless(request: StringValue, context: Any) -> Iterator[StringValue]:
    """Messages until somebody has enough."""
    number = 0
    while context.is_active():
        yield _text(f"{request.value} {number}")
        number += 1
        time.sleep(0.01)


def join(requests: Iterator[StringValue], context: Any) -> StringValue:
    """All texts as one."""
    return _text(",".join(request.value for request in requests))


def early(requests: Iterator[StringValue], context: Any) -> StringValue:
    """Fail after the first message, whatever comes behind it."""
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"enough: {next(requests).value}")
    raise AssertionError


def talk(requests: Iterator[StringValue], context: Any) -> Iterator[StringValue]:
    """A message for each, and two for some; an end of its own at ``bye``."""
    for request in requests:
        if request.value == "bye":
            return
        if request.value == "fail":
            context.abort(grpc.StatusCode.ABORTED, "as asked")
        yield _text(f"<{request.value}>")
        if request.value == "twice":
            yield _text("again")


def greet(requests: Iterator[StringValue], context: Any) -> Iterator[StringValue]:
    """The server speaks first."""
    yield _text("who is it?")
    for request in requests:
        yield _text(f"hello {request.value}")


def size(request: StringValue, context: Any) -> StringValue:
    """So many letters."""
    return _text("x" * int(request.value))


def leave(request: StringValue, context: Any) -> StringValue:
    """Stop listening."""
    threading.Timer(0.05, _listening.stop, (0,)).start()
    return _text("bye")


_KINDS = {
    grpc.unary_unary_rpc_method_handler: (echo, fail, slow, size, leave),
    grpc.unary_stream_rpc_method_handler: (count, endless),
    grpc.stream_unary_rpc_method_handler: (join, early),
    grpc.stream_stream_rpc_method_handler: (talk, greet),
}


def main(*files: str) -> None:
    global _listening
    handlers = {
        function.__name__.title(): handler(function, StringValue.FromString, StringValue.SerializeToString)
        for handler, functions in _KINDS.items()
        for function in functions
    }
    _listening = grpc.server(futures.ThreadPoolExecutor(32))
    _listening.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Stock", handlers),))
    ports = {"grpc": _listening.add_insecure_port("127.0.0.1:0")}
    if files:
        pair = [Path(each).read_bytes() for each in files]
        ports["tls"] = _listening.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    _listening.start()
    print(json.dumps({"ports": ports}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
