"""Apps of this folder in processes of their own: bare, recorded with their servers, and replayed without them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forks
from tests.children import ROOT, environment, instrumented_path, uses
from tests.contract.observation import differences
from tests.examples import FUZZ, seeded

__all__ = ["ROUNDS", "Apps", "Step", "raised", "unlike"]

ROUNDS = 30 if FUZZ else 1
"""How often all is done, each time under other hash seeds."""


@dataclass(frozen=True)
class Step:
    """What a process of an app told.

    Attributes:
        seen: By line, what it saw.
        account: The closing line, behind the path of the cassette.
        said: All of its standard error.
    """

    seen: dict[str, Any]
    account: str
    said: str


class Apps:
    """Modules of `tests.lines.apps`, which one process runs one after the other.

    Args:
        names: Theirs.
        traced: Whether OpenTelemetry traces them where they are bare as well. The ids of its spans come from
            ``random``.
        of_folder: Whether each request of theirs is recorded in a cassette of its own, and the folder is replayed.

    Attributes:
        code: Their text.
    """

    def __init__(self, *names: str, traced: bool = False, of_folder: bool = False) -> None:
        self.names = names
        self._of_folder = of_folder
        self._traced = traced
        folder = ROOT / "tests" / "lines" / "apps"
        self.code = "\n".join((folder / f"{name}.py").read_text(encoding="utf-8") for name in names)

    def cassette(self, folder: Path) -> Path:
        """The file of their calls, or the folder of their cassettes."""
        return folder / ("cassettes" if self._of_folder else f"{self.names[0]}.msgpack")

    def run(self, step: str, folder: Path, number: int, /, **variables: str) -> Step:
        """Run them in a program that knows nothing of us.

        Args:
            step: ``bare``, ``record`` or ``replay``.
            folder: Where they run, and the cassette is.
            number: Of the round.
            variables: What else stands in their environment.
        """
        cassette = self.cassette(folder)
        given = {}
        if self._of_folder and step == "record":
            given = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(cassette)}
        elif step != "bare":
            given = {"TIMETRACER_MODE": "replay", "TIMETRACER_CASSETTE": str(cassette)}
            given["TIMETRACER_RECORD_MODE"] = "once" if step == "record" else "none"
        done = self._process(["tests.lines._apps", *self.names], step, folder, number, **given, **variables)
        account = re.search(
            f"^timetracer-otel: [Rr]eplay of {re.escape(str(cassette))}: (.*)$", done.stderr, re.MULTILINE
        )
        return Step(json.loads(done.stdout), account[1] if account is not None else "", done.stderr)

    def run_within(self, way: str, step: str, folder: Path, number: int, /, **variables: str) -> Step:
        """Run them in a block of code, in one way (see `run_in_ways`)."""
        return self.run_in_ways([way], step, folder, number, **variables)[way]

    def run_in_ways(
        self, ways: Sequence[str], step: str, folder: Path, number: int, /, **variables: str
    ) -> dict[str, Step]:
        """Run them in a block of code, in several ways one after the other, in one process.

        Args:
            ways: As for `tests.lines._within`.
            step: As for `run`, but not ``bare``.
            folder: As for `run`.
            number: As for `run`.
            variables: As for `run`.
        """
        words = ["tests.lines._within", ",".join(ways), step, str(self.cassette(folder)), *self.names]
        done = self._process(words, step, folder, number, **variables)
        told = json.loads(done.stdout)
        return {way: Step(seen, account, done.stderr) for way, (seen, account) in told.items()}

    def _process(self, words: list[str], step: str, folder: Path, number: int, /, **variables: str) -> Any:
        env = environment(uses(self.code), OTEL_TRACES_EXPORTER="none", PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore")
        env |= variables
        if self._traced or "TIMETRACER_MODE" in variables:
            env["PYTHONPATH"] = instrumented_path(env["PYTHONPATH"], folder)
        if step == "bare":
            env["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] += ",timetracer"
        if number or step == "bare":
            # In a Python of its own: what is bare needs nothing of what a fork has loaded.
            env["PYTHONHASHSEED"] = str(seeded("hash seed of lines", self.names, step, number).randrange(2**32))
        done = forks.run("-m", *words, env=env, cwd=folder, turn=int(step == "replay"))
        assert done.returncode == 0, done.stderr
        assert "timetracer-otel: fault" not in done.stderr, done.stderr
        return done


def unlike(one: Any, other: Any, *, anew: bool = False) -> list[str]:
    """Where what two processes saw differs.

    Args:
        one: What the one saw.
        other: What the other one saw.
        anew: Whether a server made values anew between the two.
    """
    return differences(*(_without_values(each) if anew else each for each in (one, other)))


def _without_values(seen: Any) -> Any:
    if isinstance(seen, list):
        return [_without_values(each) for each in seen]
    return "anew" if isinstance(seen, dict) else seen


def raised(seen: Any, name: str) -> str:
    """The text of the error of one of our classes that a line raised or gave; empty where there is none."""
    facts = dict(seen[1][1][1:]) if "raises" in seen[1][0] else {}
    if f"timetracer_otel.exceptions:{name}" not in facts.get("builtins:str 'class'", ""):
        return ""
    return str(ast.literal_eval(facts["builtins:str 'str'"].partition(" ")[2]))
