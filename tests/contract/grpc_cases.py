"""What apps do with a gRPC channel, blocking or asyncio, in one source: what may be awaited is awaited.

A case gets the flavour, and opens its own channel.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from tests.contract.framework import CaseList, each
from tests.contract.observation import class_name
from tests.servers.grpc_service import stub

__all__ = ["CASES", "failed", "got", "texts"]

CASES = CaseList(calls=None)
case = CASES()
blocking = CASES(None, "blocking")
awaited = CASES(None, "asyncio")


def text(value: str) -> StringValue:
    """A message."""
    return StringValue(value=value)


async def got(value: Any) -> Any:
    """A value, or what comes of it where it is to be awaited."""
    return await value if inspect.isawaitable(value) else value


async def texts(stream: Any) -> list[str]:
    """The texts of the messages that are left of a stream."""
    return [message.value async for message in each(stream)]


def pairs(metadata: Any) -> Any:
    """Metadata, with the types of its parts."""
    return None if metadata is None else [(type(pair).__name__, *pair) for pair in metadata]


async def end(call: Any) -> Any:
    """What a call tells once it has ended."""
    return [
        class_name(call),
        isinstance(call, grpc.Call),
        (await got(call.code())).name,
        await got(call.details()),
        pairs(await got(call.initial_metadata())),
        pairs(await got(call.trailing_metadata())),
        call.done() if hasattr(call, "done") else None,
        call.cancelled() if hasattr(call, "cancelled") else None,
    ]


def steady(said: str | None) -> str | None:
    """What the core says of an error, if anything. Up to 1.7x it says when that was, and all parts in any order."""
    if said is None:
        return None
    return re.sub(r"\{([^{}]*)\}", _in_order, said)


def _in_order(found: re.Match[str]) -> str:
    return ", ".join(sorted(filter(_is_no_time, _PARTS.split(found[1]))))


def _is_no_time(part: str) -> bool:
    return not part.startswith("created_time:")


_PARTS = re.compile(r", ?(?=\w+:)")


async def failed(call: Any) -> Any:
    """The error that a call, or the reading of one, ends in."""
    try:
        value = await got(call() if callable(call) else call)
    except grpc.RpcError as error:
        return [*await end(error), steady(error.debug_error_string()), steady(str(error))]
    except asyncio.CancelledError as error:
        return class_name(error)
    return ["no error", value]


@asynccontextmanager
async def opened(flavour: Any, *interceptors: Any) -> AsyncIterator[Any]:
    """A channel."""
    channel = flavour.channel(*interceptors)
    try:
        yield channel
    finally:
        await got(channel.close())


@case
async def one_message(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        first, second = [await got(stub(channel, "Echo")(text(each))) for each in ("tea", "milk")]
        return [class_name(first), first.value, second.value]


@case
async def equal_calls(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        echo = stub(channel, "Echo")
        return [(await got(echo(text(each)))).value for each in ("a", "b", "a", "", "a")]


@case
async def texts_of_all_kinds(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        echo = stub(channel, "Echo")
        sent = [
            "ä€𝄞",
            "line\nline\ttab",
            '\n"$5f0c4f2e-1111-4222-8333-abcdefabcdef',
            "\x00\x01",
            "8080",
            "x" * 100000,
        ]
        return [(await got(echo(text(each)))).value for each in sent]


@case
async def bytes_without_any_format(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        raw = channel.unary_unary("/shop.Stock/Echo")
        return [await got(raw(text(each).SerializeToString())) for each in ("a", "\x80\x81")]


@case
async def metadata(flavour: Any) -> Any:
    sent = (("echo-a", "1"), ("echo-a", "2"), ("echo-b-bin", b"\x00\xff\xfe"), ("other", "x"))
    async with opened(flavour) as channel:
        call = flavour.with_call(stub(channel, "Echo"), text("m"), metadata=sent)
        message, ended = await got(call)
        return [message.value, await end(ended)]


@case
async def errors(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        fail = stub(channel, "Fail")
        names = ["NOT_FOUND", "UNAUTHENTICATED", "INTERNAL", "UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"]
        return [await failed(lambda name=name: fail(text(f"{name}:no {name}"))) for name in names]


@case
async def details_of_a_status(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        try:
            await got(stub(channel, "Fail")(text("ABORTED:look")))
        except grpc.RpcError as error:
            found = next(value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
            status = Status.FromString(found)
            message = StringValue()
            status.details[0].Unpack(message)
            return [type(found).__name__, status.code, status.message, message.value]


@case
async def a_method_that_is_not_there(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = channel.unary_unary("/shop.Stock/Nowhere", StringValue.SerializeToString, StringValue.FromString)
        return await failed(lambda: call(text("x")))


@case
async def a_deadline(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        found = await failed(lambda: stub(channel, "Slow")(text("5"), timeout=0.15))
        in_time = await got(stub(channel, "Slow")(text("0.01"), timeout=50))
        return [found[:4], in_time.value]


@case
async def nobody_listens(flavour: Any) -> Any:
    channel = flavour.channel(nowhere=True)
    try:
        found = await failed(lambda: stub(channel, "Echo")(text("x")))
        return [found[0], found[2]]
    finally:
        await got(channel.close())


@case
async def an_answer_that_cannot_be_read(flavour: Any) -> Any:
    def refuse(data: bytes) -> Any:
        raise ValueError(data)

    async with opened(flavour) as channel:
        call = channel.unary_unary("/shop.Stock/Echo", StringValue.SerializeToString, refuse)
        try:
            return await failed(lambda: call(text("x")))
        except ValueError as error:
            return repr(error)


@case
async def a_message_that_cannot_be_sent(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        try:
            found = await failed(lambda: stub(channel, "Echo")("no message"))
            return found[:4]
        except Exception as error:
            return class_name(error)


@case
async def a_closed_channel(flavour: Any) -> Any:
    channel = flavour.channel()
    echo = stub(channel, "Echo")
    await got(channel.close())
    try:
        await got(echo(text("x")))
    except Exception as error:
        return [class_name(error), str(error)]


@case
async def messages_from_the_server(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Count")(text("4"))
        found = await texts(call)
        return [found, await end(call), await texts(stub(channel, "Count")(text("0")))]


@case
async def an_error_behind_messages(flavour: Any) -> Any:
    found: list[Any] = []
    async with opened(flavour) as channel:
        call = stub(channel, "Count")(text("2 DATA_LOSS"))
        try:
            async for message in each(call):
                found += [message.value]
        except grpc.RpcError as error:
            found.append([type(error).__name__, error.code().name, error.details(), pairs(error.trailing_metadata())])
        return found


@case
async def enough_of_a_stream(flavour: Any) -> Any:
    found: list[Any] = []
    async with opened(flavour) as channel:
        call = stub(channel, "Endless")(text("more"))
        async for message in each(call):
            found.append(message.value)
            if len(found) == 3:
                break
        found.append(call.cancel())
        found.append([(await got(call.code())).name, await got(call.details()), call.cancelled(), call.cancel()])
        return found


@case
async def messages_to_the_server(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        join = stub(channel, "Join")
        found = [await got(join(iter([text(each) for each in sent]))) for sent in (["a", "b"], [], ["a", "c"])]
        return [each.value for each in found]


@case
async def an_answer_before_all_was_sent(flavour: Any) -> Any:
    gate = threading.Event()

    def requests() -> Iterator[Any]:
        yield text("one")
        gate.wait(0.3 if flavour.asynchronous else 20)
        yield text("two")

    async with opened(flavour) as channel:
        try:
            return await failed(lambda: stub(channel, "Early")(requests()))
        finally:
            gate.set()


@case
async def requests_that_raise(flavour: Any) -> Any:
    def requests() -> Iterator[Any]:
        yield text("one")
        raise RuntimeError("no more")

    async with opened(flavour) as channel:
        found = await failed(lambda: stub(channel, "Join")(requests()))
        return found[:4] if isinstance(found, list) else found


@case
async def both_ways(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Talk")(iter([text(each) for each in ("a", "twice", "b")]))
        return [await texts(call), await end(call)]


@case
async def both_ways_until_the_server_ends(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Talk")(iter([text(each) for each in ("a", "bye")]))
        other = stub(channel, "Talk")(iter([text(each) for each in ("b", "fail")]))
        found = await texts(call)
        try:
            found += await texts(other)
        except grpc.RpcError as error:
            found.append(f"{type(error).__name__} {error.code().name} {error.details()}")
        return found


@case
async def many_at_once(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        echo = stub(channel, "Echo")
        if flavour.asynchronous:
            found = await asyncio.gather(*(got(echo(text(str(number)))) for number in range(20)))
        else:
            calls = [echo.future(text(str(number))) for number in range(20)]
            found = [call.result() for call in calls]
        return [each.value for each in found]


@case
async def options_of_a_call(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        echo, count = stub(channel, "Echo"), stub(channel, "Count")
        options = {"wait_for_ready": True, "compression": grpc.Compression.Gzip, "timeout": 60}
        first = await got(echo(text("zip"), **options))
        return [first.value, await texts(count(text("2"), **options))]


# What only blocking channels have.


@blocking
def a_future(flavour: Any) -> Any:
    heard: queue.Queue[Any] = queue.Queue()
    with flavour.channel() as channel:
        call = stub(channel, "Echo").future(text("later"))
        call.add_done_callback(lambda done: heard.put(done.result().value))
        stream = stub(channel, "Endless")(text("until it is cancelled"))
        begun = stream.add_callback(lambda: heard.put("callback"))
        stream.cancel()
        found = [class_name(call), call.result(timeout=30).value, call.exception(), call.traceback()]
        wrong = stub(channel, "Fail").future(text("NOT_FOUND:no"))
        error = wrong.exception()
        return [
            *found,
            sorted([heard.get(timeout=30), heard.get(timeout=30)]),
            [begun, stream.code().name, stream.is_active()],
            [call.done(), call.running(), call.cancelled(), call.cancel()],
            [class_name(error), error.code().name, error.details(), wrong.trailing_metadata() is not None],
        ]


@blocking
def a_future_that_is_cancelled(flavour: Any) -> Any:
    with flavour.channel() as channel:
        call = stub(channel, "Slow").future(text("20"))
        found: list[Any] = [call.cancel(), call.cancelled()]
        try:
            call.result()
        except grpc.FutureCancelledError as error:
            found.append(class_name(error))
        return [*found, call.code().name, call.details()]


@blocking
def a_future_of_sent_messages(flavour: Any) -> Any:
    with flavour.channel() as channel:
        join = stub(channel, "Join")
        message, call = join.with_call(iter([text("a"), text("b")]))
        later = join.future(iter([text("a"), text("d")]))
        return [message.value, call.code().name, later.result().value, later.code().name]


@blocking
def a_dialogue(flavour: Any) -> Any:
    said: queue.Queue[Any] = queue.Queue()
    with flavour.channel() as channel:
        call = stub(channel, "Talk")(iter(said.get, None))
        found: list[Any] = []
        for each in ("one", "twice", "three"):
            said.put(text(each))
            found.append(next(call).value)
            if each == "twice":
                found.append(next(call).value)
        said.put(None)
        return [*found, [message.value for message in call], call.code().name]


@blocking
def the_server_speaks_first(flavour: Any) -> Any:
    said: queue.Queue[Any] = queue.Queue()
    with flavour.channel() as channel:
        call = stub(channel, "Greet")(iter(said.get, None))
        found = [next(call).value]
        said.put(text("me"))
        found.append(next(call).value)
        said.put(None)
        return [*found, [message.value for message in call]]


@blocking
def one_thread_reads_a_stream(flavour: Any) -> Any:
    options = (("SingleThreadedUnaryStream", 1),)
    with grpc.insecure_channel(flavour.address, options) as channel:
        call = stub(channel, "Count")(text("3"))
        return [class_name(call), [message.value for message in call], call.code().name, call.details()]


@blocking
def a_channel_that_is_ready(flavour: Any) -> Any:
    with flavour.channel() as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        states: queue.Queue[Any] = queue.Queue()
        channel.subscribe(states.put)
        found = states.get(timeout=30).name
        channel.unsubscribe(states.put)
        return [found, stub(channel, "Echo")(text("ready")).value]


@blocking
def interceptors(flavour: Any) -> Any:
    seen: list[Any] = []

    class Watching(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
        def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
            changed = details._replace(metadata=(*(details.metadata or ()), ("echo-by", "me")))
            call = proceed(changed, request)
            seen.append([details.method, request.value, class_name(call), call.code().name])
            return call

        def intercept_unary_stream(self, proceed: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return (text(f"seen {message.value}") for message in proceed(details, request))

    with flavour.channel() as plain:
        channel = grpc.intercept_channel(plain, Watching())
        message, call = stub(channel, "Echo").with_call(text("i"))
        counted = [each.value for each in stub(channel, "Count")(text("2"))]
        return [message.value, pairs(call.initial_metadata()), counted, seen]


# What only asyncio channels have.


@awaited
async def reading_and_writing(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Talk")()
        found: list[Any] = []
        for each in ("one", "twice", "three"):
            await call.write(text(each))
            found.append((await call.read()).value)
            if each == "twice":
                found.append((await call.read()).value)
        await call.done_writing()
        found.append(await call.read() is grpc.aio.EOF)
        return [*found, await end(call)]


@awaited
async def writing_for_one_answer(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Join")()
        for each in ("a", "b"):
            await call.write(text(each))
        await call.done_writing()
        return [(await call).value, await end(call)]


@awaited
async def reading_one_by_one(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Count")(text("2"))
        await call.wait_for_connection()
        found = [(await call.read()).value, (await call.read()).value, await call.read() is grpc.aio.EOF]
        return [*found, await end(call)]


@awaited
async def the_server_begins(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Greet")()
        found = [(await call.read()).value]
        await call.write(text("me"))
        found.append((await call.read()).value)
        await call.done_writing()
        return [*found, await call.read() is grpc.aio.EOF]


@awaited
async def cancelled_tasks(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        call = stub(channel, "Slow")(text("20"))
        waits = asyncio.ensure_future(got(call))
        await asyncio.sleep(0.1)
        waits.cancel()
        found = [await failed(lambda: waits), call.cancelled(), (await call.code()).name, await call.details()]
        try:
            await asyncio.wait_for(stub(channel, "Slow")(text("21")), 0.1)
        except asyncio.TimeoutError as error:
            found.append(class_name(error))
        stream = stub(channel, "Endless")(text("c"))
        found.append((await stream.read()).value)
        stream.cancel()
        return [*found, await failed(stream.read), stream.cancelled()]


@awaited
async def callbacks(flavour: Any) -> Any:
    heard: list[Any] = []
    async with opened(flavour) as channel:
        call = stub(channel, "Echo")(text("c"))
        call.add_done_callback(lambda done: heard.append(done is call))
        value = (await call).value
        counted = stub(channel, "Count")(text("1"), timeout=60)
        counted.add_done_callback(lambda done: heard.append("counted"))
        left = counted.time_remaining()
        return [value, await texts(counted), (await counted.code()).name, heard, 0 < left <= 60, repr(call)]


@awaited
async def a_ready_channel(flavour: Any) -> Any:
    async with opened(flavour) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30)
        return [channel.get_state().name, (await stub(channel, "Echo")(text("ready"))).value]


@awaited
async def interceptors_of_asyncio(flavour: Any) -> Any:
    seen: list[Any] = []

    class Unary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
            details.metadata.add("echo-by", "me") if details.metadata is not None else None
            call = await proceed(details, request)
            seen.append([details.method, request.value, (await call.code()).name])
            return call

    class Stream(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_stream(self, proceed: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return await proceed(details, request)

    async with opened(flavour, Unary(), Stream()) as channel:
        call = stub(channel, "Echo")(text("i"), metadata=(("echo-x", "y"),))
        value = (await call).value
        return [value, pairs(await call.initial_metadata()), await texts(stub(channel, "Count")(text("2"))), seen]
