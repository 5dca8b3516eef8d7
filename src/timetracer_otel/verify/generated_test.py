"""The pytest test that ``timetracer-otel to-test`` writes: its text, as formatters (black, ruff) leave it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from timetracer_otel.base.printable import printable
from timetracer_otel.report.words import request_name
from timetracer_otel.types import Cassette

__all__ = ["REQUEST_STEM", "FileOfTest", "file_of_test"]

REQUEST_STEM = "request"
"""The name of the recording, without its suffix, in the folder of its test."""

_WIDTH = 88
"""Columns of a line: the default of black and ruff."""
_LONGEST_NAME = 40
_NO_WORD = re.compile(r"[^a-z0-9]+")


class FileOfTest(NamedTuple):
    """A test file that is to be written."""

    text: str
    folder: Path
    """Where its recordings have to stand."""
    recording: Path


def file_of_test(
    cassette: Cassette,
    output: Path,
    *,
    app: str | None,
    command: Sequence[str],
    expect: int | None,
    name: str | None,
    ignore: Sequence[str],
    url: str | None,
) -> FileOfTest:
    """The test of a recording.

    Args:
        cassette: The recording, read from a file.
        output: The file of the test.
        app: Where the app is found; None where a service is started by ``command``.
        command: What starts the service.
        expect: The status that the test asks for; None for the recorded answer.
        name: Of the test function; None for one that is made of the request.
        ignore: What of the answer is not compared.
        url: Where the service listens; None where the recording says it.
    """
    status = cassette.response.status if expect is None else expect
    words = _words(cassette)
    function = name or "_".join(["test", words, *([f"answers_{status}"] if status else [])])
    folder = output.parent / "cassettes" / output.stem / (name.removeprefix("test_") if name else words)
    suffixes = "".join(Path(cassette.path or "").suffixes[-2:])
    recording = folder / f"{REQUEST_STEM}{suffixes[suffixes.find('.msgpack') :]}"
    placed = recording if app is not None else folder
    parts = placed.relative_to(output.parent).as_posix()
    body = (
        _of_app(function, app, cassette, expect, ignore)
        if app is not None
        else _of_command(function, command, ignore, url)
    )
    kind = "ReproduceFixture" if app is not None else "VerifyFixture"
    lines = [
        *_docstring(cassette, app is not None),
        "",
        "from pathlib import Path",
        "",
        f"from timetracer_otel.pytest_plugin import {kind}",
        "",
        *_recording(parts),
        "",
        "",
        *body,
    ]
    return FileOfTest("\n".join(lines) + "\n", folder, recording)


def _words(cassette: Cassette) -> str:
    """The request as a part of a name: ``get_orders_7``."""
    request = cassette.request
    text = _NO_WORD.sub("_", f"{request.method} {request.path}".lower()).strip("_")
    return text[:_LONGEST_NAME].strip("_") or "request"


def _docstring(cassette: Cassette, in_process: bool) -> list[str]:
    response, session = cassette.response, cassette.session
    failed = (cassette.error_info or {}).get("type")
    ended = f"answered with {response.status}" if response.status else "done"
    how = ended + (f" ({failed.rpartition('.')[2]})" if failed else "")
    calls = "the app" if in_process else "the service"
    about = [
        f"{request_name(cassette)}, as it was recorded: {how}.",
        "",
        f"Recorded at {session.recorded_at[:19]}, written by `timetracer-otel to-test`.",
        f"The calls of {calls} are answered from the recording beside this file.",
    ]
    if session.trace_id:
        about.append(f"Trace: {session.trace_id}")
    # What stands in a recording must not end the text of the docstring.
    plain = [printable(line).replace("\\", "\\\\").replace('"', "'") for line in about]
    return [f'"""{_shortened(plain[0], _WIDTH - 3)}', *plain[1:], '"""']


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _recording(parts: str) -> list[str]:
    """The path of the recording, broken where a line would be too long."""
    beside, text = "Path(__file__).parent", _text(parts)
    whole = f"RECORDING = {beside} / {text}"
    if len(whole) <= _WIDTH:
        return [whole]
    inner = f"    {beside} / {text}"
    if len(inner) <= _WIDTH:
        return ["RECORDING = (", inner, ")"]
    first, *more = parts.split("/")
    return ["RECORDING = (", f"    {beside}", *(f"    / {_text(part)}" for part in (first, *more)), ")"]


def _of_app(function: str, app: str, cassette: Cassette, expect: int | None, ignore: Sequence[str]) -> list[str]:
    arguments = ["RECORDING", _text(app)]
    if expect is not None:
        arguments.append("raises=True")
    if ignore:
        arguments.append(f"ignore_in_answer={_list(ignore)}")
    status = cassette.response.status if expect is None else expect
    lines = [*_def(function, "timetracer_reproduce: ReproduceFixture")]
    lines += _call("answer = timetracer_reproduce", arguments)
    lines.append(f"    assert answer.status == {status}, answer.difference")
    failed = (cassette.error_info or {}).get("type")
    if expect is None:
        if failed:
            kind = _text(failed.rpartition(".")[2])
            lines.append(f"    assert answer.error_type == {kind}, answer.difference")
        lines.append("    assert answer.is_as_recorded, answer.difference")
    return lines


def _of_command(function: str, command: Sequence[str], ignore: Sequence[str], url: str | None) -> list[str]:
    arguments = ["RECORDING", _list(command)]
    options = [] if url is None else ["--url", url]
    for rule in ignore:
        options += ["--ignore", rule]
    return [
        *_def(function, "timetracer_verify: VerifyFixture"),
        *_call("timetracer_verify", [*arguments, *map(_text, options)]),
    ]


def _def(function: str, parameter: str) -> list[str]:
    whole = f"def {function}({parameter}) -> None:"
    if len(whole) <= _WIDTH:
        return [whole]
    return [f"def {function}(", f"    {parameter},", ") -> None:"]


def _call(function: str, arguments: Sequence[str]) -> list[str]:
    """A call as a statement of a function, broken where a line would be too long."""
    whole = f"    {function}({', '.join(arguments)})"
    if len(whole) <= _WIDTH:
        return [whole]
    inner = f"        {', '.join(arguments)}"
    if len(inner) <= _WIDTH:
        return [f"    {function}(", inner, "    )"]
    lines = [f"    {function}("]
    for argument in arguments:
        lines += _argument(argument)
    return [*lines, "    )"]


def _argument(argument: str) -> list[str]:
    line = f"        {argument},"
    before, bracket, items = argument.partition("[")
    if len(line) <= _WIDTH or not bracket:
        return [line]
    values = json.loads("[" + items) if items.endswith("]") else []
    return [f"        {before}[", *(f"            {_text(value)}," for value in values), "        ],"]


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A text constant of Python, in double quotes."""
    return json.dumps(value)
