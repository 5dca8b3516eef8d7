"""How an attempt of a pool becomes a `Call`, and what is noted of its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.libraries.kits.http.bodies import BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http.credentials import asking_for_credentials
from timetracer_otel.libraries.kits.http.request_bodies import (
    is_stream,
    joined,
    pieces_of,
    teed_body,
    whole_body,
)
from timetracer_otel.libraries.kits.urllib3.answer import recorded_http_response, urllib3_response
from timetracer_otel.libraries.kits.urllib3.errors import HeldErrors, with_stand_ins
from timetracer_otel.libraries.kits.urllib3.noted import NOT_COMPARED, NotedBeneath, header_lines, library_above
from timetracer_otel.libraries.urllib3.internals import (
    attach,
    count,
    has_shaken_hands,
    is_of_http1,
    let_reach_proxy,
    needs_tunnel,
    new_connection,
    reached_proxy,
    set_verified,
    url_of,
    verified_of,
    warn_of,
)
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, RecordedError, header_pairs

__all__ = ["LIB", "Attempt", "Tunnel"]

LIB = "urllib3"
_ERRORS = HeldErrors(("urllib3",))
_REACHED_PROXY = "timetracer.reached_proxy"
_VERIFIED = "timetracer.verified"


class Attempt(NotedBeneath):
    """One attempt of a pool (a `Site`).

    Args:
        send: The pool's own function.
        pool: The pool.
        connection: What it took for the attempt.
        method: Of the request.
        target: What stands behind the method on the wire.
        options: The other arguments.
        makes_responses: Whether the function gives urllib3's response, as it does since 2.0.
    """

    lib = LIB
    errors = _ERRORS
    _verified: list[bool | None] | None = None
    """What is noted of the certificates of the server and of its proxy."""
    _was_verified: list[bool | None] | None = None
    """The same, of the recorded call that answers in a replay."""

    def __init__(
        self,
        send: Function,
        pool: Any,
        connection: Any,
        method: str,
        target: str,
        options: dict[str, Any],
        makes_responses: bool,
    ) -> None:
        self._send: Any = send
        self._pool: Any = pool
        self._connection: Any = connection
        self._method = method
        self._target = target
        self._options = options
        self._makes_responses = makes_responses
        self._url = url_of(pool, target)
        self._headers: Any = None
        self.rule = options.get("retries")
        body = options.get("body")
        self._body = b"" if body is None else whole_body(body)
        self.sends_stream = self._body is None and is_stream(body)

    @property
    def live(self) -> AppStep:
        """The pool's own function. A body that is to be read with the head is read behind it, so that it is noted."""
        options = self._options
        if self._makes_responses and options.get("preload_content", True) and is_of_http1(self._connection):
            options = {**options, "preload_content": False}
        if self.sent is not None:
            options = {**options, "body": teed_body(options["body"], self.sent)}
        return AppStep(self._send, self._pool, self._connection, self._method, self._target, **options)

    def observe(self, session: TraceSession) -> None:
        """Note the headers, and get ready to note a body that is a stream."""
        self._limits = session.limits
        self._headers = self._header_items()
        self.sets_up = asking_for_credentials.get() is not None
        if self.sends_stream:
            self.sent = BodyTap(self._limits)
        elif self._body:
            self._limits.hold(len(self._body))

    def call(self) -> Call:
        """The request as it is known by now; its body once it was sent."""
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self.sent is not None:
            body, end, too_long = self.sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        headers = header_lines(self._headers if self._headers is not None else self._header_items())
        return Call(LIB, EventType.HTTP_CLIENT, self._method, self._url, headers, body, end, too_long)

    def as_it_is(self) -> tuple[str, str, bytes, Any] | None:
        """The call, without the headers on which nothing depends."""
        if self._body is None:
            return None
        headers = [item for item in self._header_items() if item[0] not in NOT_COMPARED]
        return self._method, self._url, self._body, headers

    def _header_items(self) -> list[tuple[Any, Any]]:
        headers: Mapping[Any, Any] | None = self._options.get("headers")
        if not headers:
            return []
        lines = getattr(headers, "iteritems", headers.items)
        return list(lines())

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the answer as it is read."""
        self._verified = verified_of(self._pool, self._connection)
        hears = recording.session.call_ended is not None
        reason = self.note(value, recording.close if hears else None)
        if reason is not None:
            recording.not_replayable = reason
        # Neither the pool nor the connection is kept alive by its recording.
        self._send = self._pool = self._connection = None
        self._options = {}
        self.noted(recording)
        return value

    def more_facts(self) -> dict[str, Any]:
        """What was verified."""
        return {} if self._verified is None else {"verified": self._verified}

    def read_request(self) -> Flow:
        """Join the pieces of the request's body."""
        self._body = joined((yield AppStep(list, pieces_of(self._options["body"]))))
        self.sends_stream = False

    def again(self) -> bool:
        """Always: a body that was read is sent as a whole."""
        if self._body is not None and whole_body(self._options.get("body")) is None:
            self._options["body"] = self._body
        return True

    def before_again(self) -> Flow:
        """The replay has asked the proxy for no tunnel."""
        if needs_tunnel(self._pool):
            yield from library_above.around(LIB, AppStep(self._pool._prepare_proxy, self._connection))

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The response as the pool makes one of a server's."""
        reply, options = event.result.reply, self._options
        count(self._pool)
        self._set_verified(reply.get("verified"))
        original = recorded_http_response(
            self._method,
            event.result.status or 0,
            header_pairs(event.result.headers),
            reply,
            RecordedBody(event, session, self),
        )
        if not self._makes_responses:
            return original
        response = urllib3_response(
            original,
            self._method,
            self._target,
            reply,
            preload_content=False,
            decode_content=options.get("decode_content", True),
            enforce_content_length=options.get("enforce_content_length", True),
        )
        attach(response, self._pool, options.get("response_conn"), self.rule)
        return response

    def record_error(self, error: BaseException) -> RecordedError:
        """Pools and connections in it are stood in for. Whether the proxy was reached decides what follows it."""
        recorded = _ERRORS.recorded(error)
        if reached_proxy(self._connection):
            recorded.attributes[_REACHED_PROXY] = True
        verified = verified_of(self._pool, self._connection)
        if verified is not None and has_shaken_hands(self._connection):
            recorded.attributes[_VERIFIED] = verified
        return recorded

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The recorded error, about the pool that is asked now."""
        count(self._pool)
        error = with_stand_ins(error, self._live_object)
        if error.attributes.pop(_REACHED_PROXY, False):
            let_reach_proxy(self._connection)
        self._set_verified(error.attributes.pop(_VERIFIED, None))
        return _ERRORS.rebuilt(error, lambda each: each)

    def _set_verified(self, verified: list[bool | None] | None) -> None:
        self._was_verified = verified
        if verified is not None and self._connection is not None:
            set_verified(self._connection, verified)

    def warning(self) -> Flow:
        """The step by which the pool warns of a recorded answer whose server was not verified, where it does."""
        step = None if self._was_verified is None else warn_of(self._pool, self._was_verified)
        if step is not None:
            yield step

    def _live_object(self, kind: str) -> Any:
        if kind == "connection":
            return self._connection if self._connection is not None else new_connection(self._pool)
        return self._pool

    def pause(self, seconds: float) -> None:
        """Block for so many seconds."""
        time.sleep(seconds)


class Tunnel(Attempt):
    """An attempt that may end before it is made, since its proxy gives no tunnel: its connection is asked for one."""

    may_disown = True

    @property
    def live(self) -> AppStep:
        """The pool asks its proxy."""
        return AppStep(self._send, self._pool, self._connection)

    def disowns(self, outcome: Any) -> bool:
        """Whether there is a tunnel: then the attempt is made through it."""
        return not isinstance(outcome, BaseException)
