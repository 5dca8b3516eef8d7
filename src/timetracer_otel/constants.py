"""Constants, and the enumerations of settings and cassettes. Imports nothing of ours."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = [
    "ANY_HTTP_CLIENT",
    "BAGGAGE_ENTRY",
    "CASSETTE_ATTRIBUTE",
    "CONVERSATION",
    "GIVEN_TO_WORKERS",
    "JOB",
    "MESSAGE",
    "MESSAGES",
    "DRIVER_TYPE",
    "DRIVER_VALUE",
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "REDACTED",
    "SETS_UP",
    "SHORTEST_PSEUDONYM",
    "WITHOUT_PLUGIN",
    "BodyEnd",
    "CapturePolicy",
    "CompressionType",
    "EventType",
    "RecordMode",
    "TraceMode",
    "Uncaptured",
]

ANY_HTTP_CLIENT: Final = "http"
"""What stands in the place of a library in an HTTP call that was imported from a format which names no client. It
answers the calls of any of them."""

JOB: Final = "JOB"
"""What stands in the place of a method in the recording of a job, whose name is the path."""

MESSAGE: Final = "MESSAGE"
"""The same in the recording of a message that a consumer was given. The name of its queue or topic is the path."""

MESSAGES: Final = "MESSAGES"
"""The same in the recording of several messages that a consumer was given by one call. Each is a part of the body."""

GIVEN_TO_WORKERS: Final = frozenset({JOB, MESSAGE, MESSAGES})
"""Those whose recordings ``timetracer-otel verify`` gives to a worker or a consumer."""

BAGGAGE_ENTRY: Final = "timetracer.cassette"
"""The entry of W3C baggage with which a request says which cassette answers it."""

FORMAT_NAME: Final = "timetracer-cassette"
"""Value of ``format`` in the header map of every cassette."""

CASSETTE_ATTRIBUTE: Final = "timetracer.cassette"
"""The attribute of a recorded request's outermost span that has the id of its session, by which commands find the
cassette. A tracing backend shows it beside the trace."""

WITHOUT_PLUGIN: Final = "only observed: no plugin captures the calls of "
"""What stands before the library in the reason of an event that no plugin captured."""

FORMAT_VERSION: Final = 1
"""Version of the cassette format that this release writes."""

DRIVER_TYPE: Final = "timetracer:type"
"""Key, in a map that stands for a value of a database driver's own type, of the name of that type."""

DRIVER_VALUE: Final = "timetracer:value"
"""Key, in the same map, of the plain data that such a value is made of."""

REDACTED: Final = "[REDACTED]"
"""The text that replaces a secret in a cassette."""

CONVERSATION: Final = "conversation"
"""Key, in the reply of a call, of what both sides said after it had begun: see ``docs/cassette-format.md``."""

SETS_UP: Final = "sets_up"
"""Key, in the reply of a call, that says that a library made it by itself, to open a connection to a database, to set
one up, or to get credentials: see `DependencyEvent.sets_up`."""

SHORTEST_PSEUDONYM: Final = 4
"""A shorter pseudonym is no name for anything: other values have the same text. A recording has it where its secret
stood, and a cassette does not list it."""


class TraceMode(str, Enum):
    """What the library does with the calls it sees."""

    OFF = "off"
    RECORD = "record"
    REPLAY = "replay"


class RecordMode(str, Enum):
    """What ``replay(...)`` and the pytest marker do with calls that their cassette does not hold."""

    NONE = "none"
    """Replay only: such a call is an error, and so is a missing file."""
    ONCE = "once"
    """Record where the file is missing; as `NONE` where it is there."""
    NEW_EPISODES = "new_episodes"
    """Make such a call for real, and add it to the file."""
    ALL = "all"
    """Record everything anew."""
    REWRITE = "rewrite"
    """As `ALL`, but the file that is there stays as it is where the block or the test fails."""

    @property
    def is_anew(self) -> bool:
        """Whether everything is recorded anew, also where the file is there."""
        return self in (RecordMode.ALL, RecordMode.REWRITE)


class Uncaptured(str, Enum):
    """What is done about calls that no plugin captures.

    ``REFUSE`` and ``LIVE`` are about replays, ``RECORD`` and ``WARN`` about recordings. A value that is about the
    other kind of session leaves a session its default.
    """

    REFUSE = "refuse"
    """A replay refuses them (the default of replays)."""
    LIVE = "live"
    """A replay lets them out, and counts them."""
    RECORD = "record"
    """A recording keeps what their spans tell, and says no more about it."""
    WARN = "warn"
    """A recording also says at its end which libraries it has no answers of (the default of recordings)."""


class CapturePolicy(str, Enum):
    """When a body is kept in the cassette.

    ``ON_ERROR`` keeps it for calls that raised or answered with a status of 400 or more.
    """

    NEVER = "never"
    ON_ERROR = "on_error"
    ALWAYS = "always"


class CompressionType(str, Enum):
    """How a finished cassette file is compressed; readers go by magic bytes, not by suffix."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class EventType(str, Enum):
    """Which kind of dependency an event is about."""

    HTTP_CLIENT = "http.client"
    DB_QUERY = "db.query"
    REDIS = "redis"
    CUSTOM = "custom"


class BodyEnd(str, Enum):
    """How a body ended, seen from the app that read or sent it."""

    COMPLETE = "complete"
    """Read (or sent) to its last byte."""
    CLOSED = "closed"
    """The app closed the stream before its end; what lay behind was never seen."""
    FAILED = "failed"
    """An error ended it; the error stands beside it."""
    CANCELLED = "cancelled"
    """The reading task was cancelled."""
    CUT = "cut"
    """The recording ended while the app was still reading."""
