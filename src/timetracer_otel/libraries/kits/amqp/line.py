"""One channel: which method of the app each thing belongs to that the broker says.

A broker answers in order, and it confirms messages by their number. What it says unasked belongs to the last method
that the app has sent by then: a returned message, for instance, or that it closes the channel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from timetracer_otel.libraries.kits.amqp.call import Answers, SentSite
from timetracer_otel.libraries.kits.amqp.said import CLOSES, SETTLING, Said, ends_rpc

__all__ = ["Line"]

_MOST_UNTOLD: Final = 1000
_ROUTE: Final = ("exchange", "routing_key")
_NOT_ANSWERED: Final = frozenset({*SETTLING, "Basic.RecoverAsync"})


class Line:
    """What is noted of a channel. Not safe from several threads, as a channel is not.

    Args:
        confirms: Whether the broker confirms messages by now, though nobody saw how many there were.
    """

    __slots__ = (
        *("_coming", "_confirms", "_consumers", "_counted", "_last", "_may_come_back", "_published", "_sends"),
        *("_unconfirmed", "_waiting"),
    )

    def __init__(self, *, confirms: bool = False) -> None:
        self._confirms = confirms
        self._counted = not confirms
        self._published = 0
        self._sends = 0
        """How many events of the app there were on this channel."""
        self._waiting: deque[tuple[str, SentSite | None]] = deque()
        """Methods that will be answered. One of no session has no site."""
        self._unconfirmed: dict[int, SentSite | None] = {}
        self._last: SentSite | None = None
        self._may_come_back: deque[SentSite] = deque(maxlen=_MOST_UNTOLD)
        """Messages that the broker says nothing of, unless it returns them."""
        self._consumers: dict[str, tuple[int, SentSite]] = {}
        """By name: recorded consumers, and how many sends stood before each."""
        self._coming: deque[tuple[int, Callable[[], None]]] = deque()
        """In a replay: what is given to consumers, each behind a number of sends."""

    # While an app is recorded

    def sent(self, said: Said, site: SentSite | None, tag: int | None = None) -> None:
        """A method has gone out.

        Args:
            said: The method.
            site: The same, where it is recorded.
            tag: The number of a message, where the client counts them.
        """
        name = said.name
        if site is not None:
            self._last = site
            self._sends += 1
        if name == "Confirm.Select" and not self._confirms:
            # A broker numbers the messages from here on.
            self._confirms, self._published = True, 0
        if name == "Basic.Publish":
            if site is not None and said.fields.get("mandatory"):
                self._may_come_back.append(site)
            self._published = self._published + 1 if tag is None else tag
            if self._confirms or tag is not None:
                self._unconfirmed[self._published] = site
                return
        elif name not in _NOT_ANSWERED and not said.fields.get("nowait") and not name.endswith("Ok"):
            self._waiting.append((name, site))
            return
        if site is not None:
            site.ends()

    def received(self, said: Said) -> None:
        """The broker says something."""
        name = said.name
        if name in ("Basic.Ack", "Basic.Nack"):
            self._confirmed(said)
        elif name in ("Basic.Deliver", "Basic.Cancel"):
            found = self._consumers.get(said.fields["consumer_tag"])
            if found is not None:
                before, consumer = found
                consumer.heard.deliveries.append((self._sends - before, said))
                if name == "Basic.Cancel":
                    consumer.ends(consuming=True)
        elif name == "Basic.Return":
            returned = self._returned(said)
            if returned is not None:
                returned.heard.said.append(said)
        elif name in CLOSES:
            self._closed(said)
        elif any(ends_rpc(asked, name) for asked, _ in self._waiting):
            answered: SentSite | None
            asked, answered = self._waiting.popleft()
            while not ends_rpc(asked, name):
                asked, answered = self._waiting.popleft()
            if answered is not None:
                answered.heard.said.append(said)
                if name == "Basic.ConsumeOk" and answered.keeps_deliveries:
                    self._consumers[said.fields["consumer_tag"]] = self._sends, answered
                answered.ends(consuming=not answered.keeps_deliveries)
        if name == "Basic.CancelOk" and said.fields["consumer_tag"] in self._consumers:
            self._consumers.pop(said.fields["consumer_tag"])[1].ends(consuming=True)

    def _confirmed(self, said: Said) -> None:
        tag, multiple = said.fields["delivery_tag"], said.fields.get("multiple")
        if not self._counted and self._unconfirmed and tag:
            missed = tag - min(self._unconfirmed)
            self._counted, self._published = True, self._published + missed
            self._unconfirmed = {number + missed: site for number, site in self._unconfirmed.items()}
        for each in [each for each in self._unconfirmed if each == tag or (multiple and (each <= tag or not tag))]:
            site = self._unconfirmed.pop(each)
            if site is not None:
                site.heard.said.append(said)
                site.ends()

    def _returned(self, said: Said) -> SentSite | None:
        """The message that comes back: a broker returns it before it confirms it."""
        for site in self._may_come_back:
            fields = site.method.fields
            if site.method.body == said.body and all(fields[name] == said.fields[name] for name in _ROUTE):
                self._may_come_back.remove(site)
                return site
        return None

    def _closed(self, said: Said) -> None:
        open_sites = [site for _, site in self._waiting] + list(self._unconfirmed.values())
        found = [site for site in open_sites if site is not None]
        blamed = found[0] if found else self._last
        if blamed is not None:
            blamed.heard.said.append(said)
        for site in found:
            site.ends()
        self._waiting.clear()
        self._unconfirmed.clear()

    # In a replay

    def answered(self, sent: Said, answers: Answers, give: Callable[[Said], None], tag: int | None = None) -> None:
        """Give a client what was said to a method.

        Args:
            sent: The method.
            answers: What was recorded.
            give: Gives the client one thing that the broker says.
            tag: The number of a message, where the client counts them.
        """
        if sent.name == "Basic.Publish":
            self._published = self._published + 1 if tag is None else tag
        self._sends += 1
        present: dict[str, Any] = {}
        if sent.fields.get("consumer_tag"):
            present["consumer_tag"] = sent.fields["consumer_tag"]
        for after, said in answers.deliveries:
            made = said._replace(fields={**said.fields, **present})
            self._coming.append((self._sends + after, lambda made=made: give(made)))  # type: ignore[misc]
        # Looked for first: where that fails, the client was given nothing yet.
        due = self._due()
        for said in answers.said:
            if said.name in ("Basic.Ack", "Basic.Nack"):
                said = said._replace(fields={**said.fields, "delivery_tag": self._published})
            elif said.name == "Basic.Return" and sent.properties and said.properties is not None:
                # A client may have made up a name for the message.
                names = {"message_id": sent.properties["message_id"]} if "message_id" in sent.properties else {}
                said = said._replace(properties={**said.properties, **names})
            elif "consumer_tag" in said.fields:
                said = said._replace(fields={**said.fields, **present})
            give(said)
        for each in due:
            each()

    def settled(self) -> None:
        """In a replay, the app has settled a message."""
        self._sends += 1
        for each in self._due():
            each()

    def _due(self) -> list[Callable[[], None]]:
        """What is given to consumers by now."""
        due = []
        while self._coming and self._coming[0][0] <= self._sends:
            due.append(self._coming.popleft()[1])
        return due
