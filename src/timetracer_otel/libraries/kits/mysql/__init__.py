"""MySQL and MariaDB beneath the drivers that an app uses itself, whose cursors run for real in a replay.

pymysql, aiomysql, asyncmy and mysqlclient have one core: a cursor puts a statement together, a connection sends it
(``query``), and a result comes back. The seam is there: a recording notes the result, and a replay puts a recorded
one in its place. Rows as dicts, unbuffered cursors and bulk INSERTs are the driver's own work.

- `seams`: the calls, recorded and replayed. A driver gives a `Driver`, which states what it calls things.
- `call`: what a call is, as the kit of PEP 249 (``kits/dbapi``) wants it stated.
- `answer`: a result as a cassette holds it, and rows that a replay reads one by one.
- `wire`: stands for the server of a replay, which a driver in Python greets, and tells of its settings.

Nothing is imported here: a library is declared without its seams, and these load the kit when they are installed.
"""
