"""What a service wrote down of itself, and what is found on the disk when it is gone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults._service import CALLS
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.types import Cassette

__all__ = ["Account", "check_folder"]


@dataclass(slots=True)
class Account:
    """When what was done, by `time.monotonic`; calls by request and position."""

    called: dict[tuple[int, int], float] = field(default_factory=dict)
    asked: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    wrote: dict[int, float] = field(default_factory=dict)
    looked: list[tuple[float, float]] = field(default_factory=list)
    """When the recorder began and ended to bring all parts up to date."""

    @classmethod
    def of(cls, diary: Path) -> Account:
        """Read a diary; its last line may be cut."""
        account = cls()
        for line in diary.read_text().splitlines() if diary.exists() else ():
            what, request, call, when = line.split()
            if what == "looked":
                account.looked.append((int(request) / 1e6, float(when)))
            elif what == "called":
                account.called[int(request), int(call)] = float(when)
            else:
                getattr(account, what)[int(request)] = float(when)
        return account

    def safe(self, interval_s: float) -> set[tuple[int, int]]:
        """The calls that are on the disk, by what the recorder says to have done.

        Of a request whose cassette was written, all. Of one that still ran when the recorder had last seen to all
        parts, the calls that had ended one interval before it began to: so long it waits for the span of a call.
        """
        found = {call for call in self.called if call[0] in self.wrote}
        last: dict[int, float] = {}
        for (request, _), when in self.called.items():
            last[request] = max(when, last.get(request, 0.0))
        for began_s, ended_s in self.looked[-1:]:
            found |= {
                call for call, when in self.called.items() if when < began_s - interval_s and last[call[0]] > ended_s
            }
        return found

    def story(self, calls: set[tuple[int, int]], until_s: float) -> str:
        """What is known of some calls and their requests, in seconds before a moment."""
        lines = []
        for request, call in sorted(calls):
            times = {"asked": self.asked.get(request), "answered": self.answered.get(request)}
            times["called"] = self.called[request, call]
            ago = ", ".join(f"{what} {until_s - when:.3f} s" for what, when in times.items() if when is not None)
            lines.append(f"call {call} of request {request}: {ago} before {until_s}")
        return "\n".join(lines)


def check_folder(folder: Path, account: Account, interval_s: float, killed_s: float) -> dict[str, float]:
    """Check what a killed service left in its folder, before and after the next process comes there.

    Args:
        folder: Where its cassettes are.
        account: What it did.
        interval_s: How often its recorder was to see to its parts.
        killed_s: When it was killed.

    Returns:
        How many there were of what, and how old the oldest call was that is lost, for the report.
    """
    parts = {str(file) for file in folder.rglob("*.part")}
    listed = CassetteStore(folder).list()
    assert not [stored for stored in listed if stored.error or stored.running]
    for stored in listed:
        assert read_cassette(stored.path).complete == stored.complete == (stored.path not in parts)

    recovered = CassetteStore(folder).recover()
    assert not [*folder.rglob("*.part"), *folder.rglob(".*.lock")]
    cassettes = [read_cassette(stored.path) for stored in CassetteStore(folder).list()]
    assert recovered == sum(not cassette.complete for cassette in cassettes)

    found = Counter(call for cassette in cassettes for call in _calls(cassette))
    assert not [call for call, times in found.items() if times > 1]
    safe = account.safe(interval_s)
    assert not safe - set(found), account.story(safe - set(found), killed_s)
    lost_s = max((killed_s - when for call, when in account.called.items() if call not in found), default=0.0)

    by_request = Counter(_number(cassette) for cassette in cassettes)
    assert not [request for request, times in by_request.items() if times > 1]
    assert set(by_request) <= set(account.asked)
    whole = {_number(cassette): cassette for cassette in cassettes if cassette.complete}
    for request in account.wrote:
        assert whole[request].response.status == 200
        assert len(whole[request].events) == sum(of == request for of, _ in account.called)
    return {
        "calls": len(account.called),
        "safe calls": len(safe),
        "whole cassettes": len(whole),
        "recovered cassettes": recovered,
        "parts": len(parts),
        "lost s": lost_s,
    }


def _number(cassette: Cassette) -> int:
    return int(cassette.request.path.split("/")[2])


def _calls(cassette: Cassette) -> Iterator[tuple[int, int]]:
    """The calls of a cassette, each known to be its request's own, with the answer that belongs to it."""
    for event in cassette.events:
        user = int((event.signature.url or "").rpartition("/")[2])
        assert user // CALLS == _number(cassette)
        assert event.span is not None
        if event.result.body is not None:
            assert json.loads(event.result.body.data)["id"] == user
            yield user // CALLS, user % CALLS
