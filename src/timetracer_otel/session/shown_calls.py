"""`ShownCalls`: keeps the secrets of a replay's own calls out of what it says of those that have no answer.

What is secret by its name is masked in every call before it is compared. The text of a miss quotes the rest of a
call, which may hold the same secret in another place (a key of the API in a path), or one that its form tells. A log
of CI is read by more people than a cassette.
"""

# pyright: strict

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from timetracer_otel.base import faults
from timetracer_otel.constants import REDACTED
from timetracer_otel.match.nearest import Attempt
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.content_encoding import OpaqueError
from timetracer_otel.redact.forms import form_of
from timetracer_otel.redact.redactor import Redactor, body_readings, content_headers
from timetracer_otel.session.secret_book import SecretBook
from timetracer_otel.types import BodySnapshot, Call, HeaderMap, header_pairs

__all__ = ["ShownCalls"]

_MOST_CALLS: Final = 256
_LONGEST_BODY: Final = 64 * 1024
_Note = TypeVar("_Note")


class ShownCalls:
    """Safe from any thread.

    Args:
        rules: Which names are secret.
        signer: Makes the signatures of the replay.
        pseudonyms: Those of the recording. They may be shown, and tell what the app did with an answer.
    """

    def __init__(self, rules: Redactor, signer: Signer, pseudonyms: Collection[str]) -> None:
        self._rules = rules
        self._signer = signer
        self._pseudonyms = pseudonyms
        most = _MOST_CALLS if rules.active else 0
        self._calls: deque[Call] = deque(maxlen=most)
        self._urls: deque[str] = deque(maxlen=most)
        self._made: SecretBook | None = None
        self.note: Callable[[Call], None] = self._calls.append
        """Remembers a call without a body, whose secrets may stand in a later one. The call may have been noted
        before."""
        self.note_url: Callable[[str], None] = self._urls.append
        """Remembers the URL of a call. Its headers are those of a call that is noted as well."""

    def note_with_body(self, call: Call) -> None:
        """Remember a call, and its body unless that is long."""
        self.note(call if len(call.body or b"") <= _LONGEST_BODY else replace(call, body=None))

    def shown(self, attempt: Attempt) -> Attempt:
        """A call without an answer, as it may be shown."""
        if not self._rules.active:
            return attempt
        try:
            return self._without_secrets(attempt)
        except Exception as error:
            faults.contain("miss", error)
            return attempt._replace(body=None, args=None, headers={}, unknown={})

    def text(self, text: str) -> str:
        """A text about a call, as it may be shown."""
        if not self._rules.active:
            return text
        book = self._book()
        book.note(text)
        return book.occurrences.text(text)

    def _without_secrets(self, attempt: Attempt) -> Attempt:
        book = self._book()
        signature, headers = attempt.signature, attempt.headers
        pairs = header_pairs(dict(headers))
        book.note(
            [signature.method, signature.url, signature.query, attempt.args, *headers.values(), attempt.unknown]
        )
        body = attempt.body
        try:
            for plain, _ in body_readings(body or b"", content_headers(pairs)[1].decode("latin-1")):
                book.redactor.note(plain)
            if body:
                body = book.body(BodySnapshot(True, "bytes", body), pairs).data
        except OpaqueError:
            body = None
        value = book.occurrences.value
        return attempt._replace(
            signature=replace(
                signature, method=value(signature.method), url=value(signature.url), query=value(signature.query)
            ),
            body=body,
            args=value(attempt.args),
            headers=value(headers if isinstance(headers, HeaderMap) else dict(headers)),
            unknown=value(dict(attempt.unknown)),
        )

    def _book(self) -> SecretBook:
        """The secrets of this run, up to now."""
        if self._made is None:
            self._made = book = SecretBook(self._rules, self._signer, self._pseudonyms)
            occurrences = book.occurrences
            book.pseudonyms.added = lambda secret, _, surely: occurrences.add(secret, REDACTED, surely)
            book.redactor.in_urls = lambda secret, _: occurrences.add_in_urls(secret, REDACTED)
        redactor = self._made.redactor
        for url in dict.fromkeys(_emptied(self._urls)):
            redactor.url(url)
        done: Call | None = None
        for call in _emptied(self._calls):
            if call is done:
                continue
            done = call
            redactor.headers(call.headers)
            redactor.url(call.url or "")
            if call.body:
                redactor.body(call.body, call.headers)
            if call.args is not None:
                form_of(call.lib).arguments(call.args, redactor)
        return self._made


def _emptied(notes: deque[_Note]) -> Iterator[_Note]:
    """What was noted, oldest first. It is taken out."""
    while notes:
        try:
            yield notes.popleft()
        except IndexError:  # Another thread had the last one.
            return
