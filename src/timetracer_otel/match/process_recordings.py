"""What a process recorded outside any request: joined from several recordings, or found beside a request's cassette.

A service may touch its database before its first request comes: ``create_all``, a warm-up, a ping. These calls stand
in the cassette of the process. The replay of one request needs them as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from timetracer_otel.cassette import read_cassette
from timetracer_otel.cassette.stores.files import head_of
from timetracer_otel.constants import FORMAT_VERSION
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette, RequestSnapshot, ResponseSnapshot, SessionMeta

__all__ = ["beside", "empty_cassette", "join", "paths_beside"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def beside(cassette: Cassette) -> Cassette | None:
    """The calls outside any request of the process that recorded a request, and of those that it was forked from.

    Returns:
        One cassette; None where there is no such recording, or where the given one is about no request.
    """
    found: list[tuple[str, Cassette]] = []
    for path in paths_beside(cassette):
        try:
            read = read_cassette(path)
        except CassetteError:
            # It cannot be used: the miss of a call says what is missing.
            continue
        found.append((read.session.recorded_at, read))
    if not found:
        return None
    found.sort(key=lambda pair: pair[0])
    joined = join([each for _, each in found], str(Path(cassette.path or "").parent), [])
    return joined if _redaction(joined) == _redaction(cassette) else None


def paths_beside(cassette: Cassette) -> list[Path]:
    """The files with the calls outside any request of the process that recorded a request, and of its parents.

    They are looked for in the folder of the request's cassette. Where that is the folder of a date, the folders of
    other dates beside it are looked through as well: the process may have begun the day before.
    """
    if cassette.path is None or not cassette.request.method or not cassette.session.process:
        return []
    found = []
    for path in _candidates(Path(cassette.path).absolute().parent):
        try:
            head = head_of(path)
        except CassetteError:
            continue
        if not head.request.method and set(head.session.process[-1:]) & set(cassette.session.process):
            found.append(path)
    return found


def _candidates(folder: Path) -> Iterator[Path]:
    folders = [folder]
    if _DATE.fullmatch(folder.name):
        folders = sorted(each for each in folder.parent.iterdir() if each.is_dir() and _DATE.fullmatch(each.name))
    for each in folders:
        # Named so by `cassette_name`.
        yield from sorted(each.glob("process_*.msgpack*"))


def join(cassettes: Iterable[Cassette], path: str, broken: list[CassetteError]) -> Cassette:
    """Recordings of calls outside any request as one cassette, which has no events where there are none.

    A recording with other redaction rules than the latest one is left out, and ``broken`` gets an error for it.

    Args:
        cassettes: The recordings, oldest first. They are not changed.
        path: The path of the joined cassette, for error texts.
        broken: Errors are added to it.
    """
    joined = empty_cassette(path)
    for cassette in reversed(list(cassettes)):
        if not joined.session.recorded_at:
            joined = replace(cassette, events=[], pseudonyms=(), path=path)
        elif _redaction(cassette) != _redaction(joined):
            text = f"Cassette {cassette.path} was redacted by other rules than later ones."
            broken.append(CassetteError(text, path=cassette.path))
            continue
        joined.events[:0] = cassette.events
        joined.pseudonyms = (*cassette.pseudonyms, *joined.pseudonyms)
    joined.events[:] = [replace(event, eid=eid) for eid, event in enumerate(joined.events, 1)]
    return joined


def empty_cassette(path: str | None = None) -> Cassette:
    """A cassette without events and without a request."""
    return Cassette(
        schema_version=str(FORMAT_VERSION),
        session=SessionMeta(id="", recorded_at="", service="", env=""),
        request=RequestSnapshot(method="", path=""),
        response=ResponseSnapshot(status=0),
        path=path,
    )


def _redaction(cassette: Cassette) -> tuple[str, ...]:
    """The rules by which a cassette was redacted. Only calls that were redacted alike can be compared."""
    policies = cassette.policies
    return (policies.redaction_mode, str(policies.pseudonymised), *policies.redaction_rules)
