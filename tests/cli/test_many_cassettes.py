"""``timetracer-otel list`` of 10,000 cassettes takes less than half a second, since their index is all that is read.

No clock is asked, which other programs would disturb: calls of functions are counted, of which each takes about 0.2
µs. Python starts within the half second as well, so 10,000 rows have 0.3 s. `benchmarks/loading.py` takes the time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests import forks
from tests.cli.conftest import command_environment
from tests.sample_cassettes import checkout
from timetracer_otel.match.kept_heads import Head, KeptHeads

FEW, MANY = 10, 2_000
MOST_CALLS = 120
"""Of functions, for one row: about 25 µs."""
PROGRAM = """
import io, json, sys
from timetracer_otel import cli

class Terminal(io.StringIO):
    def isatty(self):
        return on_terminal

def counted(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")

def noted(event, found):
    # A path that is a number is a file that was opened before.
    if opened is not None and event == "open" and isinstance(found[0], str):
        opened.append(found[0])

opened, told, before = None, [], sys.stdout
sys.addaudithook(noted)
on_terminal = sys.argv[1] == "terminal"
for folder in ("few", "few", "many"):
    calls, sys.stdout, opened = 0, Terminal(), []
    sys.setprofile(counted)
    code = cli.main(["list", folder])
    sys.setprofile(None)
    told.append([code, calls, opened, sys.stdout.getvalue()])
    opened = None
sys.stdout = before
print(json.dumps(told))
"""


def indexed(folder: Path, number: int) -> Path:
    """A folder of so many files and their index. The files are empty, so that none of them can be read."""
    folder.mkdir()
    names = [f"{each:05}.msgpack" for each in range(number)]
    for name in names:
        (folder / name).touch()
    kept = KeptHeads(str(folder))
    facts = folder.stat()
    one = Head.of(checkout(), 7, names[0], "1-812-1")
    kept.heads = [one._replace(name=name, session_id=f"{each:08x}-0") for each, name in enumerate(names)]
    kept.broken = []
    # The folder did not change within the last seconds, so that the index is trusted.
    kept._write([(os.curdir, f"{facts.st_mtime_ns}-{facts.st_size}-{facts.st_ino}")], 0)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("many")
    for name, number in (("few", FEW), ("many", MANY)):
        indexed(found / name, number)
    return found


@pytest.mark.parametrize("output", ["file", "terminal"])
def test_a_list_of_many_reads_the_index_once_and_no_cassette_at_few_calls_a_row(folder: Path, output: str) -> None:
    env = command_environment(COLUMNS="120", TERM="xterm-256color")
    done = forks.run("-c", PROGRAM, output, env=env, cwd=folder, loaded="tool")
    assert done.returncode == 0, done.stderr
    # The first list imports what all lists need.
    _, (code, fixed_calls, _, _), (_, calls, opened, text) = json.loads(done.stdout)
    assert code == 0
    assert text.count("\n") == MANY + 1
    assert "unreadable" not in text
    assert ("\x1b[" in text) == (output == "terminal")
    assert [Path(path).name for path in opened] == [".many.timetracer-index"]
    assert (calls - fixed_calls) / (MANY - FEW) < MOST_CALLS
