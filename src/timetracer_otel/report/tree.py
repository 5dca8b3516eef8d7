"""The calls of one cassette as a tree with times.

A call stands below another call if the parent of its span is the span of that other call. Otherwise it stands below
the names of the spans between the root span and the call. Spans of other instrumentations within a call stand below
it, without times: they are the same call. So is that of a client for language models, which stands above it.

The app's own log records stand among the calls, in order of time: beside those that were made in the same span.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from timetracer_otel.constants import EventType
from timetracer_otel.report.tables import Column, format_size, least_width, printable, table
from timetracer_otel.report.words import (
    event_marks,
    event_name,
    event_remarks,
    event_status,
    format_ms,
    log_name,
    model_span,
    request_name,
    response_size,
)
from timetracer_otel.session.span_roles import is_of_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from timetracer_otel.types import Cassette, DependencyEvent, LogEntry, SpanFacts

__all__ = ["Outlined", "outline", "scale_of", "timeline"]

_BAR_WIDTH = 20
_LINE_GLYPHS = ("├─ ", "└─ ", "│  ", "█", "▏", "░")
_ASCII_GLYPHS = ("|- ", "`- ", "|  ", "#", "|", ".")

_NUMBER, _CALL, _START, _TOOK, _BAR, _STATUS, _SIZE, _MARKS = range(8)
_COLUMNS = (
    Column("#", right=True),
    Column("call", elastic=True, keep="ends"),
    Column("start ms", right=True),
    Column("took ms", right=True),
    Column("".ljust(_BAR_WIDTH)),
    Column("status"),
    Column("size", right=True),
    Column("marks"),
)
_LEFT_OUT_FIRST = (_MARKS, _BAR, _SIZE, _START)
"""The columns that a narrow terminal has no room for, in this order. The marks stand below the table then."""
_LEAST_OF_CALL = 34
"""So many cells of a call are shown before a column is left out."""
_DEEPEST_CELLS = 18
"""An indentation that is deeper is cut at its beginning: the name of the call must have room."""


@dataclass(slots=True)
class _Group:
    """A span that is no call itself, with the calls and spans within it."""

    name: str
    children: list[_Node] = field(default_factory=list)


@dataclass(slots=True)
class _EventNode:
    event: DependencyEvent
    children: list[_Node] = field(default_factory=list)


@dataclass(slots=True)
class _LogNode:
    log: LogEntry
    children: list[_Node] = field(default_factory=list)


_Node: TypeAlias = "_Group | _EventNode | _LogNode"


def timeline(cassette: Cassette, width: int = 120, ascii_only: bool = False) -> list[str]:
    """Lines of a call tree: number, name, start and duration in milliseconds, a bar, status, size and marks.

    Below it stand the errors, and the reasons of the calls that no replay can answer. The number of a call is never
    clipped. The address of a database stands there where the calls of its library went to several.

    Args:
        cassette: What to show.
        width: Cells that a line may have; names of calls are clipped to it.
        ascii_only: Draw with ASCII characters, for terminals that know no others.
    """
    glyphs = _ASCII_GLYPHS if ascii_only else _LINE_GLYPHS
    scale_ms = scale_of(cassette)
    lines_of_tree = outline(cassette)
    # As for a call: until the answer, and what was recorded behind it is the pale end of the bar.
    took_ms = cassette.response.duration_ms or max(scale_ms, cassette.stats.total_duration_ms)
    status = str(cassette.response.status) if cassette.response.status else "-"
    size = response_size(cassette.response.body)
    root = [
        "",
        request_name(cassette),
        format_ms(0.0),
        format_ms(took_ms),
        _bar(0.0, took_ms, max(took_ms, scale_ms), scale_ms, glyphs),
        status,
        format_size(size),
        "",
    ]
    rows = [root, *_rows(lines_of_tree, scale_ms, glyphs)]
    shown = list(range(len(_COLUMNS)))
    waiting = list(_LEFT_OUT_FIRST)
    while waiting and _least_width(shown, rows) > width:
        shown.remove(waiting.pop(0))
    lines = table([_COLUMNS[at] for at in shown], [[row[at] for at in shown] for row in rows], width)
    remarks = [] if _MARKS in shown else [f"{row[_NUMBER]} {row[_MARKS]}" for row in rows if row[_MARKS]]
    remarks += [f"#{event.eid} {remark}" for event in cassette.events for remark in event_remarks(event)]
    return [*lines, "", *remarks] if remarks else lines


class Outlined(NamedTuple):
    """One line of a call tree: a call, a log record, or a span that is neither."""

    depth: int
    """How many lines are above it in the tree; 0 for those below the request itself."""
    is_last: bool
    """Whether it is the last one below the line above it."""
    name: str
    event: DependencyEvent | None = None
    log: LogEntry | None = None


def outline(cassette: Cassette) -> list[Outlined]:
    """The call tree of a cassette, line by line, without the request itself."""
    nodes = _tree(cassette.events, bool(cassette.request.method), cassette.logs)
    with_places = _with_places(cassette.events)
    lines = []
    # A stack, not recursion, since the tree of a hostile cassette may be deeper than Python's recursion limit.
    waiting = [(node, 0, position == 0) for position, node in enumerate(reversed(nodes))]
    while waiting:
        node, depth, is_last = waiting.pop()
        if isinstance(node, _Group):
            lines.append(Outlined(depth, is_last, printable(node.name)))
        elif isinstance(node, _LogNode):
            lines.append(Outlined(depth, is_last, log_name(node.log), log=node.log))
        else:
            name = event_name(node.event, with_place=node.event.signature.lib in with_places)
            lines.append(Outlined(depth, is_last, name, event=node.event))
        waiting += [(child, depth + 1, position == 0) for position, child in enumerate(reversed(node.children))]
    return lines


def _least_width(shown: list[int], rows: list[list[str]]) -> int:
    cells = [[row[at] for at in shown] for row in rows]
    return least_width([_COLUMNS[at] for at in shown], cells, _LEAST_OF_CALL)


def _with_places(events: Iterable[DependencyEvent]) -> set[str]:
    """The libraries whose calls went to several addresses."""
    places: dict[str, set[str]] = {}
    for event in events:
        places.setdefault(event.signature.lib, set()).add(event.signature.url or "")
    return {library for library, found in places.items() if len(found) > 1}


_CALL_KINDS = frozenset({"CLIENT", "PRODUCER"})


def scale_of(cassette: Cassette) -> float:
    """The milliseconds that the bars of a cassette's calls are drawn in: until the answer to the request, or until
    the last call was answered. A subscription that goes on after its answer does not count.
    """
    ends_ms = [cassette.response.duration_ms, *(_answered_ms(event) for event in cassette.events)]
    if not any(_subscribes(event) for event in cassette.events):
        ends_ms.append(cassette.stats.total_duration_ms)
    return max(ends_ms)


def _subscribes(event: DependencyEvent) -> bool:
    if event.ended_ms is not None and event.event_type is not EventType.DB_QUERY:
        return True
    return event.result.headers.get("content-type", "").startswith("text/event-stream")


def _answered_ms(event: DependencyEvent) -> float:
    """When a call was answered, for the scale: of a stream of events, when its first byte was there."""
    body = event.result.body
    if event.ended_ms is None and body is not None and body.chunks and _subscribes(event):
        return event.start_offset_ms + min(body.chunks[0][0], event.duration_ms)
    return event.answered_offset_ms


def _tree(events: Iterable[DependencyEvent], of_request: bool, logs: Sequence[LogEntry] = ()) -> list[_Node]:
    ordered = sorted(events, key=lambda event: (event.start_offset_ms, event.eid))
    nodes = {id(event): _EventNode(event) for event in ordered}
    by_span: dict[str, _EventNode] = {}
    for event in ordered:
        # A call without a span of its own (such as BEGIN) names the span around it, which belongs to no call.
        if event.span is not None and event.span.kind in _CALL_KINDS:
            by_span.setdefault(event.span.span_id, nodes[id(event)])
    by_model: dict[str, _Group] = {}
    roots: list[_Node] = []
    # The first line stands for the outermost span. Without a request, that is one that all calls are inside of.
    outermost = {event.path[:1] for event in ordered if event.path or not of_request}
    skip = 1 if len(outermost) == 1 else 0
    paths = {event.span.parent_span_id: event.path for event in ordered if event.span is not None} if logs else {}
    waiting = list(reversed(logs))
    for event in ordered:
        while waiting and waiting[-1].at_ms < event.start_offset_ms:
            _place_log(roots, paths, skip, waiting.pop())
        node = nodes[id(event)]
        node.children += [_Group(_span_name(span)) for span in event.within if not is_of_model(span)]
        parent = by_span.get(event.span.parent_span_id or "") if event.span is not None else None
        model = model_span(event)
        if model is not None:
            group = by_model.get(model.span_id)
            if group is None:
                group = by_model[model.span_id] = _Group(_span_name(model))
                _place(roots, event.path[skip:], group)
            group.children.append(node)
        elif parent is not None and not _is_within(parent, node):
            parent.children.append(node)
        else:
            _place(roots, event.path[skip:], node)
    for log in reversed(waiting):
        _place_log(roots, paths, skip, log)
    return roots


def _place_log(roots: list[_Node], paths: dict[str | None, tuple[str, ...]], skip: int, log: LogEntry) -> None:
    """Put a log record beside the calls of its span, behind those that began before it."""
    path = paths.get(log.span_id, ()) if log.span_id is not None else ()
    _place(roots, path[skip:], _LogNode(log))


def _span_name(span: SpanFacts) -> str:
    return f"{(span.scope or '').rpartition('.')[2]} {span.name or ''}".strip()


def _is_within(node: _EventNode, ancestor: _EventNode) -> bool:
    """Whether a node stands below another. A hostile cassette may have a circle of parents, which would never end."""
    waiting: list[_Node] = [ancestor]
    while waiting:
        current = waiting.pop()
        if current is node:
            return True
        waiting += current.children
    return False


def _place(siblings: list[_Node], path: tuple[str, ...], node: _Node) -> None:
    for name in path:
        group = next((each for each in siblings if isinstance(each, _Group) and each.name == name), None)
        if group is None:
            group = _Group(name)
            siblings.append(group)
        siblings = group.children
    siblings.append(node)


def _rows(lines: list[Outlined], scale_ms: float, glyphs: tuple[str, ...]) -> list[list[str]]:
    branch, last_branch, rail = glyphs[:3]
    rows = []
    indents = [""]
    for line in lines:
        del indents[line.depth + 1 :]
        indent = indents[line.depth]
        indents.append(indent + ("   " if line.is_last else rail))
        lead = indent + (last_branch if line.is_last else branch)
        lead = lead if len(lead) <= _DEEPEST_CELLS else f"…{lead[-_DEEPEST_CELLS:]}"
        if line.event is not None:
            rows.append(_event_row(line.event, lead + line.name, scale_ms, glyphs))
        elif line.log is not None:
            rows.append(["", lead + line.name, format_ms(line.log.at_ms), "", "", line.log.level, "", ""])
        else:
            rows.append(["", lead + line.name, "", "", "", "", "", ""])
    return rows


def _event_row(event: DependencyEvent, name: str, scale_ms: float, glyphs: tuple[str, ...]) -> list[str]:
    goes_on_ms = event.duration_ms if event.ended_ms is None else event.ended_ms
    return [
        f"#{event.eid}",
        name,
        format_ms(event.start_offset_ms),
        format_ms(event.duration_ms),
        _bar(event.start_offset_ms, event.duration_ms, goes_on_ms, scale_ms, glyphs),
        event_status(event),
        format_size(response_size(event.result.body)),
        ", ".join(event_marks(event)),
    ]


def _bar(start_ms: float, took_ms: float, ended_ms: float, scale_ms: float, glyphs: tuple[str, ...]) -> str:
    """A bar until the answer, and a pale one until the end. What lies behind the scale is cut."""
    full, sliver, pale = glyphs[3:]
    if scale_ms <= 0:
        return sliver
    first = min(_BAR_WIDTH - 1, max(0, int(start_ms / scale_ms * _BAR_WIDTH)))
    room = _BAR_WIDTH - first
    cells = min(room, round(took_ms / scale_ms * _BAR_WIDTH))
    bar = full * cells if cells > 0 else sliver
    pales = min(room, round(ended_ms / scale_ms * _BAR_WIDTH)) - len(bar)
    return " " * first + bar + pale * max(0, pales)
