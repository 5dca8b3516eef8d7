"""What `timetracer_reproduce` and `timetracer_verify` do: send a recorded request again, and compare the answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from timetracer_otel.blocks import replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.match.process_recordings import paths_beside
from timetracer_otel.match.roots import is_http
from timetracer_otel.pytest_plugin.sessions import accounted, note_age, note_used, settings_of_block
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import HeaderMap
from timetracer_otel.verification.app_calls import app_named, call_app
from timetracer_otel.verification.judging import compared
from timetracer_otel.verify.compare import Ignored

if TYPE_CHECKING:
    from timetracer_otel.config import Settings

__all__ = ["Reproduced", "reproduce", "verify_by_command"]


_AS_RECORDED: Any = {"record_mode": "none", "fail_on_miss": True}
"""Settings whatever the environment says."""


@dataclass(frozen=True, repr=False)
class Reproduced:
    """The answer of an app to a recorded request, beside the recorded answer."""

    request: str
    """The request, as ``GET /orders/7``."""
    status: int
    headers: HeaderMap
    body: bytes
    difference: str
    """How the answer differs from the recorded one, in lines; empty where it does not, but for values that are made
    anew in each run."""
    error: BaseException | None = field(default=None, compare=False)
    """What the app raised, also where its framework made an answer of it; None where it raised nothing."""

    @property
    def is_as_recorded(self) -> bool:
        """Whether the request is answered as it was recorded: by status, headers and body, and the class of the
        exception where it failed.
        """
        return not self.difference

    @property
    def error_type(self) -> str | None:
        """The name of the exception's class, without its module; None where the app raised nothing."""
        return type(self.error).__name__ if self.error is not None else None

    @property
    def text(self) -> str:
        """The body as text (UTF-8)."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The value of a JSON body."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} for {self.request}>"


def reproduce(
    request: pytest.FixtureRequest,
    path: Path,
    app: Any,
    raises: bool,
    headers: Mapping[str, str],
    ignore: Sequence[str],
    settings: Settings,
) -> Reproduced:
    """Send the request of a recording to an app of this process, whose calls are answered from the recording.

    Args:
        request: Of the fixture.
        path: The recording.
        app: The app, or where it is found (`app_named`).
        raises: Whether an exception of the app goes on.
        headers: Values of headers to replace.
        ignore: What of the answer is not compared, as rules of ``verify --ignore``.
        settings: Of the replay.

    Raises:
        ConfigurationError: It is no recording of a request, or no app.
        ReplayFailedError: A call of the app had no recorded answer.
    """
    __tracebackhide__ = True
    cassette = read_cassette(path)
    recorded = cassette.request
    if not is_http(recorded) or not cassette.response.status:
        raise ConfigurationError(f"{path}: it is no recording of an HTTP request and its answer.")
    ignored = Ignored.of(ignore)
    for each in (path, *paths_beside(cassette)):
        note_used(request.node, each)
    began_s = time.monotonic()
    chosen: dict[str, Any] = {**settings_of_block(request), **_AS_RECORDED, **settings}
    # This is a replay, whatever the age of the recording.
    max_age = chosen.get("max_age") or TraceConfig.from_env().max_age
    chosen["max_age"] = max_age.replace("record", "warn")
    with accounted(request.node) as account, replay(path, **chosen) as session:
        account.session = session
        note_age(request.node, session)
        found = app_named(app) if isinstance(app, str) else app
        called = call_app(found, recorded, headers)
        if called.error is not None and (raises or called.answer is None):
            raise called.error
    assert isinstance(session, ReplaySession)
    answer = called.answer
    name = f"{recorded.method} {recorded.path}"
    if answer is None:
        raise ConfigurationError(f"app: {app!r} gave no answer to {name}.")
    lines, notes = compared(cassette, called, answer, session, ignored, time.monotonic() - began_s)
    if notes:
        request.node.add_report_section("call", "timetracer", "".join(f"note: {note}\n" for note in notes))
    return Reproduced(name, answer.status, answer.headers, answer.body, "\n".join(lines), called.error)


def verify_by_command(
    request: pytest.FixtureRequest, folder: Path, command: Sequence[str], options: Sequence[str]
) -> None:
    """Let ``timetracer-otel verify`` start a service, and send it the recorded requests of a folder.

    Raises:
        pytest.fail.Exception: One was not answered as it was recorded; the text is the report of the command.
    """
    __tracebackhide__ = True
    for path in sorted(folder.rglob("*.msgpack*")):
        note_used(request.node, path)
    arguments = ["-m", "timetracer_otel", "verify", str(folder), *options, "--", *command]
    done = subprocess.run(  # noqa: S603 - running what the user asked for is the purpose
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{done.stdout}{done.stderr}".strip(), pytrace=False)
