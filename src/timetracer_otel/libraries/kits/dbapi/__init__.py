"""Databases beneath every library that calls them: cursors and connections (PEP 249), recorded and replayed.

A library states facts about the database that it calls (`target`), patches the places where it gets connections and
cursors, and puts these there:

- while a session records: a `RecordingCursor` around the driver's own cursor. Connections stay the driver's own.
- in a replay: a `ReplayConnection` without a server behind it, whose cursors answer from the cassette.

It hands two kinds of calls to `flow` itself, `ConnectSite` and `PlainSite` (COMMIT and its like), both in `call`; the
cursors do so with statements. What one driver has of its own stands in that driver's file in ``drivers``.

Nothing is imported here: a library is declared without its seams, and these load the kit when they are installed.
"""
