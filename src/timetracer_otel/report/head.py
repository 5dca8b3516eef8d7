"""The head of a cassette: who recorded it and when, what it holds, and what the recording lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.base.counters import clients_without_plugin
from timetracer_otel.match.variables import variables_of
from timetracer_otel.report.tables import format_size, printable
from timetracer_otel.report.words import format_ms, is_observed_only, request_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from timetracer_otel.match.variables import Variables
    from timetracer_otel.types import Cassette

__all__ = ["error_detail", "facts", "summary"]


def summary(cassette: Cassette, variables: Variables | None = None) -> list[str]:
    """The `facts` as lines; names are padded to one width."""
    return [f"{name:<9} {printable(value)}" for name, value in facts(cassette, variables)]


def facts(cassette: Cassette, variables: Variables | None = None) -> list[tuple[str, str]]:
    """Names and values, not yet `printable`.

    Args:
        cassette: What to show.
        variables: Those of the cassette, where the caller has them: to find them takes as long as a replay's start.
    """
    pairs = [
        ("request", _request(cassette)),
        ("service", f"{cassette.session.service} ({cassette.session.env})"),
        ("recorded", _recorded(cassette)),
        ("trace", cassette.session.trace_id or "none"),
        ("file", _file(cassette)),
        ("calls", _calls(cassette)),
        *_without_plugin(cassette),
        ("policies", _policies(cassette)),
        ("lost", _lost(cassette)),
        *_seeds(cassette),
        *_variables(variables if variables is not None else variables_of(cassette)),
    ]
    for each in cassette.scrubbed:
        values = f"{each.replaced} value{'s' * (each.replaced != 1)} replaced"
        pairs.append(("scrubbed", f"{each.at} with timetracer-otel {each.timetracer_version}: {values}"))
    if cassette.error_info:
        pairs.append(("error", _error(cassette.error_info)))
    if cassette.session.versions:
        versions = sorted(cassette.session.versions.items())
        pairs.append(("versions", ", ".join(f"{name} {version}" for name, version in versions)))
    return pairs


def error_detail(cassette: Cassette) -> list[str]:
    """The traceback of the error that the app raised, where it was recorded; no lines where there is none."""
    traceback = (cassette.error_info or {}).get("traceback")
    return ["error", *(f"  {printable(line)}" for line in str(traceback).splitlines())] if traceback else []


def _error(info: Mapping[str, Any]) -> str:
    """``ValueError: no``, and whatever else a recorder of another making has noted, but for the traceback."""
    named = ": ".join(str(info[name]) for name in ("type", "message") if info.get(name))
    others = [f"{name}: {value}" for name, value in info.items() if name not in ("type", "message", "traceback")]
    return ", ".join([*([named] if named else []), *others])


def _request(cassette: Cassette) -> str:
    status = f" -> {cassette.response.status}" if cassette.response.status else ""
    took = f" in {format_ms(cassette.response.duration_ms)} ms" if cassette.response.duration_ms else ""
    return f"{request_name(cassette)}{status}{took}"


def _recorded(cassette: Cassette) -> str:
    session = cassette.session
    made_with = [
        f"{name} {version}"
        for name, version in (("timetracer-otel", session.timetracer_version), ("Python", session.python_version))
        if version
    ]
    version = f", version {session.service_version} of the service" if session.service_version else ""
    commit = f", commit {session.git_sha}" if session.git_sha else ""
    renewed = f", what had changed at {session.renewed_at}" if session.renewed_at else ""
    return session.recorded_at + renewed + (f" with {', '.join(made_with)}" if made_with else "") + version + commit


def _file(cassette: Cassette) -> str:
    state = "complete" if cassette.complete else "recovered: the recorder died before the end; whole events are here"
    if cassette.path is None:
        return f"none ({state})"
    try:
        size = f"{format_size(Path(cassette.path).stat().st_size)}, "
    except OSError:
        size = ""
    return f"{cassette.path} ({size}{state})"


def _calls(cassette: Cassette) -> str:
    counts = Counter(event.event_type.value for event in cassette.events)
    by_type = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    text = str(len(cassette.events)) + (f" ({by_type})" if by_type else "")
    observed = sum(is_observed_only(event) for event in cassette.events)
    lost = sum(event.not_replayable is not None for event in cassette.events) - observed
    return text + (f"; {observed} observed only" if observed else "") + (f"; {lost} not replayable" if lost else "")


def _without_plugin(cassette: Cassette) -> list[tuple[str, str]]:
    alone = Counter(event.signature.lib for event in cassette.events if event.is_without_plugin)
    found = clients_without_plugin(alone, cassette.stats.connections)
    return [("no plugin", f"{found}: a replay refuses them")] if found else []


def _variables(variables: Variables) -> list[tuple[str, str]]:
    counts = Counter(kind for kind, _ in variables.listed())
    return [("variables", ", ".join(f"{count} {kind}" for kind, count in counts.items()))] if counts else []


def _seeds(cassette: Cassette) -> list[tuple[str, str]]:
    session = cassette.session
    seeds = [f"PYTHONHASHSEED={session.hash_seed}"] if session.hash_seed is not None else []
    if session.hash_randomization is False:
        seeds.append("hashes not randomized")
    if session.random_state is not None:
        seeds.append("the state of random at the start (session.random_state)")
    return [("seeds", ", ".join(seeds))] if seeds else []


def _policies(cassette: Cassette) -> str:
    policies = cassette.policies
    parts = [
        f"redaction {policies.redaction_mode}",
        f"request bodies {policies.store_request_body}",
        f"response bodies {policies.store_response_body}",
    ]
    extra = [rule.removeprefix("name:") for rule in policies.redaction_rules if rule.startswith("name:")]
    if extra:
        parts[0] += f" and {', '.join(extra)}"
    if policies.max_body_kb:
        parts.append(f"bodies up to {policies.max_body_kb} KiB")
    if policies.sample_rate < 1.0:
        parts.append(f"sample rate {policies.sample_rate:g}")
    if policies.errors_only:
        parts.append("failed requests only")
    if policies.policy:
        parts.append(f"policy {policies.policy}")
    if policies.budget:
        parts.append(f"budget {policies.budget}")
    if policies.kept_as:
        parts.append(f"kept as {policies.kept_as}")
    return ", ".join(parts)


def _lost(cassette: Cassette) -> str:
    dropped = {name: count for name, count in cassette.stats.dropped.items() if count}
    return ", ".join(f"{count} {name}" for name, count in sorted(dropped.items())) or "nothing"
