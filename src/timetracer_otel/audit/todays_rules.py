"""Today's rules, applied to a recording that was made by others: a scrubbing writes that, an audit compares it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from timetracer_otel.audit.leaves import Leaf, leaves_of
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import REDACTED, SHORTEST_PSEUDONYM, CapturePolicy
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.events import EventMaker
from timetracer_otel.session.secret_book import SecretBook
from timetracer_otel.types import AppliedPolicies, Cassette

__all__ = ["Applied", "apply", "book_of"]

_MOST_TIMES_ANEW = 3
_WITHOUT_BOUNDS = 1 << 40


@dataclass(frozen=True, slots=True)
class Applied:
    """A recording, and what today's rules make of it."""

    before: Cassette
    after: Cassette
    leaves: list[tuple[Leaf, Leaf]]
    """Each text before and after, with its place as it may be shown."""
    secrets: dict[str, str]
    """What was found, each with its pseudonym."""
    sure: frozenset[str]
    """Those of them that their form tells."""
    names: frozenset[str]
    """Every text that stands for a secret."""
    is_secret_name: Callable[[str], bool]
    clean_text: Callable[[str], str]
    """Gives a text without the secrets that were found."""

    @property
    def changed(self) -> list[tuple[Leaf, Leaf]]:
        """The texts that hold a secret."""
        return [(old, new) for old, new in self.leaves if old.text != new.text]


def apply(read: Callable[[], Cassette], config: TraceConfig) -> Applied:
    """Apply the rules of a configuration, and those by which a recording was made.

    Args:
        read: Gives the recording, a new object each time.
        config: Its ``redact``, ``redact_extra`` and ``redact_rules`` are today's rules.

    Raises:
        CassetteError: The recording cannot be read.
    """
    before = read()
    made = _applied(before, read(), config, set())
    avoided: set[str] = set()
    for _ in range(_MOST_TIMES_ANEW):
        collisions = _collisions(made)
        if not collisions:
            break
        avoided |= collisions
        made = _applied(before, read(), config, avoided)
    return made


def _applied(before: Cassette, cassette: Cassette, config: TraceConfig, avoided: set[str]) -> Applied:
    maker = _maker(before, config)
    book = maker.book
    assert book is not None
    book.pseudonyms.avoid(avoided)
    sure: set[str] = set()
    added = book.pseudonyms.added

    def note(secret: str, pseudonym: str, surely: bool) -> None:
        if surely:
            sure.add(secret)
        if added is not None:
            added(secret, pseudonym, surely)

    book.pseudonyms.added = note
    # The secrets of the request may stand in events, and the other way round: all are found before any is replaced.
    book.note([cassette.error_info, *([log.message, log.error] for log in cassette.logs)])
    request, response = maker.request(cassette.request), maker.response(cassette.response)
    events = [maker.anew(event) for event in cassette.events]
    maker.clean(events)
    request, response = book.exchanged(request, response)
    after = replace(
        cassette,
        request=request,
        response=response,
        events=events,
        error_info=book.error(cassette.error_info),
        logs=book.logs(cassette.logs),
        policies=_policies(cassette.policies, maker),
        pseudonyms=book.names(),
    )
    value = book.occurrences.value
    after.session = replace(after.session, service=value(after.session.service), env=value(after.session.env))
    return Applied(
        before,
        after,
        _paired(before, after, book),
        {secret: name for secret, name in book.pseudonyms.secrets().items() if secret != name},
        frozenset(sure),
        frozenset(book.pseudonyms.names()),
        lambda name: maker.rules.is_secret_field(name) or _is_secret_header(maker.rules, name),
        lambda text: book.redactor.text(book.occurrences.text(text)),
    )


def book_of(config: TraceConfig, known: tuple[str, ...]) -> SecretBook:
    """Today's rules for what is no recording, such as a report about some."""
    rules = Redactor.of(_mode(config), config.redact_extra, config.redact_rules)
    book = EventMaker(_generous(config), rules, known=(REDACTED, *known)).book
    assert book is not None
    return book


def _maker(cassette: Cassette, config: TraceConfig) -> EventMaker:
    policies = cassette.policies
    extra = dict.fromkeys([*Redactor.names_in(policies.redaction_rules), *config.redact_extra])
    places = dict.fromkeys([*Redactor.places_in(policies.redaction_rules), *config.redact_rules])
    mode = "strict" if policies.redaction_mode == "strict" else _mode(config)
    rules = Redactor.of(mode, list(extra), list(places))
    maker = EventMaker(_generous(config), rules, known=(REDACTED, *cassette.pseudonyms))
    book = maker.book
    assert book is not None
    if (
        policies.pseudonymised
        and policies.redaction_mode == mode
        and set(rules.rules) <= set(policies.redaction_rules)
    ):
        book.pseudonyms.stays_up_to = SHORTEST_PSEUDONYM - 1
    return maker


def _mode(config: TraceConfig) -> str:
    return "default" if config.redact == "off" else config.redact


def _generous(config: TraceConfig) -> TraceConfig:
    """The configuration without what would leave something out: the recording has decided that."""
    return replace(
        config,
        store_request_body=CapturePolicy.ALWAYS,
        store_response_body=CapturePolicy.ALWAYS,
        max_body_kb=_WITHOUT_BOUNDS,
    )


def _policies(policies: AppliedPolicies, maker: EventMaker) -> AppliedPolicies:
    # Expressions and functions are applied by nobody who only reads the header, but they say what was done.
    rules = dict.fromkeys([*maker.rules.rules, *policies.redaction_rules])
    return replace(policies, redaction_mode=maker.rules.mode, redaction_rules=list(rules), pseudonymised=True)


def _paired(before: Cassette, after: Cassette, book: SecretBook) -> list[tuple[Leaf, Leaf]]:
    old, new = list(leaves_of(before)), list(leaves_of(after))
    if len(old) == len(new):
        return list(zip(old, new, strict=True))
    # A text was replaced as a whole that had been JSON, or base64. Its parts are compared by their places.
    by_place = {(leaf.event, leaf.place): leaf for leaf in new}
    clean: Any = book.occurrences.text
    return [
        (leaf, by_place.get((leaf.event, leaf.place)) or leaf._replace(place=clean(leaf.place), text=""))
        for leaf in old
    ]


def _collisions(made: Applied) -> set[str]:
    """New pseudonyms that are values of the recording, or have been chosen for what it holds elsewhere."""
    own = {leaf.text for leaf, _ in made.leaves}
    return {name for name in made.secrets.values() if name in own}


def _is_secret_header(rules: Redactor, name: str) -> bool:
    return rules.headers([(name.encode("latin-1", "replace"), b"x")])[0][1] != b"x"
