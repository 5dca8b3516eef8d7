"""Which functions of ours run on the app's threads, and how one of them is broken.

A function is broken by its code: whoever holds a reference to it gets the broken one. The code of a function that is
made anew by each call of another one (a closure) is exchanged among the constants of that one.
"""

from __future__ import annotations

import gc
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import CO_OPTIMIZED
from pathlib import Path
from typing import Any

import timetracer_otel

__all__ = ["FAULTS", "GUARDS", "broken", "codes_of", "name_of", "ran", "remember"]

OURS = str(Path(timetracer_otel.__file__).parent)
_NESTED = {"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<lambda>", "<module>"}
GUARDS = frozenset(
    f"{file}:{name}"
    for file, names in {
        # What a miss is made of.
        "exceptions.py": "ReplayMismatchError.__init__ ReplayMismatchError._lines",
        # Python's import calls it.
        "base/patching.py": "Seams._imported",
        "base/tracebacks.py": "leave_no_frame",
        "calls/guarded.py": "guarded.<locals>.guarded_call guarded_async.<locals>.guarded_await "
        "answered.<locals>.answered_call answered_async.<locals>.answered_await "
        "guarded_generator.<locals>.guarded_generate _run_in_generator "
        "lending.<locals>.lending_call lending_async.<locals>.lending_await adding.<locals>.adding_call contain",
        "calls/whose_error.py": "raise_for_app outside",
        "calls/guarded_objects.py": "_guarded_getter.<locals>.got in_steps.<locals>.stepped judged "
        + " ".join(f"guarded_method.<locals>.{name}" for name in ("generating", "awaited", "called")),
        "session/body_taps.py": "BodyTap.noting",
        "guard/c_connections.py": "CConnections._checked.<locals>.checked",
        "guard/verifiers.py": "_noting.<locals>.noted",
        "guard/network_guard.py": "_hook _noting_sockets.<locals>.connect",
        "otel/processor.py": "SessionSpanProcessor.on_start SessionSpanProcessor.on_end",
        "otel/propagator.py": "_SessionPropagator.extract",
        "libraries/kits/dbapi/app_types.py": "note_made",
        "libraries/kits/dbapi/drivers/psycopg2.py": "_own_object",
        "libraries/kits/dbapi/drivers/psycopg2_types.py": "_noting_cursor.<locals>.execute _Casting.cast "
        "_Casting.__getattr__",
        "libraries/kits/dbapi/drivers/psycopg_types.py": "_awaited _as_awaited _makers.<locals>.noted "
        "_makers.<locals>.of_values",
        "calls/noting.py": "noting.<locals>.noting_call noting_async.<locals>.noting_await "
        "noting_beneath.<locals>.noting_call looked",
        "incoming/messages.py": "in_task.<locals>.tasked in_task.<locals>.tasked.<locals>.bare",
        "incoming/seams.py": "asgi_seam.<locals>.wrap.<locals>.__call__ wsgi_seam.<locals>.wrap.<locals>.__call__",
        "incoming/asgi.py": "_bare _read_first.<locals>.receive_again",
        "incoming/wsgi.py": "_bare _bare_chunk _bare_close _SizedResponse.__len__ "
        + " ".join(f"NotedInput.{name}" for name in ("__getattr__", "__iter__", "__next__"))
        + " "
        + " ".join(f"NotedResponse.{name}" for name in ("__getattr__", "__iter__", "__next__", "close", "__del__")),
        # The second one calls nothing of ours.
        "libraries/aiohttp/answer.py": "_ReplayHandler._noting _ReadPayload.write",
        "libraries/aiosqlite/seams.py": "_Queued.__call__",
        # The app's own function.
        "libraries/asyncpg/internals.py": "app_password",
        "libraries/asyncpg/call.py": "Supplied.take",
        "libraries/asyncpg/seams.py": "_kept _noting_rows _noting_async _noting_pieces",
        "libraries/asyncpg/server.py": "Server.write Server.writelines Server.pause_reading Server.resume_reading "
        "Server.close Server._turn Server._answer Server._gone",
        "libraries/aiohttp/internals.py": "_TapTimer.__enter__ _TapTimer.__exit__ _TapTimer.assert_timeout _end "
        "_TeedParser.__getattr__ _TeedParser.feed_data _TeedReader.feed_eof _TeedReader.set_exception "
        "TeedWriter.__getattr__ TeedWriter.__setattr__ TeedWriter.write TeedWriter.write_eof",
        "libraries/httpx/answer.py": " ".join(
            f"answers_of.<locals>.Replayed.{name}" for name in ("__iter__", "__aiter__", "close", "aclose")
        ),
        "libraries/httpx/internals.py": " ".join(
            f"tee_of.<locals>.Tee.{name}" for name in ("__iter__", "__aiter__", "close", "aclose", "_reraise")
        ),
        "libraries/kits/dbapi/recording_cursor.py": " ".join(
            f"RecordingCursor.{name}"
            for name in (
                *("fetchone", "fetchmany", "fetchall", "__iter__", "__next__", "nextset", "scroll", "close"),
                *("__del__", "__enter__", "__exit__", "description"),
            )
        )
        + " "
        + " ".join(f"CursorNotes.{name}" for name in ("fetch", "move", "took", "not_kept", "end"))
        + " recorded_method.<locals>.bare",
        "libraries/kits/dbapi/statements.py": "RowsRead.__iter__ RowsRead.__next__",
        "libraries/kits/mysql/in_python.py": "_noting.<locals>.converting",
        "libraries/kits/mysql/seams.py": "_teed",
        "libraries/mysqlclient/answer.py": "NotedResult.fetch_row NotedResult.discard NotedResult._end "
        "NotedResult.__getattr__ NotedResult.__del__",
        "libraries/sqlite3/answer.py": "_RecordingCursor.row_factory _RecordingCursor.close "
        + " ".join(
            f"_Notes.{name}" for name in ("fetch", "_refused", "took", "make_rows_by", "make_rows_by.<locals>.made")
        ),
        "libraries/sqlite3/seams.py": "_register_converter.<locals>.begin.<locals>.converting",
        "libraries/psycopg/answer.py": "Heard.__call__",
        "libraries/psycopg/internals.py": "stand_in_class.<locals>.connect_gen",
        "libraries/psycopg2/cursor.py": "NotedCursor.__del__ NotedCursor.__wrapped__ _beneath.<locals>.beneath "
        "_fetching.<locals>.fetch _made _scroll",
        "libraries/psycopg2/copying.py": "_TextTee.read _TextTee.write "
        + " ".join(f"_Tee.{name}" for name in ("__getattr__", "_read", "_write", "_noted")),
        "logs/noting.py": "_noting.<locals>.callHandlers",
        "threads/seams.py": "_starting.<locals>.start _starting_function.<locals>.start_new_thread "
        "_submitting_task.<locals>.submit _InContext.__call__ _Task.__call__ _spawned",
        "libraries/aio_pika/seams.py": "_Queue.__getattr__ _Queue.put _pump",
        "libraries/kits/conversation/exchange.py": "Exchange.noting",
        "libraries/aiohttp/frames.py": "_NotedFrames.__getattr__ _NotedFrames.feed_data _NotedFrames.feed_eof",
        "libraries/kits/websocket/streams.py": " ".join(
            f"NotedTransport.{name}"
            for name in ("__init__", "exchange", "write", "writelines", "write_eof", "close", "abort", "_self_leaves")
        )
        + " _ReplayTransport._noting",
        "libraries/kits/websocket/sockets.py": " ".join(
            f"NotedSocket.{name}"
            for name in ("__init__", "send", "sendall", "recv", "recv_into", "shutdown", "close")
        )
        + " _ReplaySocket.shutdown _ReplaySocket.close",
        "libraries/grpc/seams.py": "_InPlaceOf._found",
        "libraries/grpc/noted.py": "teed _heard "
        + " ".join(f"NotedCall.{name}" for name in ("__init__", "operate", "next_event", "cancel"))
        + " "
        + " ".join(
            f"NotedAsyncCall.{name}"
            for name in (
                *("__init__", "__getattr__", "__repr__", "_answer", "unary_unary", "stream_unary", "cancel"),
                *("initiate_unary_stream", "initiate_stream_stream", "send_serialized_message", "send_receive_close"),
                "receive_serialized_message",
            )
        ),
        "libraries/grpc/readiness.py": "NotedSubscriber.__call__ NotedSubscriber.__eq__ NotedSubscriber.__hash__",
        "libraries/kits/amqp/stand_in.py": "refusing_faults.<locals>.decorate.<locals>.called "
        "refusing_faults.<locals>.decorate.<locals>.awaited refused",
        "libraries/pika/internals.py": "_process_next",
        "libraries/confluent_kafka/producing.py": "_told",
        "libraries/kafka_python/internals.py": "_Later._run _Produced.wait",
        # The loop calls it, and it calls nothing of ours.
        "libraries/aiokafka/internals.py": "_set",
        "libraries/pika/connecting.py": "connecting.<locals>.begin.<locals>.done",
        "libraries/pymongo/seams.py": "_change.<locals>.change _change.<locals>.change_async _is_left_out",
        "libraries/redis/internals.py": "Pushed.__call__",
        "libraries/redis/seams.py": "_call_back _send_listed _learning.<locals>.learn _learning.<locals>.learn_async",
        "libraries/sqlalchemy/seams.py": "_set_creator _del_creator _meeting.<locals>.raw_connection "
        # What SQLAlchemy would do with the connection without us: the app's own call, which the guard makes.
        "_commit _rollback",
        "libraries/kits/http1/recorded_connections.py": "RecordedConnection.readinto",
        "libraries/kits/http/request_bodies.py": "_TeedIterable.__iter__ _TeedReader.read _TeedReader.seek",
        "libraries/kits/http1/file_bodies.py": " ".join(
            f"TeedFile.{name}"
            for name in ("__getattr__", "read", "read1", "readinto", "readline", "close", "_noting", "_took")
        ),
    }.items()
    for name in names.split()
)
"""The functions that the app or its library calls, and that call everything else of ours in a ``try``. Nobody stands
between one of these and the app, so they are not broken: what they call is, one by one. Keep them few and short."""
_WRITER = "timetracer-otel-writer"


def name_of(code: types.CodeType) -> str:
    """``process/writer.py:BackgroundWriter.submit``; before Python 3.11, with the function's own name alone."""
    return f"{Path(code.co_filename).relative_to(OURS).as_posix()}:{getattr(code, 'co_qualname', code.co_name)}"


@contextmanager
def ran() -> Iterator[dict[str, types.CodeType]]:
    """The functions of ours that are entered within the block, by name, on any thread but the writer's."""
    found: dict[str, types.CodeType] = {}

    def look(frame: types.FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if (
            event == "call"
            and code.co_filename.startswith(OURS)
            and code.co_flags & CO_OPTIMIZED  # the code of a class has no function
            and code.co_name not in _NESTED
            and threading.current_thread().name != _WRITER
            and not _is_guard(code)
        ):
            found.setdefault(name_of(code), code)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def codes_of(names: list[str]) -> dict[str, types.CodeType]:
    """The functions of these names, which ran in another process. There must be one of each here, too."""
    for name in names:
        import_module(".".join(("timetracer_otel", *Path(name.partition(":")[0]).with_suffix("").parts)))
    known: dict[str, types.CodeType] = {}
    for function in [*_known, *_ours()]:
        _named(function.__code__, known)
    return {name: known[name] for name in names}


def _named(code: types.CodeType, known: dict[str, types.CodeType]) -> None:
    if code.co_filename.startswith(OURS):
        known.setdefault(name_of(code), code)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                _named(constant, known)


def _is_guard(code: types.CodeType) -> bool:
    guards = GUARDS if sys.version_info >= (3, 11) else {_short(guard) for guard in GUARDS}
    return name_of(code) in guards


def _short(name: str) -> str:
    file, _, function = name.partition(":")
    return f"{file}:{function.rpartition('.')[2]}"


def _raising(error: str) -> types.CodeType:
    space: dict[str, Any] = {}
    exec(f"def broken(*args, **kwargs):\n    raise {error}", space)
    code: types.CodeType = space["broken"].__code__
    return code


def _waiting() -> types.CodeType:
    space: dict[str, Any] = {}
    exec("async def broken(*args, **kwargs):\n    import asyncio\n    await asyncio.Event().wait()", space)
    code: types.CodeType = space["broken"].__code__
    return code


FAULTS: dict[str, Callable[[], types.CodeType]] = {
    "RuntimeError": lambda: _raising("RuntimeError('a fault of ours, injected')"),
    "AttributeError": lambda: _raising("AttributeError('a fault of ours, injected')"),
    "never": _waiting,
}
"""What a broken function does, by name. ``never`` is for those that are awaited."""


_known: list[types.FunctionType] = []
"""Those that `remember` has found."""


def remember() -> None:
    """Look once for the functions that there are now: to look in each fork takes longer than to run a workload.

    Forks share the memory of what is frozen, since collecting garbage leaves it alone.
    """
    gc.collect()
    _known.extend(_ours())
    gc.freeze()


def _ours() -> list[types.FunctionType]:
    """Our functions among the objects that are not frozen."""
    return [
        each
        for each in gc.get_objects()
        if type(each) is types.FunctionType and each.__code__.co_filename.startswith(OURS)
    ]


def broken(target: types.CodeType, fault: str) -> Callable[[], None]:
    """Break a function; gives what mends it again."""
    code = FAULTS[fault]().replace(
        co_freevars=target.co_freevars, co_name=target.co_name, co_filename=target.co_filename
    )
    before: list[tuple[types.FunctionType, types.CodeType]] = []
    for function in [*_known, *_ours()]:
        was = function.__code__
        changed = code if was is target else _exchanged(was, target, code)
        if changed is not None:
            before.append((function, was))
            function.__code__ = changed
    assert before, f"{name_of(target)} belongs to no function"

    def mend() -> None:
        for function, was in before:
            function.__code__ = was

    return mend


def _exchanged(code: types.CodeType, target: types.CodeType, by: types.CodeType) -> types.CodeType | None:
    if not code.co_filename.startswith(OURS):
        return None
    constants = list(code.co_consts)
    changed = False
    for index, constant in enumerate(constants):
        if constant is target:
            constants[index] = by
            changed = True
        elif isinstance(constant, types.CodeType):
            inner = _exchanged(constant, target, by)
            if inner is not None:
                constants[index] = inner
                changed = True
    return code.replace(co_consts=tuple(constants)) if changed else None
