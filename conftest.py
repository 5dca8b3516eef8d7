"""For the tests of every distribution here: property tests have no deadline, and `make fuzz` makes them longer."""

from __future__ import annotations

from hypothesis import settings

from tests.examples import examples

settings.register_profile("project", examples(25))
settings.load_profile("project")
