"""Compares an answer with the recorded one: status, headers and body, after the redaction that the recording had."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from timetracer_otel.base.ignore_rules import IgnoreRule, parse_rule
from timetracer_otel.constants import BodyEnd
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.match.answer_names import AnswerNames
from timetracer_otel.match.rules import scope_fits
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.shown import without_known_forms
from timetracer_otel.report import body_difference, header_difference
from timetracer_otel.report.bodies import decode_body
from timetracer_otel.types import BodySnapshot, Cassette, HeaderMap, RequestSnapshot, header_pairs
from timetracer_otel.verify.sender import Answer

__all__ = ["VOLATILE_HEADERS", "Comparison", "Ignored", "compare", "compare_job"]

VOLATILE_HEADERS = frozenset(
    {
        *("date", "server", "age"),
        # About one connection, not about the answer (RFC 9110 section 7.6.1).
        *("connection", "keep-alive", "transfer-encoding", "proxy-connection", "upgrade", "trailer", "te", "via"),
        # About one trace.
        *("traceparent", "tracestate", "traceresponse", "baggage", "server-timing", "x-trace-id", "x-b3-traceid"),
    }
)
"""Headers that are never compared. They change from answer to answer, or the server adds them, and not the app."""


_WITHOUT_BODY = frozenset({204, 304})
"""Answers that have no body (RFC 9110 section 6.4.1)."""


class Ignored(NamedTuple):
    """The headers and the parts of a JSON body that are not compared."""

    rules: tuple[IgnoreRule, ...] = ()

    @classmethod
    def of(cls, rules: Sequence[str]) -> Ignored:
        """Take the rules apart, which have the form of the setting ``ignore``. `VOLATILE_HEADERS` are added.

        Raises:
            ConfigurationError: A rule is about a query or a statement, and an answer has neither.
        """
        parsed = [rule for text in rules if (rule := parse_rule(text)) is not None]
        for rule in parsed:
            if rule.kind not in ("header", "body"):
                named, lacks = (
                    (f"query:{rule.what}", "query") if rule.kind == "query" else (rule.what, "bound values")
                )
                raise ConfigurationError(f"--ignore: {named!r} says nothing about an answer; it has no {lacks}.")
        return cls(tuple(parsed))

    def in_answer_to(self, request: RequestSnapshot) -> tuple[frozenset[str], tuple[str, ...]]:
        """The names of headers, in lower case, and the JSON paths that do not count in the answer to a request."""
        rules = [
            rule
            for rule in self.rules
            if not rule.scope or scope_fits(rule.scope, "", request.method, f"http://{_HOST}{request.path}")
        ]
        headers = frozenset(rule.what.lower() for rule in rules if rule.kind == "header")
        return VOLATILE_HEADERS | headers, tuple(rule.what for rule in rules if rule.kind == "body")


_HOST = "service"
"""Stands for the service's own address, which is another one in each run."""


class Comparison(NamedTuple):
    """What differs between two answers, and what could not be compared."""

    differences: list[str]
    notes: list[str]


def compare(cassette: Cassette, answer: Answer, ignored: Ignored, names: AnswerNames) -> Comparison:
    """Compare an answer of the service with the one that a cassette holds, up to the names of variables."""
    recorded, request = cassette.response, cassette.request
    redactor = Redactor.from_policies(cassette.policies)
    no_headers, no_paths = ignored.in_answer_to(request)
    differences = []
    if recorded.status != answer.status:
        differences.append(f"status: recorded {recorded.status}, now {answer.status}")
    if not request.headers:
        return Comparison(differences, ["only the status was compared: only the span of this request was recorded"])
    # What is secret by its name is compared with neither its pseudonym nor its value.
    before = HeaderMap(redactor.headers(header_pairs(recorded.headers)))
    now = HeaderMap(redactor.headers(answer.headers.pairs))
    # The bodies are compared, so their length need not be. The answer to HEAD has no body, but states the length.
    lengths = frozenset() if request.method == "HEAD" and "content-length" in before else {"content-length"}
    before = HeaderMap(_agreeing(before, now, names))
    differences += header_difference(before, now, no_headers | lengths)
    if request.method == "HEAD" or answer.status in _WITHOUT_BODY:
        # The app may have given a body, but a server does not send it.
        return Comparison(_shown(differences, cassette), [])
    why = _not_compared(recorded.body)
    if why is not None:
        return Comparison(_shown(differences, cassette), [f"the body was not compared: {why}"])
    data = recorded.body.data if recorded.body is not None else None
    body = redactor.body(answer.body, answer.headers.pairs).data
    if isinstance(data, bytes):
        data = redactor.body(data, header_pairs(recorded.headers)).data
    differences += _body_difference((data or b"", before), (body, now), no_paths, names)
    return Comparison(_shown(differences, cassette), [])


def _shown(differences: Sequence[str], cassette: Cassette) -> list[str]:
    """Differences as they may be printed: the present answer may hold a secret that no name tells of."""
    if cassette.policies.redaction_mode == "off":
        return [*differences]
    return [without_known_forms(line, cassette.pseudonyms) for line in differences]


def _agreeing(before: HeaderMap, now: HeaderMap, names: AnswerNames) -> Iterator[tuple[bytes, bytes]]:
    """The recorded header lines, with present values where these agree."""
    for name, value in before.pairs:
        text, present = value.decode("latin-1"), now.get(name.decode("latin-1").lower())
        agree = present is not None and names.agree(text, present)
        yield name, (present or "").encode("latin-1") if agree else value


def _body_difference(
    recorded: tuple[bytes, HeaderMap], now: tuple[bytes, HeaderMap], ignored: Sequence[str], names: AnswerNames
) -> list[str]:
    differences = body_difference(*recorded, *now, ignored)
    if not differences:
        return []
    before, after = (decode_body(*side).data for side in (recorded, now))
    if "json" in now[1].get("content-type", ""):
        aligned = _aligned(before, after, names)
    else:
        aligned = after if names.agree(before.decode("latin-1"), after.decode("latin-1")) else before
    plain = [
        HeaderMap(pair for pair in headers.pairs if pair[0].lower() != b"content-encoding")
        for _, headers in (recorded, now)
    ]
    return body_difference(aligned, plain[0], after, plain[1], ignored) if aligned != before else differences


def _aligned(before: bytes, after: bytes, names: AnswerNames) -> bytes:
    """A recorded JSON body with present values where these agree; as it is where one of the two is no JSON."""
    try:
        return json.dumps(names.aligned(json.loads(before), json.loads(after))).encode()
    except (ValueError, RecursionError):
        return before


def compare_job(cassette: Cassette, answer: Mapping[str, Any], ignored: Ignored, names: AnswerNames) -> list[str]:
    """What differs between what a job returned or raised, and what its recording has."""
    before = (cassette.error_info or {}).get("type")
    now = answer.get("error")
    if before != now:
        text = f" ({answer['text']})" if now is not None else ""
        return [without_known_forms(f"error: recorded {before or 'none'}, now {now or 'none'}{text}")]
    recorded = cassette.response.body
    if now is not None or recorded is None or not isinstance(recorded.data, bytes):
        return []
    redactor = Redactor.from_policies(cassette.policies)
    headers = HeaderMap(header_pairs(cassette.response.headers))
    data = json.dumps(answer.get("value"), sort_keys=True).encode()
    _, paths = ignored.in_answer_to(cassette.request)
    recorded_data = redactor.body(recorded.data, headers.pairs).data
    now_data = redactor.body(data, headers.pairs).data
    differences = _body_difference((recorded_data, headers), (now_data, headers), paths, names)
    return _shown(differences, cassette)


def _not_compared(body: BodySnapshot | None) -> str | None:
    if body is None:
        return None
    if not body.captured:
        return "the recording does not hold it"
    if body.end is not BodyEnd.COMPLETE:
        return "it broke off when it was recorded"
    return None
