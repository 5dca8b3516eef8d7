"""Databases beneath every library that calls them: cursors and connections (PEP 249), recorded and replayed.

A library states facts about the database that it calls (`Target`), patches the places where it gets connections and
cursors, and puts these there:

- while a session records: a `RecordingCursor` around the driver's own cursor. Connections stay the driver's own.
- in a replay: a `ReplayConnection` without a server behind it, whose cursors answer from the cassette.

It hands three kinds of calls to `flow`: `ConnectSite`, `PlainSite` (COMMIT and its like), and, by the cursors,
`StatementSite`. What one driver has of its own stands in that driver's file in ``drivers``.
"""

from timetracer_otel.libraries.kits.dbapi.call import ConnectSite, PlainSite
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor
from timetracer_otel.libraries.kits.dbapi.target import NO_FACTS, StatementFacts, Target

__all__ = [
    "NO_FACTS",
    "ConnectSite",
    "PlainSite",
    "RealConnection",
    "RecordingCursor",
    "ReplayConnection",
    "ReplayCursor",
    "StatementFacts",
    "Target",
    "recorded_facts",
]
