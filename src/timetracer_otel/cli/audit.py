"""``timetracer-otel audit``: list what looks like a secret in cassettes that are there already."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from timetracer_otel.audit import Finding, SecondScanner
    from timetracer_otel.config import TraceConfig

__all__ = ["FLAGS", "HELP", "USAGE", "add_arguments", "run", "todays_rules"]

HELP = "List what looks like a secret in a cassette, or in a folder with all that lies in it."
USAGE = "PATH|ID [options]"

FLAGS = {"redact": "--redact", "redact_extra": "--redact-extra", "redact_rules": "--redact-rules"}
"""The settings that are today's rules."""
_METAVARS = {"redact": "", "redact_extra": "NAMES", "redact_rules": "RULES"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette

    add_cassette(parser, "the file or folder to look through", name="path")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, for other programs")
    parser.add_argument(
        "--pseudonyms", action="store_true", help="list as well what the headers of cassettes call pseudonyms"
    )
    add_rules(parser)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what is a secret."""
    from timetracer_otel.cli.options import add_setting

    for field, flag in FLAGS.items():
        add_setting(parser, field, flag, _METAVARS[field])


def todays_rules(args: argparse.Namespace) -> TraceConfig:
    """The settings, with those that were given as options. What reads the rules of libraries is loaded.

    Raises:
        CommandError: An option has a value that is not allowed.
    """
    from timetracer_otel.calls.registry import load_plugins
    from timetracer_otel.cli.options import overrides, parsed_option
    from timetracer_otel.config import TraceConfig

    # They say where secrets are in the calls of each library.
    load_plugins()
    given = overrides(args, FLAGS)
    parsed = {field: parsed_option(field, FLAGS[field], value) for field, value in given.items()}
    return replace(TraceConfig.from_env(), **parsed)


def run(args: argparse.Namespace) -> int:
    """Print the findings. The exit code is 1 where there are some, and 2 where a file cannot be read."""
    from timetracer_otel.audit import INSTALL, OWN, files_of, second_scanner
    from timetracer_otel.cli.bad_input import one_line
    from timetracer_otel.cli.naming import cassette_path

    config = todays_rules(args)
    files = list(files_of(cassette_path(args.path, args.cassette_dir)))
    second = second_scanner()
    findings, unreadable = _looked_through(files, config, second, args.pseudonyms)
    for reason in unreadable:
        print(f"timetracer-otel: {one_line(reason)}", file=sys.stderr)
    if second is None:
        print(f"timetracer-otel: only our own rules looked. For a second scanner: {INSTALL}", file=sys.stderr)
    if args.json:
        import json

        scanners = [OWN, *([second.name] if second is not None else [])]
        found = [asdict(each) for each in findings]
        print(json.dumps({"files": len(files), "scanners": scanners, "findings": found, "unreadable": unreadable}))
    else:
        _print(findings, len(files))
    return 1 if findings else 2 if unreadable else 0


def _looked_through(
    files: Sequence[Path], config: TraceConfig, second: SecondScanner | None, pseudonyms_too: bool
) -> tuple[list[Finding], list[str]]:
    from timetracer_otel.audit import in_cassette, in_text, is_cassette
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.exceptions import CassetteError

    findings: list[Finding] = []
    unreadable: list[str] = []
    others: list[Path] = []
    known: dict[str, None] = {}
    for file in files:
        try:
            known.update(dict.fromkeys(read_cassette(file).pseudonyms))
            findings += in_cassette(str(file), config, second, pseudonyms_too=pseudonyms_too)
        except CassetteError as fault:
            if is_cassette(file) or not file.is_file():
                unreadable.append(str(fault))
            else:
                others.append(file)
    for file in others:
        try:
            data = file.read_bytes()
        except OSError as fault:
            unreadable.append(f"{file}: {fault.strerror or fault}")
            continue
        findings += in_text(str(file), data, config, second, () if pseudonyms_too else tuple(known))
    return findings, unreadable


def _print(findings: Sequence[Finding], files: int) -> None:
    from timetracer_otel.cli.terminal import print_table
    from timetracer_otel.report import Column, printable, terminal_width

    by_file: Mapping[str, list[Finding]] = {}
    for finding in findings:
        by_file.setdefault(finding.file, []).append(finding)  # type: ignore[attr-defined]
    counted = f"{files} file{'s' * (files != 1)}"
    if not files:
        print("There is no file to look through.")
        return
    if not findings:
        print(f"Nothing in {counted} looks like a secret.")
        return
    columns = (
        Column("event", right=True),
        Column("place", elastic=True, keep="ends"),
        Column("looks like", tone="trouble"),
        Column("found by"),
        Column("rule", elastic=True),
    )
    for file, found in by_file.items():
        rows = [
            [
                "-" if each.event is None else f"#{each.event}",
                printable(each.place),
                f"{printable(each.mask)} ({each.length} characters)",
                each.scanner,
                printable(each.rule),
            ]
            for each in found
        ]
        print(printable(file))
        print_table(columns, rows, terminal_width(), indent="  ")
        print()
    places = len(findings)
    look = "places look like secrets" if places != 1 else "place looks like a secret"
    print(f"{places} {look}, in {len(by_file)} of {counted}.")
