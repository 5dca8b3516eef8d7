"""No secret is in what is said of a replay: by ``verify``, by its JUnit file, by pytest and by its JUnit file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import children, forks
from tests.children import ROOT
from tests.examples import drawn
from tests.planted.answering import PLACES
from tests.planted.http_places import Upstream
from tests.planted.secrets import FORMS, plain, traces
from tests.planted.test_planted_secrets import unpacked
from tests.servers._ports import free_port
from tests.verify import _services
from tests.verify._services import Request, record, verify
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main

_OTHERS = 500
"""The number of the first secret of a replay."""


def found_in(data: bytes) -> list[bytes]:
    """The secrets in these bytes, with what stands around each."""
    return [found.around for piece in unpacked(data) for found in traces(piece)]


def files_in(folder: Path) -> bytes:
    """The names and the bytes of all files in a folder."""
    return b"\n".join(path.name.encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for recordings of `answering`, with the environment of what it uses."""
    with pytest.MonkeyPatch.context() as patch:
        used = {"flask", "httpx", "sqlalchemy"}
        patch.setattr(
            _services,
            "environment",
            lambda _, **changes: children.environment(used, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore", **changes),
        )
        yield tmp_path_factory.mktemp("verify")


class TestVerify:
    @pytest.mark.parametrize("kind", drawn([["recorded", "scrubbed"]], "what is verified"))
    def test_what_differs_is_told_without_secrets(
        self, folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        port, cassettes = free_port(), folder / kind
        command = [*forks.python(), "-m", "tests.planted.answering", str(port)]
        redact = "off" if kind == "scrubbed" else "default"
        record(command, port, [Request("GET", f"/{place}") for place in PLACES], cassettes, TIMETRACER_REDACT=redact)
        if kind == "scrubbed":
            assert len(found_in(files_in(cassettes))) > 20
            assert (main(["audit", str(cassettes), "--json"]), main(["scrub", str(cassettes)])) == (1, 0)
            assert (main(["list", "--dir", str(cassettes)]), main(["audit", str(cassettes)])) == (0, 0)
            for path in sorted(map(str, cassettes.rglob("*.msgpack")))[::3]:
                outputs = [["show", path], ["show", path, "--json"], ["export", "--to", "har", path]]
                if read_cassette(path).events:
                    outputs.append(["show", path, "--event", "1"])
                assert {main(arguments) for arguments in outputs} == {0}
            said = "".join(capsys.readouterr())
            assert len(said) > 10_000
            assert found_in(said.encode()) == []
        assert found_in(files_in(cassettes)) == []
        done = verify(cassettes, command, "--junit-xml", str(folder / "junit.xml"), PLANTED_FIRST=str(_OTHERS))
        assert done.returncode == 1, done.stderr
        told = done.stdout + done.stderr
        # Other secrets are no difference. What differs is a number in each of five answers.
        assert "5 failed, 10 passed" in told
        assert "[REDACTED]" in told
        assert found_in(told.encode()) == []
        assert found_in((folder / "junit.xml").read_bytes()) == []

    def test_what_a_service_says_that_does_not_start_is_told_without_secrets(self, folder: Path) -> None:
        said = f"token: {plain(1)}, password='{plain(2)}', {FORMS['address'](3)} {FORMS['github'](4)}"
        done = verify(
            next(each for each in folder.iterdir() if each.is_dir()),
            [sys.executable, "-c", f"raise SystemExit({said!r})"],
        )
        assert done.returncode == 1, done.stdout
        # OpenTelemetry may have something to say before it, of a newer SQLAlchemy.
        lines = done.stderr.splitlines()
        told = [line for line in lines if not line.endswith("so nothing can be instrumented.")]
        assert told[told.index("Its output:") + 1].startswith("    token: ")
        assert found_in((done.stdout + done.stderr).encode()) == []


class TestPytest:
    def run(self, folder: Path, first: int, url: str) -> tuple[str, bytes]:
        """The tests of `plugin_places`; what pytest prints, and its JUnit file."""
        done = forks.run(
            *("-m", "pytest", "-p", "timetracer_otel.pytest_plugin", "-p", "no:cacheprovider", "--tb=short", "-rA"),
            *(f"--basetemp={folder}/run-{first}", "--junitxml=junit.xml", "test_planted.py"),
            env={
                **{name: value for name, value in os.environ.items() if name != "CI"},
                "PYTHONPATH": str(ROOT),
                "PLANTED_FIRST": str(first),
                "PLANTED_URL": url,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            cwd=folder,
            loaded="tool",
        )
        return done.stdout + done.stderr, (folder / "junit.xml").read_bytes()

    def test_what_is_recorded_and_missed_is_told_without_secrets(self, tmp_path: Path) -> None:
        places = ROOT / "tests" / "planted" / "plugin_places.py"
        (tmp_path / "test_planted.py").write_text(places.read_text())
        upstream = Upstream()
        upstream.fails("/missing")
        told, junit = self.run(tmp_path, 0, upstream.url)
        upstream.close()
        assert "12 passed" in told, told
        assert len(list(tmp_path.rglob("*.msgpack"))) == 12
        again, junit_again = self.run(tmp_path, _OTHERS, upstream.url)
        # Each call has a number that the recording does not have.
        assert "12 failed" in again, again
        assert again.count("No recorded call matches") >= 12
        assert b"[REDACTED]" in junit_again
        for said in (told.encode(), junit, again.encode(), junit_again, files_in(tmp_path / "cassettes")):
            assert found_in(said) == []
