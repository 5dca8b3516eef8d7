"""Methods of AMQP 0-9-1 with their contents, as plain values, and which of them make an event.

The names are those of the specification (https://www.rabbitmq.com/amqp-0-9-1-reference): ``Basic.Publish``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["CLOSES", "SETTLING", "Said", "ends_rpc", "is_event", "silent_answer"]


class Said(NamedTuple):
    """A method that one side sent, with its content."""

    name: str
    fields: dict[str, Any]
    properties: dict[str, Any] | None = None
    """Those of a message that are set; None where the method has no content."""
    body: bytes | None = None

    def as_list(self) -> list[Any]:
        """The form in a cassette."""
        return [self.name, self.fields, self.properties, self.body]


SETTLING: Final = frozenset({"Basic.Ack", "Basic.Nack", "Basic.Reject"})
"""What an app says of messages that it was given. Nothing answers it."""
CLOSES: Final = frozenset({"Channel.Close", "Connection.Close"})
_OF_MESSAGES: Final = frozenset({"Basic.Publish", "Basic.Get", "Basic.Consume", *SETTLING})
_CLASSES_OF_EVENTS: Final = ("Queue.", "Exchange.", "Tx.")
_SILENT: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "Basic.Cancel": ("Basic.CancelOk", ("consumer_tag",)),
    "Basic.Qos": ("Basic.QosOk", ()),
    "Basic.Recover": ("Basic.RecoverOk", ()),
    "Channel.Close": ("Channel.CloseOk", ()),
    "Channel.Flow": ("Channel.FlowOk", ("active",)),
    "Channel.Open": ("Channel.OpenOk", ()),
    "Confirm.Select": ("Confirm.SelectOk", ()),
    "Connection.Close": ("Connection.CloseOk", ()),
    "Connection.Open": ("Connection.OpenOk", ()),
    "Connection.UpdateSecret": ("Connection.UpdateSecretOk", ()),
}
"""What is about the connection alone: its answer tells nothing but that it was done. The answer, and the fields of
the method that stand in it again."""
_CLOSED: Final = frozenset({"Channel.CloseOk", "Connection.CloseOk"})
_NEED_NOTHING: Final = SETTLING | _CLOSED | {"Basic.CancelOk", "Channel.FlowOk"}


def is_event(name: str) -> bool:
    """Whether a method that an app sends is an event."""
    return name in _OF_MESSAGES or name.startswith(_CLASSES_OF_EVENTS)


def silent_answer(name: str, fields: Mapping[str, Any]) -> Said | None:
    """What a broker answers to a method that is about the connection alone; None where it answers nothing.

    Raises:
        LookupError: Only a broker could answer.
    """
    if name in _NEED_NOTHING or (name in _SILENT and fields.get("nowait")):
        return None
    answer, repeated = _SILENT[name]
    return Said(answer, {field: fields[field] for field in repeated})


def ends_rpc(asked: str, said: str) -> bool:
    """Whether a method is the answer to another one."""
    return said == f"{asked}Ok" or (asked == "Basic.Get" and said == "Basic.GetEmpty")
