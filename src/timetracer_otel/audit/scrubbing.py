"""Scrubbing: today's rules, applied to a cassette that was recorded by older ones. The file is written anew."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path

from timetracer_otel.audit.files import file_stem
from timetracer_otel.audit.todays_rules import Applied, apply
from timetracer_otel.cassette import (
    AppendWriter,
    cassette_from_bytes,
    cassette_to_bytes,
    read_cassette,
    save_cassette,
)
from timetracer_otel.cassette.compression import compression_of
from timetracer_otel.cassette.stores.parts import is_running
from timetracer_otel.cassette.stores.places import free_path
from timetracer_otel.cassette.whole_files import appearing, remove, write_new
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.match.kept_heads import forget_above
from timetracer_otel.types import Cassette, Scrubbing

__all__ = ["Scrubbed", "redacted", "scrub"]

_MOST_TIMES = 3


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What was done to one file."""

    path: str
    """Where the recording is now. The name differs from the old one where that had a secret in it."""
    replaced: int
    """How many values were replaced; 0 where the file stays as it was."""
    secrets: int
    """How many different secrets these were."""


def scrub(path: str, config: TraceConfig, output: str | None = None) -> Scrubbed:
    """Replace in a cassette, or in a part, what is a secret by today's rules, by one pseudonym for each secret.

    The file is replaced in one step, by one that only its owner may read. Its signatures are those of the replaced
    values, so that it replays. Its header says when it was scrubbed, and by which rules. Where nothing is to be
    replaced, the file stays as it is.

    Args:
        path: The file.
        config: Today's rules.
        output: Where to write instead. It is written in any case.

    Raises:
        CassetteError: The file cannot be read or written, or a process still writes it.
    """
    if is_running(Path(path)):
        raise CassetteError(f"Cannot scrub {path}: its recording is under way. Wait for its end.", path=path)
    # Replacing a symbolic link would make it a file. The file that it points to is replaced instead.
    source = os.path.realpath(path)
    applied = apply(lambda: read_cassette(source), config)
    changed = len(applied.changed)
    settled = _settled(applied, config) if changed else applied.after
    target = output if output is not None else _clean_name(source, applied)
    if changed:
        cassette, compression = _marked(settled, changed), _compression(source)
        with appearing(target) as temp:
            _write(cassette, Path(temp), compression)
            _check(Path(temp), cassette)
        if output is None and target != source:
            remove(source)
    elif target != source:
        if output is None:
            Path(source).rename(target)
        else:
            with appearing(target) as temp:
                write_new(temp, iter([Path(source).read_bytes()]))
    if changed or target != source:
        forget_above(source)
    return Scrubbed(path if target == source else target, changed, len(applied.secrets) if changed else 0)


def redacted(cassette: Cassette, config: TraceConfig) -> Cassette:
    """What the rules make of a recording that is in no file yet, as one that was imported.

    Raises:
        CassetteError: The recording cannot be encoded.
    """
    data = cassette_to_bytes(cassette)
    return _settled(apply(partial(cassette_from_bytes, data, "imported"), config), config)


def _settled(applied: Applied, config: TraceConfig) -> Cassette:
    """What the rules make of a recording, until they change nothing more: a second scrubbing finds nothing then."""
    made = applied.after
    for _ in range(_MOST_TIMES):
        data = cassette_to_bytes(made)
        again = apply(partial(cassette_from_bytes, data, str(made.path)), config)
        if not again.changed:
            break
        made = replace(again.after, complete=made.complete)
    return made


def _marked(made: Cassette, replaced: int) -> Cassette:
    policies = made.policies
    mark = Scrubbing(
        at=datetime.now(timezone.utc).isoformat(),
        timetracer_version=version("timetracer-otel"),
        mode=policies.redaction_mode,
        rules=list(policies.redaction_rules),
        replaced=replaced,
    )
    return replace(made, scrubbed=(*made.scrubbed, mark))


def _write(cassette: Cassette, path: Path, compression: CompressionType) -> None:
    if cassette.complete:
        save_cassette(cassette, path, compression)
        return
    # Its recorder died: it has no footer, and gets none.
    with AppendWriter(path, cassette, compression) as writer:
        for event in cassette.events:
            writer.append(event)


def _check(path: Path, cassette: Cassette) -> None:
    """Read the new file, with its checksum, before it takes the place of the old one."""
    written = read_cassette(path)
    if (len(written.events), written.complete) != (len(cassette.events), cassette.complete):
        raise CassetteError(f"Cannot scrub {cassette.path}: what was written is not what was read.")


def _compression(path: str) -> CompressionType:
    with open(path, "rb") as file:
        return compression_of(file.read(8))


def _clean_name(path: str, applied: Applied) -> str:
    """The path, with another name where the recorded path that it has in it holds a secret."""
    name = Path(path).name
    before, after = (file_stem(each) for each in (applied.before, applied.after))
    clean = after + name.removeprefix(before) if before != after and name.startswith(before) else name
    clean = applied.clean_text(clean)
    return path if clean == name else free_path(str(Path(path).parent), clean)
