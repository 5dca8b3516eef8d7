"""SQLAlchemy's own compliance suite, as a dialect of somebody else would run it."""

from sqlalchemy.testing.suite import *  # noqa: F403
