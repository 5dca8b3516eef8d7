"""A recorded service with a request that failed, for the commands about one recording."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.loopback import Loopback
from tests.servers._ports import free_port
from tests.verify._services import ROOT, SCRIPT, Request, environment, record
from timetracer_otel.cassette import CassetteStore, StoredCassette

__all__ = ["Failing"]

ORDER = Request("GET", "/orders/7")


class Failing:
    """The service with its recordings; what it called is gone."""

    def __init__(self, framework: str, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.module = ["-m", "tests.verify._failing", framework, str(self.port)]
        requests = [ORDER, Request("GET", "/stock")] if framework == "starlette" else [ORDER]
        with Loopback() as upstream:
            self.upstream = upstream.url
            self.module.append(upstream.url)
            record([sys.executable, *self.module], self.port, requests, folder)
        self.rows = {each.request_path: each for each in CassetteStore(folder).list() if each.method}

    @property
    def order(self) -> StoredCassette:
        (path,) = (path for path in self.rows if path.startswith("/orders/"))
        return self.rows[path]

    def reproduce(
        self, name: str, *options: str, typed: str = "", **changes: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["python", *self.module]
        program = [] if "--shell" in options else ["--", *command]
        return subprocess.run(
            [SCRIPT, "reproduce", name, "--dir", str(self.folder), *options, *program],
            env=environment(command, **changes),
            cwd=ROOT,
            input=typed,
            capture_output=True,
            text=True,
            timeout=240,
        )
