"""Faults of our own, injected one at a time into each function that runs while an app is recorded (law 6)."""

import sys

if "mysqlconnector_in_c" in sys.argv:
    # Before anything that loads another OpenSSL.
    import _mysql_connector  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
