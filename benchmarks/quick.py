"""Whether the code costs more instructions than the committed one: ``python benchmarks/quick.py``.

It counts a choice of what the other benchmarks count, in two processes side by side, and compares each figure with
that of `instructions.json`. A figure that is more than 10 % above it fails the run. One that is more than 10 % below
it is named, and the file should be written anew (``--write``), so that what was won is not lost unseen.

Nothing is compared, and nothing fails, without `valgrind`, and where another Python runs than that of the figures, or
other releases of the packages whose instructions stand in them: an interpreter of another release, or made by another
compiler, takes other instructions for the same code.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import callgrind
import idle
import recording
import redaction
import sessions
import stand_ins

COMMITTED = Path(__file__).with_name("instructions.json")
TOLERATED = 0.10
AT_ONCE = 2
RECORDED = [
    *("httpx GET, 300 B", "requests GET, 300 B", "urllib3 GET, 300 B"),
    *("asyncpg SELECT 1", "sqlite SELECT, 1,000 rows of 5"),
]
FEWER = 4
"""How many times fewer calls are recorded than by `make bench`, which takes minutes."""
PACKAGES = ("asyncpg", "httpx", "msgpack", "opentelemetry-sdk", "redis", "requests", "sqlalchemy", "urllib3")
"""Those whose instructions stand in a figure with ours."""

Figures = dict[str, float]
"""Instructions of one call, event or session, by name."""


def redacted() -> Figures:
    pairs = zip(redaction.cases(redaction.FACTOR), redaction.instructions(), strict=True)
    return {
        f"write an event, {case.kind}, {case.per_cassette} a cassette, redaction {mode}": count / len(case.calls)
        for case, counts in pairs
        for mode, count in zip(redaction.MODES, counts, strict=True)
    }


def opened() -> Figures:
    counts = zip(sessions.KINDS, sessions.instructions(), strict=True)
    return {f"open and end {kind}": count for kind, count in counts}


def replayed(kind: str) -> Callable[[], Figures]:
    return lambda: {f"replay {kind}": stand_ins.instructions(kind, replays=True)}


def recorded() -> Figures:
    # What recording adds on the calling thread is left out: that of httpx and requests is a small difference of two
    # large counts, which differs by 5 to 22 % from run to run. It stands within the whole, which differs by 2 %.
    return {
        f"record {kind.name}, in whole": counts.whole for kind, counts in recording.counted(RECORDED, fewer=FEWER)
    }


def outside(name: str) -> Callable[[], Figures]:
    def count() -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            _, *ours = idle.counted(name, "", Path(folder), idle.CALLS)
        return {f"{name}, {state}": count for state, count in zip(idle.STATES[1:], ours, strict=True)}

    return count


CASES: dict[str, Callable[[], Figures]] = {
    "recording": recorded,
    "redaction": redacted,
    "sessions": opened,
    "replaying requests": replayed("requests GET"),
    "replaying rows": replayed("SELECT of 100 rows"),
    "replaying a connection": replayed("connect, SELECT of one row, close"),
    "replaying Redis": replayed("Redis GET"),
    "replaying a pipeline": replayed("Redis pipeline of 100 GETs"),
    "outside sessions": outside("SELECT 1, sqlite"),
}
"""What is counted, each in a process of its own. The longest begins first, so that both processes end together."""


def interpreter() -> str:
    """Which Python takes the same instructions for the same code."""
    release = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {release} by {platform.python_compiler()} for {platform.machine()}"


def counted(names: list[str]) -> Figures:
    """The figures of some cases."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {
            name: round(count)
            for figures in pool.map(lambda name: CASES[name](), names)
            for name, count in figures.items()
        }


def compared(found: Figures, before: Figures) -> Iterator[tuple[str, float]]:
    """A line for each figure, and how much more it is than before."""
    for name, count in found.items():
        if name not in before:
            yield f"{name}: {count:,.0f}, and no figure is committed", float("inf")
            continue
        more = count / before[name] - 1
        yield f"{name}: {count:,.0f}, committed {before[name]:,.0f}, {more:+.1%}", more


def main() -> None:
    """Print the figures, and fail where one is worse than the committed one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=CASES, action="append", help="count these alone")
    parser.add_argument("--committed", type=Path, default=COMMITTED, help="the file to compare with")
    parser.add_argument("--write", action="store_true", help="write this file anew in the place of comparing")
    arguments = parser.parse_args()
    if not callgrind.is_there():
        print("Nothing was compared: counting instructions needs valgrind.")
        return
    names: list[str] = arguments.only or list(CASES)
    path: Path = arguments.committed
    packages = {name: version(name) for name in PACKAGES}
    if not arguments.write:
        committed = json.loads(path.read_text("utf-8"))
        if committed["python"] != interpreter():
            print(f"Nothing was compared: the figures are of {committed['python']}, and this is {interpreter()}.")
            return
        others = [
            f"{name} {committed['packages'].get(name)}, and this is {here}"
            for name, here in packages.items()
            if here != committed["packages"].get(name)
        ]
        if others:
            print(f"Nothing was compared: the figures are of {'; '.join(others)}.")
            return
    found = counted(names)
    if arguments.write:
        content = {"python": interpreter(), "packages": packages, "instructions": found}
        path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        print(f"Wrote {len(found)} figures into {path.name}.")
        return
    lines = list(compared(found, committed["instructions"]))
    for line, _ in lines:
        print(line)
    better = [line for line, more in lines if more < -TOLERATED]
    if better:
        print(
            f"\nMore than {TOLERATED:.0%} better; write the figures anew (make bench-quick WRITE=1):",
            *better,
            sep="\n  ",
        )
    worse = [line for line, more in lines if more > TOLERATED]
    if not arguments.only:
        worse += [f"{name}: committed, and not counted" for name in committed["instructions"] if name not in found]
    if worse:
        print(f"\nMore than {TOLERATED:.0%} worse:", *worse, sep="\n  ")
        sys.exit(1)
    print(f"\nNo figure is more than {TOLERATED:.0%} worse.")


if __name__ == "__main__":
    main()
