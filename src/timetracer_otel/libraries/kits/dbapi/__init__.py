"""Database drivers (PEP 249): cursors and connections, recorded and replayed."""
