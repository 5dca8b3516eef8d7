"""`verify_one`: sends a service or an app the request of one recording, and compares what it answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from timetracer_otel.base.urls import is_url
from timetracer_otel.blocks import replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import CassetteNotFoundError, ConfigurationError, TimetracerError
from timetracer_otel.match.catalog import Catalog, is_id
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.report import event_name, request_name
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Cassette
from timetracer_otel.verification.app_calls import app_named, call_app
from timetracer_otel.verification.judging import compared
from timetracer_otel.verify import Ignored, plan, staged

__all__ = ["Verdict", "verify_one"]

Outcome = Literal["passed", "failed", "not sent", "left out"]

PORT: Final = "{port}"
"""Stands in a command for a port that is free."""
_one_at_a_time = threading.RLock()
"""Apps of this process are asked in turn: what is noted of a request, while it is answered, is the process's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of verifying one recording. Holds plain values, so that it can be pickled and sent to other machines.

    `timetracer_otel.types.Verdict` is another thing: the account of the calls of one replay.
    """

    path: str
    """The recording, as it was named."""
    session_id: str
    request: str
    """``GET /users/7``."""
    outcome: Outcome
    """``not sent``: its request cannot be sent as it was recorded. ``left out``: it is about no request or job."""
    status: int | None = None
    """The status of the answer; None where there was none."""
    took_s: float = 0.0
    problems: tuple[str, ...] = ()
    """Why it failed, was not sent, or was left out: what differs, and the calls that had no recorded answer."""
    notes: tuple[str, ...] = ()
    """Remarks that do not make it fail, as a recorded call that was not made."""
    paid: int | None = None
    """How many calls to providers of language models went out for real; None where the request makes none."""

    @property
    def passed(self) -> bool:
        """Whether the request was answered as it was recorded."""
        return self.outcome == "passed"

    def __str__(self) -> str:
        """``failed    GET /users/7: body $.name: recorded 'Ada', now 'Bob'``."""
        why = f": {'; '.join(self.problems)}" if self.problems else ""
        return f"{self.outcome:<9} {self.request}{why}"


def verify_one(
    path: str | os.PathLike[str],
    *,
    app: Any = None,
    command: Sequence[str] | None = None,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    timeout_s: float = 30.0,
    start_timeout_s: float = 60.0,
    cassette_dir: str | os.PathLike[str] | None = None,
) -> Verdict:
    """Send the request of one recording again, offline, and compare the answer and the calls with the recorded ones.

    Either ``app`` or ``command`` says what is asked. An app is called in this process, without a port; apps of one
    process are asked one at a time, so engines should give each worker one thread, or use processes. A command is
    started for this recording alone and stopped afterwards, as ``timetracer-otel verify`` does; any number of them
    may run side by side. All other settings are those of the environment (``TIMETRACER_…``).

    Args:
        path: The cassette; or the id of its session or trace, or the beginning of one; or its URL in object storage.
        app: An ASGI or WSGI app, or where it is found: ``shop:app``, ``shop:make_app()``. The text can be sent to
            other machines; an app usually cannot.
        command: What starts the service, or the worker where the recording is of a job. ``{port}`` in it stands for
            a port that is free: ``["flask", "--app", "shop", "run", "--port", "{port}"]``. Needs the extra
            ``verify``.
        url: Where the command listens. Without it: at that port, or where the recorded request went.
        headers: Values of headers that replace the recorded ones, which may be redacted.
        ignore: What is not compared, as in the setting ``ignore``: ``header:etag``, ``body:$.at``.
        timeout_s: How long the answer of a command may take, in seconds.
        start_timeout_s: How long the start of a command may take, in seconds.
        cassette_dir: The folder, or the URL of object storage, in which an id is looked for. Without it, the
            setting of this name.

    Returns:
        What came of it. A recording that differs is no error.

    Raises:
        CassetteNotFoundError: There is no such cassette.
        CassetteError: It cannot be read, or the object storage cannot be reached.
        ConfigurationError: An argument or a setting has a value that cannot be used, an id means several cassettes,
            or the service did not start.
    """
    if (app is None) == (command is None):
        raise ConfigurationError("verify_one: give either app or command: what the recorded request is sent to.")
    if command is not None and not command:
        raise ConfigurationError("verify_one: command: it is empty. Give the words that start the service.")
    ignored = Ignored.of(ignore)
    named = os.fspath(path)
    with tempfile.TemporaryDirectory(prefix="timetracer-otel-verify-one-") as scratch:
        cassette = _cassette(named, cassette_dir, Path(scratch, "copy"))
        folder = Path(scratch, "recording")
        folder.mkdir()
        staged(cassette, folder)
        planned = next(each for each in plan(FolderIndex(folder)) if each.session_id == cassette.session.id)
        if planned.unsendable is not None:
            return _verdict(named, cassette, "not sent", problems=(planned.unsendable,))
        if planned.left_out is not None and (command is None or not planned.is_job):
            return _verdict(named, cassette, "left out", problems=(planned.left_out,))
        if command is None:
            return _in_process(named, cassette, app, headers or {}, ignored)
        options = [f"--timeout={timeout_s:g}", f"--start-timeout={start_timeout_s:g}"]
        options += [f"--header={name}: {value}" for name, value in (headers or {}).items()]
        options += [f"--ignore={rule}" for rule in ignore]
        return _by_command(named, cassette, folder, command, url, options)


def _cassette(named: str, cassette_dir: str | os.PathLike[str] | None, copies: Path) -> Cassette:
    """The recording that a path, a URL or an id names; one of object storage by a copy in a folder."""
    where = os.fspath(cassette_dir) if cassette_dir is not None else TraceConfig.from_env().cassette_dir
    if is_url(where) and not os.path.lexists(named) and is_id(named):
        named = f"{where.rstrip('/')}#{named}"
    if not is_url(named):
        return read_cassette(_found(named, where))
    from timetracer_otel.storage import require

    require()
    from timetracer_otel.storage.finding import download, one

    base, rows = one(named)
    if not rows:
        raise CassetteNotFoundError(named)
    if len(rows) > 1:
        raise ConfigurationError(f"verify_one: {len(rows)} cassettes have the id of {named}. Give a longer one.")
    return read_cassette(download(base, rows, copies)[0][1])


def _found(path: str, folder: str) -> str:
    """The cassette that a text names. A path wins over an id."""
    if os.path.lexists(path) or not is_id(path):
        return path
    rows = Catalog(folder).with_id(path) if Path(folder).is_dir() else []
    if len(rows) > 1:
        raise ConfigurationError(
            f"verify_one: {len(rows)} cassettes in {folder} have an id that begins with {path!r}."
        )
    if not rows:
        raise CassetteNotFoundError(path)
    return rows[0].path


def _verdict(
    path: str,
    cassette: Cassette,
    outcome: Outcome,
    *,
    status: int | None = None,
    took_s: float = 0.0,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    paid: int | None = None,
) -> Verdict:
    return Verdict(
        path=path,
        session_id=cassette.session.id,
        request=request_name(cassette),
        outcome=outcome,
        status=status,
        took_s=took_s,
        problems=tuple(problems),
        notes=tuple(notes),
        paid=paid,
    )


def _in_process(path: str, cassette: Cassette, app: Any, headers: Mapping[str, str], ignored: Ignored) -> Verdict:
    problems: list[str] = []
    notes: list[str] = []
    status = None
    began_s = time.monotonic()
    with _one_at_a_time, replay(cassette.path or path, record_mode="none", fail_on_miss=False) as session:
        assert isinstance(session, ReplaySession)
        try:
            called = call_app(app_named(app) if isinstance(app, str) else app, cassette.request, headers)
        except ConfigurationError:
            raise
        except TimetracerError as error:
            # A call of the app's start had no answer. The verdict of the replay has it, too.
            problems.append(f"no answer: the app did not start ({type(error).__name__})")
        else:
            if called.answer is None:
                problems.append(f"no answer: the app raised {type(called.error).__name__}: {called.error}")
            else:
                status = called.answer.status
                took_s = time.monotonic() - began_s
                problems, notes = compared(cassette, called, called.answer, session, ignored, took_s)
        replayed = session.verdict()
    problems += [f"missed: {error}" for error in (*replayed.misses, *replayed.blocked)]
    unused = [f"not called: #{event.eid} {event_name(event)}" for event in replayed.unused if not event.sets_up]
    (problems if replayed.fail_on_unused else notes).extend(unused)
    outcome: Outcome = "failed" if problems else "passed"
    took_s = time.monotonic() - began_s
    return _verdict(
        path,
        cassette,
        outcome,
        status=status,
        took_s=took_s,
        problems=problems,
        notes=notes,
        paid=replayed.paid,
    )


def _by_command(
    path: str, cassette: Cassette, folder: Path, command: Sequence[str], url: str | None, options: Sequence[str]
) -> Verdict:
    words, where = list(command), [] if url is None else [f"--url={url}"]
    if any(PORT in word for word in words):
        port = str(_free_port())
        words = [word.replace(PORT, port) for word in words]
        where = [f"--url={url.replace(PORT, port) if url is not None else f'http://127.0.0.1:{port}'}"]
    report = folder.with_name("verdict.json")
    # A process of its own: the command stops its service on signals, which only a main thread can take.
    done = subprocess.run(  # noqa: S603 - running what the user asked for is the purpose
        [*_VERIFY, str(folder), *where, *options, f"--json={report}", "--", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise ConfigurationError(f"verify_one: {path}: {(done.stderr or done.stdout).strip()}")
    found = json.loads(report.read_text("utf-8"))["requests"]
    told = next(each for each in found if each["outcome"] != "left out" or len(found) == 1)
    copy = str(folder / Path(cassette.path or "").name)
    problems, notes = ([text.replace(copy, path) for text in told[name]] for name in ("problems", "notes"))
    return _verdict(
        path,
        cassette,
        told["outcome"],
        status=told["status"],
        took_s=told["took_s"],
        problems=problems,
        notes=notes,
        paid=told["paid"],
    )


_VERIFY: Final = (sys.executable, "-m", "timetracer_otel", "verify")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
