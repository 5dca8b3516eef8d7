"""``completion``: what it prints makes a real shell complete commands, options, their values and file names."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SCRIPT, Run, command_environment
from timetracer_otel.cli import COMMANDS, main


def has(shell: str) -> pytest.MarkDecorator:
    missing = shutil.which(shell) is None and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"no {shell} here: install {shell}")


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Callable[[list[str], str], Callable[[str, str], None]]]:
    """``type = typed(["bash", "--norc"], "source x\\n")``, then ``type("timetracer-otel comple", "tion")``: what is
    typed with a tab behind it, and what the shell must add."""
    running: list[tuple[int, subprocess.Popen[bytes]]] = []

    def start(shell: list[str], setting_up: str) -> Callable[[str, str], None]:
        ours, theirs = pty.openpty()
        env = {**command_environment(), "TERM": "dumb", "PATH": f"{Path(SCRIPT).parent}:{os.environ['PATH']}"}
        process = subprocess.Popen(
            [*shell, "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=tmp_path, start_new_session=True
        )
        os.close(theirs)
        running.append((ours, process))

        def wait_for(text: str) -> None:
            seen = b""
            while text.encode() not in seen:
                assert select.select([ours], [], [], 60)[0], f"{text!r} does not come: {seen!r}"
                seen += os.read(ours, 1 << 12)

        def type_in(keys: str, added: str) -> None:
            os.write(ours, f"{keys}\t".encode())
            wait_for(added)
            os.write(ours, b"\x15\n")  # Clear the line.

        # In two words here, so that the echo of the line is not taken for its output.
        os.write(ours, f"{setting_up}; echo SET'' UP | tr -d ' '\n".encode())
        wait_for("SETUP")
        return type_in

    yield start
    for ours, process in running:
        process.kill()
        process.wait(100)
        os.close(ours)


@pytest.mark.parametrize(
    ("shell", "setting_up"),
    [
        pytest.param(["bash", "--norc"], 'eval "$(timetracer-otel completion bash)"', id="bash"),
        pytest.param(
            ["zsh", "-f"],
            'autoload -Uz compinit; compinit -u -D; eval "$(timetracer-otel completion zsh)"',
            id="zsh",
            marks=has("zsh"),
        ),
    ],
)
def test_a_shell_completes_what_is_typed(
    tmp_path: Path, typed: Callable[[list[str], str], Callable[[str, str], None]], shell: list[str], setting_up: str
) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "checkout.msgpack").write_bytes(b"")
    type_in = typed(shell, setting_up)
    type_in("timetracer-otel comple", "tion")
    type_in("timetracer-otel record --compr", "ession")
    type_in("timetracer-otel record --compression gz", "ip")
    type_in("timetracer-otel list --dir recor", "dings")
    type_in("timetracer-otel show recordings/che", "ckout.msgpack")


@has("fish")
def test_fish_completes_what_is_typed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(run("completion", "fish").stdout)
    (tmp_path / "recordings").mkdir()

    def completed(typed: str) -> set[str]:
        code = 'source ./script; complete -C "$argv[1]"'
        done = subprocess.run(
            ["fish", "--no-config", "-c", code, typed], cwd=tmp_path, capture_output=True, text=True, timeout=100
        )
        assert (done.returncode, done.stderr) == (0, "")
        return {line.partition("\t")[0] for line in done.stdout.splitlines()}

    assert completed("timetracer-otel ") >= set(COMMANDS)
    assert completed("timetracer-otel comple") == {"completion"}
    assert completed("timetracer-otel record --compr") == {"--compression"}
    assert completed("timetracer-otel record --compression ") >= {"none", "gzip", "zstd"}
    assert "recordings/" in completed("timetracer-otel list --dir rec")


def test_a_shell_that_nobody_knows_is_one_line(run: Run) -> None:
    done = run("completion", "cmd.exe")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "timetracer-otel: SHELL: 'cmd.exe' is not allowed. Allowed: bash, zsh, fish.\n"


def test_where_shtab_is_missing_the_install_line_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err == (
        'timetracer-otel: completion needs shtab. Install: pip install "timetracer-otel[cli]"\n'
    )
