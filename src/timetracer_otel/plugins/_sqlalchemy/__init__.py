"""The parts of the SQLAlchemy plugin.

What is recorded is what the driver's cursor said (description, row counts, rows as they were fetched), beneath
SQLAlchemy's own types, ORM and pools, which all run for real in replay. Connections stay the driver's own while
recording; in a replay they are ours.
"""
