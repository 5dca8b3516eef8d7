"""``timetracer-otel verify`` with bad input: one line, exit code 2, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run, run  # noqa: F401 - a fixture
from tests.sample_cassettes import cassette
from timetracer_otel.cassette import save_cassette
from timetracer_otel.types import HeaderMap, RequestSnapshot

CMD = ("--", "touch", "ran")


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for folder in ("good", "jobs", "empty", "far", "broken"):
        (tmp_path / folder).mkdir()
    for folder, host in (("good", b"127.0.0.1:1"), ("far", b"shop.example.com")):
        request = RequestSnapshot("GET", "/a", headers=HeaderMap([(b"host", host)]))
        save_cassette(cassette([], request=request), tmp_path / folder / "a.msgpack")
    save_cassette(cassette([], request=RequestSnapshot("INTERNAL", "nightly")), tmp_path / "jobs" / "a.msgpack")
    (tmp_path / "broken" / "a.msgpack").write_bytes(b"\x00garbage")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["good"], "say what to run behind --, as in: timetracer-otel verify FOLDER -- python app.py"),
        (["good", "--jobs", "0", *CMD], "--jobs: 0 is not allowed. Allowed: more than 0."),
        (["good", "--timeout", "-1", *CMD], "--timeout: -1 is not allowed. Allowed: more than 0."),
        (["good", "--header", "no colon", *CMD], "--header: 'no colon' is not allowed. Allowed: 'NAME: VALUE'."),
        (
            ["good", "--ignore", "headers:date", *CMD],
            (
                "--ignore: 'headers:date' is not allowed. Allowed: query:<name>, header:<name>, "
                "body:<JSON path from $>, each alone or behind a scope (POST /v1/*: body:$.ts), and "
                "sql:<table>.<bound value>, separated by commas."
            ),
        ),
        (["good", "--ignore", "query:a", *CMD], "--ignore: 'query:a' says nothing about an answer; it has no query."),
        (["good", "--timeout", "inf", *CMD], "--timeout: inf is not allowed. Allowed: at most 1e+06."),
        (["good", "--start-timeout", "1e12", *CMD], "--start-timeout: 1e+12 is not allowed. Allowed: at most 1e+06."),
        (["good", "--junit-xml", "good", *CMD], "--junit-xml: good is a folder. Name a file."),
        (
            ["good", "--url", "http://[bad", *CMD],
            "--url: 'http://[bad' is not allowed. Allowed: http://HOST:PORT or https://HOST:PORT.",
        ),
        (
            ["good", "--url", "localhost:80", *CMD],
            "--url: 'localhost:80' is not allowed. Allowed: http://HOST:PORT or https://HOST:PORT.",
        ),
        *(
            (
                ["good", "--shard", text, *CMD],
                f"--shard: {text!r} is not allowed. Allowed: K/N, from 1/N to N/N, as in 3/10.",
            )
            for text in ("3", "0/3", "4/3", "1/0", "1/3/5")
        ),
        (["good", "--only", "/b*", *CMD], "--only: no recording in {tmp}/good is like '/b*'."),
        (
            ["good", "--live", "htpx", *CMD],
            "--live: nobody knows a plugin or group called 'htpx'; did you mean 'httpx'?",
        ),
        (
            ["good", "--junit-xml", "none/results.xml", *CMD],
            "--junit-xml: cannot write none/results.xml: there is no folder none. Name another file.",
        ),
        (
            ["good", "--", "no-such-program"],
            "cannot run 'no-such-program': there is no such command on PATH, nor an executable file.",
        ),
        (
            ["far", *CMD],
            (
                "--url: the recorded requests went to shop.example.com, which is not this machine. "
                "Say where CMD listens, as in --url http://127.0.0.1:8000"
            ),
        ),
        (
            ["jobs", *CMD],
            "there is nothing to send in {tmp}/jobs: not a request. Record requests of the service.",
        ),
        (
            ["empty", *CMD],
            (
                "There is no cassette in {tmp}/empty. Record some with: "
                "timetracer-otel record --dir {tmp}/empty -- CMD"
            ),
        ),
        (
            ["nowhere", *CMD],
            "{tmp}/nowhere: there is no such file or folder. To see what there is: timetracer-otel list",
        ),
        (
            ["good/a.msgpack", *CMD],
            "FOLDER: good/a.msgpack is no folder. Name the folder that the cassettes are in.",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(run: Run, tmp_path: Path, arguments: list[str], line: str) -> None:  # noqa: F811
    before = sorted(tmp_path.rglob("*"))
    done = run("verify", *arguments)
    assert done.stderr == f"timetracer-otel: {line.format(tmp=tmp_path)}\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(tmp_path.rglob("*")) == before, "something was written, or the program ran"


def test_a_missing_extra_is_answered_with_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    from timetracer_otel.cli import main

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "junitparser" else find_spec(name, *more)
    )
    assert main(["verify", str(tmp_path / "good"), *CMD]) == 2
    assert capsys.readouterr().err == (
        'timetracer-otel: verify needs junitparser. Install: pip install "timetracer-otel[verify]"\n'
    )


def test_a_folder_to_replay_is_looked_at_before_the_program_starts(run: Run, tmp_path: Path) -> None:  # noqa: F811
    done = run("replay", "empty", *CMD)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"timetracer-otel: There is no cassette in {tmp_path}/empty.")
    assert not (tmp_path / "ran").exists()
    assert run("replay", "good", "--live", "db", *CMD).returncode == 0
    assert (tmp_path / "ran").exists()
