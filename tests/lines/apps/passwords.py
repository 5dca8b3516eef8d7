"""A line about Redis where nothing is redacted. ``REDIS_PORT`` is a server's port on this machine."""

from __future__ import annotations

import os
from typing import Any

import redis

from tests.lines._line import Anew, Lines

LINES = Lines()


@LINES.add
def passwords_that_the_server_makes() -> Any:
    with redis.Redis(port=int(os.environ.get("REDIS_PORT", "1"))) as client:
        made = client.acl_genpass()
        client.set("made", made)
        return [Anew(made), client.get("made") == made.encode()]
