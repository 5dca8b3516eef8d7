"""A cassette, a session or a verdict as HTML for a notebook: no scripts, and every text of a recording escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from timetracer_otel.report.head import facts
from timetracer_otel.report.tables import format_size, printable
from timetracer_otel.report.tree import outline, scale_of
from timetracer_otel.report.verdict import verdict_text
from timetracer_otel.report.words import event_marks, event_status, format_duration, request_name, response_size
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import Cassette, Verdict

if TYPE_CHECKING:
    from timetracer_otel.report.tree import Outlined

__all__ = ["html_of"]

_MOST_LINES: Final = 200
_BAD: Final = "color:#c02638"
_SOFT: Final = "color:#777"
_HEADS: Final = ("#", "call", "status", "size", "took", "", "")


def html_of(value: object) -> str:
    """The HTML of a cassette, a session or a verdict."""
    if isinstance(value, TraceSession):
        return _cassette(value.to_cassette())
    if isinstance(value, BaseSession):
        verdict = _verdict(value.verdict())
        return verdict + _cassette(value.cassette) if isinstance(value, ReplaySession) else verdict
    if isinstance(value, Verdict):
        return _verdict(value)
    if isinstance(value, Cassette):
        return _cassette(value)
    raise TypeError(f"{type(value).__qualname__} is shown by no notebook")


def _verdict(verdict: Verdict) -> str:
    color = "#1c7a45" if verdict.ok else "#c02638"
    said = "ok" if verdict.ok else "not ok"
    return (
        f'<div><b style="color:{color}">{said}</b>'
        f'<pre style="white-space:pre-wrap">{_text(verdict_text(verdict), lines=True)}</pre></div>'
    )


def _cassette(cassette: Cassette) -> str:
    lines = outline(cassette)
    scale_ms = scale_of(cassette)
    status = f" &rarr; {cassette.response.status}" if cassette.response.status else ""
    head = "".join(f"<tr><td>{_text(name)}</td><td>{_text(text)}</td></tr>" for name, text in facts(cassette))
    rows = "".join(_row(line, scale_ms) for line in lines[:_MOST_LINES])
    more = f"<p>and {len(lines) - _MOST_LINES} more lines</p>" if len(lines) > _MOST_LINES else ""
    titles = "".join(f'<th style="text-align:left">{title}</th>' for title in _HEADS)
    return (
        f"<div><b>{_text(request_name(cassette))}</b>{status}"
        f'<details><summary style="{_SOFT}">about the recording</summary><table>{head}</table></details>'
        f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"
    )


def _row(line: Outlined, scale_ms: float) -> str:
    event, log = line.event, line.log
    name = f'<span style="padding-left:{min(line.depth, 12)}em">{_text(line.name)}</span>'
    if event is None:
        status = _text(log.level) if log is not None else ""
        style = _BAD if log is not None and log.severity >= 40 else _SOFT
        cells = ["", f'<span style="{style}">{name}</span>', status, "", "", "", ""]
    else:
        failed = event.result.error is not None or (event.result.status or 0) >= 400
        status = _text(event_status(event))
        cells = [
            str(event.eid),
            name,
            f'<span style="{_BAD}">{status}</span>' if failed else status,
            _text(format_size(response_size(event.result.body))),
            format_duration(event.duration_ms),
            _bar(event.start_offset_ms, event.duration_ms, scale_ms),
            _text(", ".join(event_marks(event))),
        ]
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"


def _bar(start_ms: float, took_ms: float, scale_ms: float) -> str:
    left = min(100.0, max(0.0, start_ms / scale_ms * 100)) if scale_ms > 0 else 0.0
    width = min(100.0 - left, took_ms / scale_ms * 100) if scale_ms > 0 else 0.0
    bar = f"margin-left:{left:.1f}%;width:{max(width, 1):.1f}%;height:10px;background:#2b6fdb"
    return f'<div style="width:160px;overflow:hidden"><div style="{bar}"></div></div>'


def _text(text: str, *, lines: bool = False) -> str:
    return "\n".join(escape(printable(line)) for line in text.split("\n")) if lines else escape(printable(text))
