"""One recording, played again: the folder that the service replays, and the report on what came of it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.match.process_recordings import paths_beside
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.report import body_lines, format_duration, printable
from timetracer_otel.types import BodySnapshot, HeaderMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from timetracer_otel.types import Cassette
    from timetracer_otel.verify.runner import Result
    from timetracer_otel.verify.service import Service

__all__ = ["kept", "reproduction", "staged"]

_MOST_LINES = 40


def staged(cassette: Cassette, folder: Path) -> None:
    """Put a recording into an empty folder, with what its process recorded outside any request.

    Args:
        cassette: The recording of a request or job, read from a file.
        folder: The folder.
    """
    for path in (Path(cassette.path or ""), *paths_beside(cassette)):
        target = folder / path.name
        # A link takes no room. It cannot be made to another file system.
        with suppress(OSError):
            os.link(path.resolve(), target)
            continue
        shutil.copyfile(path, target)


def kept(cassette: Cassette, recording: Path) -> None:
    """Copy a recording to a file, and beside it what its process recorded outside any request.

    Other recordings in the folder of that file are removed: it is that of one recording.

    Args:
        cassette: The recording of a request or job, read from a file.
        recording: The file.
    """
    folder = recording.parent
    folder.mkdir(parents=True, exist_ok=True)
    targets = {recording.with_name(path.name): path for path in paths_beside(cassette)}
    targets[recording] = Path(cassette.path or "")
    for target, path in targets.items():
        if not (target.exists() and target.samefile(path)):
            shutil.copyfile(path, target)
    for path in folder.glob("*.msgpack*"):
        if path not in targets:
            path.unlink()


def reproduction(cassette: Cassette, result: Result, service: Service) -> list[str]:
    """Lines: the recorded answer and the present one, how they differ, and what became of the recorded calls.

    Args:
        cassette: The recording.
        result: What came of it.
        service: What it was sent to.
    """
    response = cassette.response
    lines = [f"recorded  {_answer_line(response.status, response.duration_ms)}"]
    lines += _body(response.body, response.headers)
    answer = result.answer
    if answer is None:
        lines.append("now       no answer" if not result.planned.is_job else f"now       in {_took(result)}")
    else:
        lines.append(f"now       {_answer_line(answer.status, answer.took_s * 1000)}")
        now = _shown_body(cassette, answer.body, answer.headers)
        lines += ["    (the same body)"] if now == _body(response.body, response.headers) and now else now
    lines.append("")
    if result.problems:
        lines += _indented("differs   ", result.problems)
    else:
        lines.append("equal     it is answered as it was recorded")
    calls = len(cassette.events)
    unmade = sum(note.startswith("not called: ") for note in result.notes)
    missed = ", some had no recorded answer" if result.missed else ""
    lines.append(f"calls     {calls - unmade} of {calls} recorded calls were made{missed}")
    lines += _indented("note      ", result.notes)
    if result.is_unexplained and service.last_lines():
        lines += ["", "The service printed, at last:", *(f"  {printable(line)}" for line in service.last_lines())]
    return lines


def _took(result: Result) -> str:
    return format_duration(result.took_s * 1000)


def _answer_line(status: int, took_ms: float) -> str:
    return f"{status or 'no status'} in {format_duration(took_ms)}"


def _body(body: BodySnapshot | None, headers: Mapping[str, str]) -> list[str]:
    return _limited([f"    {line}" for line in body_lines(body, headers, pretty=True)])


def _shown_body(cassette: Cassette, data: bytes, headers: HeaderMap) -> list[str]:
    shown = Redactor.from_policies(cassette.policies).body(data, headers.pairs).data
    return _body(BodySnapshot(captured=True, encoding="bytes", data=shown, size_bytes=len(shown)), headers)


def _limited(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], f"    … {more} more lines"] if more > 0 else lines


def _indented(title: str, texts: list[str]) -> list[str]:
    lines = [line for text in texts for line in text.splitlines()]
    return [f"{title if not at else ' ' * len(title)}{printable(line)}" for at, line in enumerate(lines)]
