"""`SecretBook`: the secrets of one recording, and their pseudonyms in everything that is written of it.

A secret is found in one place, by its name or its form, when an event is made. It stands in other places as well: in
the path of a later call, in a value of Redis, in an error. So a recording is written in two steps: events are made,
which finds its secrets, and then every occurrence of each is replaced. What is written while the recording runs can
only know the secrets up to then.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from timetracer_otel.cassette import Unencodable
from timetracer_otel.constants import REDACTED, SHORTEST_PSEUDONYM
from timetracer_otel.match.signature import Signer, Target
from timetracer_otel.redact.content_encoding import PACKED, OpaqueError, decode_body
from timetracer_otel.redact.msgpacked import is_msgpack
from timetracer_otel.redact.nested import holds_digest
from timetracer_otel.redact.occurrences import Occurrences
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import (
    Redactor,
    body_readings,
    content_headers,
    edited_body,
    first_reading,
    headers_like,
    multipart_boundary,
)
from timetracer_otel.redact.splice import Edit, apart, may_have_packed_part, multipart_parts
from timetracer_otel.redact.stated import restated
from timetracer_otel.redact.texts import APART, collect, joined
from timetracer_otel.session.gathered_texts import MOST_BYTES, GatheredTexts, text_of_event
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    CallSnapshot,
    DependencyEvent,
    EventResult,
    HeaderPairs,
    LogEntry,
    RequestSnapshot,
    ResponseSnapshot,
    SpanFacts,
    header_pairs,
)

__all__ = ["SecretBook", "raw_texts", "with_content"]

_LONG = 10
_LONGEST_JOINED = 16 * 1024
"""Bytes of a body that is copied so that it is searched together with the rest of its event."""
_MOST_TURNS = 4

_MOST_WAITING: Final = 64
_second: Final = itemgetter(1)


class _Making:
    """What a thread has noted of the event that it makes.

    It is used again for the next event: each object that lives on makes Python look for circles of references
    earlier.
    """

    __slots__ = ("bodies", "found", "is_on", "is_packed", "names")

    def __init__(self) -> None:
        self.is_on = False
        self.is_packed = False
        """Whether a packed file stands in a text, which a search through that text does not look into."""
        self.names: dict[str, None] = {}
        """The pseudonyms that were put somewhere, in their order."""
        self.found: list[Any] = []
        """Values that have no secret by its name, each followed by the texts and the bytes in it."""
        self.bodies: list[bytes] = []
        """Bodies that are to be searched together with the rest of the event."""

    def found_in(self, *values: Any) -> list[Any]:
        """What stands in these values, in the form of `found`. It is looked for where it was not found before."""
        rest = iter(self.found)
        known = {id(value): (value, texts, raw) for value, texts, raw in zip(rest, rest, rest, strict=True)}
        all_found: list[Any] = []
        for value in values:
            found = known.get(id(value))
            if found is None:
                found = value, list[str](), list[bytes]()
                collect(*found)
            all_found += found
        return all_found


class _ByThread(threading.local):
    """One for each thread."""

    def __init__(self) -> None:
        self.making = _Making()


class _Notes:
    """What each thread has noted. The redactor knows this, and not the book, which knows the redactor.

    In many recordings nobody notes anything: what that takes is made when somebody does.
    """

    __slots__ = ("_by_thread", "_lock")

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._by_thread: _ByThread | None = None

    @property
    def making(self) -> _Making:
        """What this thread has noted."""
        by_thread = self._by_thread
        if by_thread is None:
            with self._lock:
                by_thread = self._by_thread = self._by_thread or _ByThread()
        return by_thread.making

    def used(self, pseudonym: str) -> None:
        """Note a pseudonym that was put somewhere."""
        making = self.making
        if making.is_on:
            making.names[pseudonym] = None

    def found_open(self, value: Any, texts: list[str], raw: list[bytes]) -> None:
        """Note what stands in a value that has no secret by its name."""
        making = self.making
        if making.is_on:
            making.found += (value, texts, raw)

    def holds_packed(self) -> None:
        """Note that a packed file stands in a text."""
        self.making.is_packed = True

    def takes(self, body: bytes) -> bool:
        """Note a body, if it is to be searched together with the rest of its event."""
        making = self.making
        if not making.is_on or len(body) > _LONGEST_JOINED:
            return False
        making.bodies.append(body)
        return True


class SecretBook:
    """Safe from any thread.

    Args:
        rules: Which names are secret.
        signer: Makes the signatures of recordings with these rules.
        known: Pseudonyms that the cassette has already, where a recording goes on.

    Attributes:
        fault: Why the texts of some events could not be searched; None where all were.
        open_target: Gives the parts of a URL that has no secret, and None for any other.
    """

    def __init__(self, rules: Redactor, signer: Signer, known: Iterable[str] = ()) -> None:
        self.pseudonyms = Pseudonyms(known)
        self.occurrences = Occurrences()
        self.pseudonyms.added = self.occurrences.add
        self.redactor = Pseudonymiser(rules, self.pseudonyms)
        # A finder of the user's may come back here, as it may make calls itself.
        self._lock = threading.RLock()
        self._notes = notes = _Notes(self._lock)
        self.redactor.used = notes.used
        self.redactor.found_open = notes.found_open
        self.redactor.notes_later = notes.takes
        self.redactor.holds_packed = notes.holds_packed
        self.redactor.in_urls = self.occurrences.add_in_urls
        self._behind = signer
        self.open_target: Callable[[str], Target | None] = signer.open_target
        self._signer: Signer | None = None
        self._written: set[str] = set()
        self._waiting: list[DependencyEvent] = []
        """Events that are to be searched."""
        self._gathered: GatheredTexts | None = None
        """What stands in their arguments, replies and bodies."""
        self._noted: tuple[str, ...] = ()
        """What `noted` gave last."""
        self._later: list[Any] = []
        """Other values that are to be searched."""
        self._kept: list[DependencyEvent] = []
        """Of the waiting events: the ones of which it is remembered that no known secret stands in them."""
        self._one_by_one = bool(rules.own.finders)
        """What a user's own expression finds in a text may depend on what stands beside it."""
        self.fault: Exception | None = None
        self._without: dict[int, DependencyEvent] = {}
        """By identity: events in which no secret stands of those that were known in this version of `occurrences`."""
        self._searched_for = 0

    @property
    def signer(self) -> Signer:
        """Makes the signatures of calls that are looked at one by one."""
        if self._signer is None:
            self._signer = Signer(self.redactor, behind=self._behind)
        return self._signer

    def names(self) -> tuple[str, ...]:
        """The pseudonyms of the recording, as its header has them."""
        self.settle()
        return tuple(
            [name for name in self.pseudonyms.names() if len(name) >= SHORTEST_PSEUDONYM and name != REDACTED]
        )

    def begin(self) -> None:
        """Forget what this thread has noted: it makes another event."""
        making = self._notes.making
        making.is_on, making.is_packed = True, False
        if making.names:
            making.names.clear()
        if making.found:
            making.found.clear()
        if making.bodies:
            making.bodies.clear()

    def noted(self) -> tuple[str, ...]:
        """The pseudonyms that this thread has used since `begin`."""
        names = self._notes.making.names
        if not names:
            return ()
        noted = tuple(names) if REDACTED not in names else tuple([name for name in names if name != REDACTED])
        # Calls of one app have the same token. What they share is one object, which the events keep.
        last = self._noted
        if noted == last:
            return last
        self._noted = noted
        return noted

    def collisions(self, texts: Iterable[bytes]) -> list[str]:
        """The pseudonyms that a recording has among its own values.

        Only short ones may be: of the others, there are too many to meet one by chance.

        Args:
            texts: All values of the recording, as they were before anything was replaced.
        """
        self.settle()
        if not self.pseudonyms.has_shorter(_LONG):
            return []
        short = {name: _alone(name) for name in self.names() if len(name) < _LONG}
        if not short:
            return []
        found: set[str] = set()
        for text in texts:
            found.update(name for name, pattern in short.items() if name not in found and pattern.search(text))
        return sorted(found)

    def rename(self, pseudonyms: Iterable[str]) -> None:
        """Give the secrets of these pseudonyms other ones, when they are found again."""
        self.pseudonyms.again(pseudonyms)
        self.redactor.forget()
        self.occurrences.forget(pseudonyms)

    def new_in(self, event: DependencyEvent) -> None:
        """Note on an event which pseudonyms it is the first to hold, in a file that is written event by event."""
        more = [name for name in self.names() if name not in self._written]
        self._written.update(more)
        event.pseudonyms = tuple(dict.fromkeys([*event.pseudonyms, *more]))

    def note_forms(self, event: DependencyEvent, *, kept: bool = False) -> None:
        """Take note of what is secret by its form in an event that was made since `begin`, in `settle` or before.

        Args:
            event: That was just made.
            kept: Whether to remember that no known secret stands in it, where that is so.
        """
        making, reply, call = self._notes.making, event.result.reply, event.call
        if not making.is_on:
            self.begin()
        making.is_on = False
        found, args = making.found, call.args if call is not None else None
        # Where something was replaced, it is another value that is kept.
        if args is not None:
            if len(found) != 6 or found[0] is not args or found[3] is not reply:
                found = making.found_in(args, reply)
        elif (found or reply is not None) and (len(found) != 3 or found[0] is not reply):
            found = making.found_in(reply)
        with self._lock:
            gathered = self._gathered
            if gathered is None:
                gathered = self._gathered = GatheredTexts()
            self._waiting.append(event)
            if found or making.bodies:
                gathered.take(found, making.bodies)
            if kept and not making.is_packed:
                self._kept.append(event)
            if len(self._waiting) >= _MOST_WAITING or gathered.size > MOST_BYTES or self._one_by_one:
                self._search()

    def settle(self) -> None:
        """Search what is gathered. From here on, the secrets in it are known, in whichever thread it was made."""
        with self._lock:
            if self._waiting or self._later:
                self._search()

    def _search(self) -> None:
        """Note what is secret by its form in the gathered texts, and in which events there is no known secret."""
        gathered, self._gathered = self._gathered or GatheredTexts(), None
        waiting, self._waiting = self._waiting, []
        kept, self._kept = self._kept, []
        later, self._later = self._later, []
        try:
            gathered.add(waiting, with_values=False)
            for value in later:
                gathered.add_value(value)
            self._search_in(gathered, kept)
        except Exception as error:
            if not self._one_by_one:
                self.fault = error
            raise

    def _search_in(self, gathered: GatheredTexts, events: list[DependencyEvent]) -> None:
        places = self.occurrences
        data, replaced = gathered.joined(self.redactor.searched)
        long: list[bytes] = []
        self.redactor.note(data, long)
        if not places:
            return
        if self._searched_for != places.version:
            self._without, self._searched_for = {}, places.version
        if places.may_be_in(data, long) or (replaced and places.may_be_in(APART.join(replaced))):
            without = [event for event in events if not self._may_be_in(event)]
        else:
            bodies = set(map(id, gathered.bodies))
            without = [event for event in events if _has_only(event, bodies) or not self._may_be_in(event)]
        self._without.update(zip(map(id, without), without, strict=True))

    def has_noted(self) -> bool:
        """Whether this thread has used a pseudonym since `begin`."""
        return bool(self._notes.making.names)

    def version_without(
        self, texts: list[str], lines: Sequence[tuple[bytes, bytes]], raw: list[bytes], bodies: bytes, squeezed: bytes
    ) -> int | None:
        """The version of the known secrets, none of which stands in any of these. What is secret by its form in them
        is known from here on.

        None where a secret may stand there.

        Args:
            texts: Of many calls.
            lines: Of headers, redacted.
            raw: Bytes.
            bodies: All of them in one, and in JSON; empty where there are none.
            squeezed: The same, as `squeezed_json` has them.
        """
        places, searched = self.occurrences, self.redactor.searched
        values = dict.fromkeys(map(_second, lines))
        replaced = list(searched.intersection(values)) if searched else []
        for value in replaced:
            del values[value]
        data = rest = joined(texts, [*values, *raw])
        if bodies:
            data = APART.join([rest, bodies])
        with self._lock:
            version = places.version
            long: list[bytes] = []
            self.redactor.note(data, long, lambda: (rest.lower(), squeezed))
            if places.version != version:
                return None
            # Secrets that were found later may stand in what headers became.
            if places and places.may_be_in(APART.join([data, *replaced]) if replaced else data, long + replaced):
                return None
            return version

    def are_without(self, events: Sequence[DependencyEvent], version: int) -> None:
        """Remember that none of the secrets stands in these events that were known in a version."""
        with self._lock:
            if not self.occurrences or version != self.occurrences.version:
                return
            if self._searched_for != version:
                self._without, self._searched_for = {}, version
            self._without.update(zip(map(id, events), events, strict=True))

    def has_nothing_new(self, event: DependencyEvent, other: DependencyEvent) -> None:
        """Remember that no secret stands in an event that was made of another one, if none stands in that."""
        with self._lock:
            if id(other) in self._without:
                self._without[id(event)] = event

    def left_of(self, events: Sequence[DependencyEvent]) -> list[DependencyEvent]:
        """The events in which a known secret may stand."""
        with self._lock:
            known = self._without if self._searched_for == self.occurrences.version else {}
            # These events are alive, so no other object has the identity of one.
            if known.keys() >= set(map(id, events)):
                return []
            return [event for event in events if id(event) not in known]

    def has_changed(self, event: DependencyEvent) -> None:
        """Forget what is known of an event: something was added to it, or it is written."""
        self._without.pop(id(event), None)

    def note_spans(self, spans: Iterable[SpanFacts]) -> None:
        """The same for spans within a call."""
        self.note_later([[span.name, span.status_description, span.attributes] for span in spans])

    def note_later(self, value: Any) -> None:
        """The same for any other value."""
        with self._lock:
            self._later.append(value)
            if len(self._later) >= _MOST_WAITING or self._one_by_one:
                self._search()

    def note(self, value: Any) -> None:
        """The same for any other value, at once."""
        self.redactor.note(_text_in(value))

    def clean(self, event: DependencyEvent) -> None:
        """Replace the secrets that are known by now, wherever they stand in an event. The event is changed."""
        if not self.occurrences or not self._may_be_in(event):
            return
        self._clean_call(event)
        self._clean_result(event)
        value = self.occurrences.value
        event.path = value(event.path)
        event.not_replayable = value(event.not_replayable)
        for span in (event.span, *event.within):
            if span is not None:
                self._clean_span(span)

    def _may_be_in(self, event: DependencyEvent) -> bool:
        places = self.occurrences
        if places.may_be_in(text_of_event(event)):
            return True
        parts: list[CallSnapshot | EventResult] = [event.result, *([event.call] if event.call is not None else [])]
        for part in parts:
            data = part.body.data if part.body is not None else None
            # What is compressed must be decompressed to look.
            if data and ("content-encoding" in part.headers or type(data) is not bytes or places.may_be_in(data)):
                return True
            if type(data) is bytes and (data.startswith(PACKED) or may_have_packed_part(data)):
                return True
        return False

    def _clean_call(self, event: DependencyEvent) -> None:
        used: set[str] = set()
        signature, call = event.signature, event.call
        url = self.occurrences.value(signature.url, used)
        query = self.occurrences.value(signature.query, used)
        # That of a call that was only observed is the name of its span.
        method = self.occurrences.value(signature.method, used)
        if url is not signature.url or query is not signature.query or method is not signature.method:
            event.signature = signature = replace(signature, method=method, url=url, query=query)
        if call is not None:
            headers, body, _ = self._part(call.headers, call.body, used)
            args = self._large(call.args, used)
            if headers is not call.headers or body is not call.body or args is not call.args:
                changed = body is not call.body or args is not call.args
                event.call = call = CallSnapshot(headers, body, args)
                if changed:
                    event.signature = replace(
                        signature, body_hash=self._hash(signature.lib, call, signature.body_hash)
                    )
        if used:
            event.pseudonyms = tuple(dict.fromkeys([*event.pseudonyms, *sorted(used)]))

    def _hash(self, lib: str, call: CallSnapshot, before: str | None) -> str | None:
        try:
            return self.signer.snapshot_hash(lib, call, before)
        except Unencodable:
            return before

    def _clean_result(self, event: DependencyEvent) -> None:
        result, value = event.result, self.occurrences.value
        headers, body, _ = self._part(result.headers, result.body)
        made = EventResult(
            result.status,
            headers,
            body,
            value(result.error),
            result.error_type,
            value(result.exception),
            self._large(result.reply),
        )
        event.result = made
        if result.body is not None and result.body.captured and body is not None and not body.captured:
            event.not_replayable = event.not_replayable or "its response body cannot be looked into"

    def _clean_span(self, span: SpanFacts) -> None:
        value = self.occurrences.value
        span.name = value(span.name)
        span.status_description = value(span.status_description)
        span.attributes = value(span.attributes)

    def _are_without(self, *values: Any) -> bool:
        """Whether no known secret stands in these values, so that they need not be gone through one by one."""
        data = _text_in(values)
        # What is no ASCII may be written in other ways.
        return data.isascii() and not self.occurrences.may_be_in(data)

    def _large(self, found: Any, used: set[str] | None = None) -> Any:
        """A value that may have thousands of rows. Its texts are searched at once."""
        if found is None:
            return None
        return self.occurrences.value(found, used) if self.occurrences.may_be_in(_text_in(found)) else found

    def exchanged(
        self, request: RequestSnapshot, response: ResponseSnapshot
    ) -> tuple[RequestSnapshot, ResponseSnapshot]:
        """The root request and its response, with pseudonyms in place of the secrets that are known by now."""
        self.settle()
        if not self.occurrences:
            return request, response
        if request.body is None and response.body is None:
            parts = request.path, request.route_template, request.query, request.user_agent, request.target
            lines = request.headers, response.headers
            if not any(parts) and not any(lines):
                return request, response
            if self._are_without(parts, lines, list(request.query), *map(list, lines)):
                return request, response
        return self._request(request), self._response(response)

    def _request(self, request: RequestSnapshot) -> RequestSnapshot:
        value = self.occurrences.value
        headers, body, _ = self._part(request.headers, request.body)
        return replace(
            request,
            path=value(request.path),
            route_template=value(request.route_template),
            headers=headers,
            query=value(request.query),
            body=body,
            user_agent=value(request.user_agent),
            target=value(request.target),
        )

    def _response(self, response: ResponseSnapshot) -> ResponseSnapshot:
        headers, body, _ = self._part(response.headers, response.body)
        return replace(response, headers=headers, body=body)

    def error(self, error_info: dict[str, Any] | None) -> dict[str, Any] | None:
        """The error that a request ended in, treated in the same manner."""
        self.settle()
        if error_info is None:
            return None
        text = self.redactor.text
        made: dict[str, Any] = self.occurrences.value(
            {name: text(part) if isinstance(part, str) else part for name, part in error_info.items()}
        )
        return made

    def logs(self, logs: Sequence[LogEntry]) -> tuple[LogEntry, ...]:
        """The app's log records, treated in the same manner."""
        self.settle()
        text, places = self.redactor.text, self.occurrences
        return tuple(
            [
                replace(
                    log,
                    logger=places.value(log.logger),
                    message=places.value(text(log.message)),
                    error=log.error and places.value(text(log.error)),
                )
                for log in logs
            ]
        )

    def _part(
        self, headers: dict[str, str], body: BodySnapshot | None, used: set[str] | None = None
    ) -> tuple[dict[str, str], BodySnapshot | None, bool]:
        """Headers and body of a request or a response."""
        made = self.occurrences.value(headers, used)
        if body is None:
            return made, None, False
        error = self.occurrences.value(body.error, used)
        if error is not body.error:
            body = replace(body, error=error)
        if not isinstance(body.data, bytes):
            data = self.occurrences.value(body.data, used)
            return made, body if data is body.data else replace(body, data=data), False
        pairs = header_pairs(headers)
        try:
            new = self.body(body, pairs, used)
        except OpaqueError:
            # What holds known secrets and cannot be looked into again is not kept.
            new = replace(body, captured=False, data=None, truncated=True, chunks=())
        if new is body:
            return made, body, False
        stated = restated(header_pairs(made), body.size_bytes, body.data, new.data)
        if stated != [*header_pairs(made)]:
            made = headers_like(made, stated)
        return made, new, True

    def body(self, body: BodySnapshot, headers: HeaderPairs, used: set[str] | None = None) -> BodySnapshot:
        """A body with pseudonyms in place of the secrets that are known by now; the same object where there are none.

        Args:
            body: Bytes.
            headers: Those that came with it.
            used: Takes the pseudonyms of the secrets that were found.
        """
        data: bytes = body.data
        content_type, coded = content_headers(headers)
        coding = coded.decode("latin-1")
        is_packed = is_msgpack(content_type.partition(b";")[0].strip().lower())
        for plain, encoding in body_readings(data, coding):
            sizes = [size for _, size in body.chunks]
            redacted = None
            # What a secret hides may hold another one. A pseudonym may by chance hold one again and again.
            for _ in range(_MOST_TURNS):
                edits = self.occurrences.packed_edits(plain, used) if is_packed else []
                edits = edits or self.occurrences.edits(plain, used)
                if may_have_packed_part(plain):
                    edits = apart([*edits, *self._edits_of_packed_parts(plain, content_type, used)])
                if not edits:
                    break
                redacted = edited_body(data, plain, encoding, edits, sizes)
                if redacted.data == data:
                    break
                data, sizes = redacted.data, list(redacted.sizes)
                plain = data if not encoding else decode_body(data, encoding) or b""
            if redacted is not None:
                return with_content(body, data, sizes)
        return body

    def _edits_of_packed_parts(self, data: bytes, content_type: bytes, used: set[str] | None) -> Iterator[Edit]:
        boundary = multipart_boundary(content_type)
        for part in multipart_parts(data, boundary) if boundary else ():
            content = data[part.start : part.stop]
            if content.startswith(PACKED):
                made: bytes = self.occurrences.value(content, used)
                if holds_digest([made]):
                    raise OpaqueError("has a part that cannot be looked into")
                if made is not content and made != content:
                    yield Edit(part.start, part.stop, made)


def with_content(body: BodySnapshot, data: bytes, sizes: Sequence[int]) -> BodySnapshot:
    """A body with other bytes, whose chunks have these sizes and came when its own did."""
    return replace(
        body,
        data=data,
        chunks=tuple((at, size) for (at, _), size in zip(body.chunks, sizes, strict=False)),
        size_bytes=len(data),
        hash=hashlib.sha256(data).hexdigest(),
    )


def _has_only(event: DependencyEvent, bodies: set[int]) -> bool:
    """Whether an event has no body but these, which are named by their identities."""
    body, call = event.result.body, event.call
    if body is not None and body.data and id(body.data) not in bodies:
        return False
    body = call.body if call is not None else None
    return body is None or not body.data or id(body.data) in bodies


@lru_cache(maxsize=256)
def _alone(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![A-Za-z0-9])" + re.escape(name.encode("utf-8", "replace")) + rb"(?![A-Za-z0-9])")


def raw_texts(call: Call, result: EventResult) -> Iterator[bytes]:
    """The values of a call, not redacted."""
    yield (call.url or "").encode("utf-8", "replace")
    yield b"\n".join([value for _, value in (*call.headers, *header_pairs(result.headers))])
    yield call.body or b""
    body = result.body.data if result.body is not None else None
    if isinstance(body, bytes):
        # What cannot be looked into is not kept.
        yield first_reading(body, _coding(result.headers)) or b""
    yield _text_in((call.args, result.reply))


def _text_in(value: Any) -> bytes:
    """All texts of a value in one."""
    texts: list[str] = []
    raw: list[bytes] = []
    collect(value, texts, raw)
    return joined(texts, raw)


def _coding(headers: dict[str, str]) -> str:
    return content_headers(header_pairs(headers))[1].decode("latin-1")
