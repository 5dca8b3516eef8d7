"""``show --stable`` and ``git-setup``: what a real git shows of recordings."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Run
from tests.loopback import Loopback
from timetracer_otel import record, replay

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """``git("add", ".")`` in ``tmp_path``, a repository without the settings of whoever runs the tests."""
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(tmp_path)}
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=tmp_path,
            env={**os.environ, **settings, **who},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    run("init", "-q", "-b", "main")
    return run


def work(url: str, folder: Path, *, amount: int = 1, one_more: bool = False) -> None:
    order = str(uuid.uuid4())
    database = folder / "shop.db"
    database.unlink(missing_ok=True)
    # What a client accepts by itself depends on the decoders that are installed.
    headers = {"Authorization": "Bearer s3cr3t-4711-of-the-program", "Accept-Encoding": "gzip"}
    with httpx.Client(headers=headers) as client:
        client.get(f"{url}/users/7")
        client.post(f"{url}/echo", json={"order": order, "amount": amount})
        if one_more:
            client.get(f"{url}/items")
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE orders (id TEXT, name TEXT)")
    connection.execute("INSERT INTO orders VALUES (?, ?)", (order, "tea"))
    connection.commit()
    connection.execute("SELECT name FROM orders").fetchall()
    connection.close()


def recorded(path: Path, folder: Path, **changes: Any) -> None:
    with record(path):
        work(URL, folder, **changes)


def said(text: str) -> str:
    return text.replace(UPSTREAM.url, "http://UPSTREAM")


UPSTREAM: Loopback
URL = ""


@pytest.fixture(autouse=True, scope="module")
def upstream() -> Any:
    global UPSTREAM, URL  # One server for all tests of this module.
    with Loopback() as UPSTREAM:
        URL = UPSTREAM.url
        yield


def test_the_stable_form_has_no_times_and_is_sorted(run: Run, tmp_path: Path) -> None:
    recorded(tmp_path / "a.msgpack", tmp_path)
    recorded(tmp_path / "b.msgpack", tmp_path)
    shown = [
        run("show", "--stable", f"{name}.msgpack", COLUMNS=width).stdout
        for name, width in (("a", "80"), ("b", "200"))
    ]
    assert shown[0] == shown[1]
    assert said(shown[0]) == (Path(__file__).parent / "golden" / "stable.txt").read_text()


def test_it_is_one_of_several_forms(run: Run, tmp_path: Path) -> None:
    recorded(tmp_path / "a.msgpack", tmp_path)
    assert run("show", "--stable", "--event", "1", "a.msgpack").stderr == (
        "timetracer-otel: --stable: shows the whole cassette. Leave --event and --bodies out.\n"
    )
    (tmp_path / "b.msgpack").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert run("show", "--stable", "b.msgpack").returncode == 2
    done = run("show", "--textconv", "b.msgpack")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("(no cassette that can be read: ")


def test_git_shows_what_changed_between_two_recordings(run: Run, git: Git, tmp_path: Path) -> None:
    path = tmp_path / "cassettes" / "order.msgpack"
    recorded(path, tmp_path)
    (tmp_path / ".gitattributes").write_text("*.png binary")
    (tmp_path / ".gitignore").write_text("shop.db\n")
    done = run("git-setup", "cassettes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"{tmp_path / '.gitattributes'}: cassettes are shown as text"
    assert (tmp_path / ".gitattributes").read_text() == (
        "*.png binary\n"
        "*.msgpack -text diff=timetracer merge=binary\n"
        "*.msgpack.gz -text diff=timetracer merge=binary\n"
        "*.msgpack.zst -text diff=timetracer merge=binary\n"
    )
    git("add", ".")
    git("commit", "-q", "-m", "recorded")
    assert "+httpx POST" in git("show")
    # A recording of the same is no difference to a reader.
    path.unlink()
    recorded(path, tmp_path)
    assert git("diff") == ""
    with replay(path, record_mode="all"):
        work(URL, tmp_path, amount=2, one_more=True)
    shown = re.sub(r"^index .*\n", "", said(git("diff")), flags=re.MULTILINE)
    assert shown == (Path(__file__).parent / "golden" / "git_diff.txt").read_text()
    # A second time, it changes nothing.
    again = run("git-setup")
    assert again.stdout.startswith(f"{tmp_path / '.gitattributes'}: has its lines already\n")
    assert git("status", "--short") == " M cassettes/order.msgpack\n"


def test_what_git_lacks_is_told(run: Run, tmp_path: Path) -> None:
    done = run("git-setup", GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("timetracer-otel: git rev-parse failed in .: not a git repository")
    assert run("git-setup", "nowhere").stderr == (
        "timetracer-otel: FOLDER: nowhere is no folder. Name one of a git repository.\n"
    )
    assert not (tmp_path / ".gitattributes").exists()
