"""Every command and every Python block of the documentation runs, on real servers, without a network.

A page is run from top to bottom in one folder. Blocks of ``console`` are what a user types after ``$``, with what
comes back where the page shows it (``…`` stands for anything); ``bash`` is a command on each line. A Python block
whose first line is a file's name is that file; each is executed.

Three commands run in a reduced form: ``make`` says what it would do, ``pip`` finds everything installed, and
``twine`` uploads nothing. The pages for those who change the project run in a folder that looks like a checkout.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.children import environment, instrumented_path, script, uses
from tests.loopback import Loopback
from tests.sample_cassettes import checkout
from tests.servers._ports import free_port
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import StoredCassette, save_cassette
from timetracer_otel.exchange import Recording

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/*.md", "exporters/*.md", "exporters/*/*.md")
    for path in REPOSITORY.glob(pattern)
)
ELSEWHERE = {"docs/plugin-system.md"}
"""Its blocks are parts of programs; tests/seed runs each of them."""
UPSTREAM = "http://127.0.0.1:8001"
"""How the pages call the upstream; replaced by its real address."""
REDIS = "redis://localhost:6379"
"""How they call a Redis server; replaced by the address of one that is started for the page."""
PORT = "5001"
"""Where a service of a page listens; replaced by a port that is free."""

APP = """
import os

import httpx
from opentelemetry import trace

recorded = os.environ.get("TIMETRACER_CASSETTE", "").endswith("checkout.msgpack")
upstream = "http://127.0.0.1:8001" if recorded else os.environ["UPSTREAM"]
with trace.get_tracer("app").start_as_current_span("GET /hello", kind=trace.SpanKind.SERVER):
    print(httpx.get(f"{upstream}/users/7").text)
"""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_IN_THE_BACKGROUND = re.compile(r"^(timetracer-otel .* & )", re.MULTILINE)
"""A shell sends signals to what it started there: to a Python of its own."""
_RUN = {"console", "bash", "python"}


@dataclass
class Command:
    """One command of a block, and what it prints (None: anything)."""

    text: str
    output: list[str] = field(default_factory=list)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    for match in _FENCE.finditer((REPOSITORY / page).read_text("utf-8")):
        yield match.group(1), match.group(2)


def commands(language: str, text: str) -> list[Command]:
    if language == "bash":
        return [Command(line) for line in text.splitlines() if line.strip()]
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif line.startswith("> ") and found and not found[-1].output:
            found[-1].text += "\n" + line[2:]
        else:
            assert found, f"output before the first command: {line}"
            found[-1].output.append(line)
    return found


def fits(expected: list[str], printed: str) -> bool:
    pieces = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + r"[ ]*\n"
        for line in expected
    ]
    while pieces and pieces[-1] == r"[ ]*\n":
        pieces.pop()
    return re.fullmatch("".join(pieces) + r"\s*", printed) is not None


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def database() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


class Page:
    """Runs the blocks of one page in a folder of its own."""

    def __init__(self, folder: Path, upstream: Loopback, code: str, redis_url: str = REDIS) -> None:
        self.folder = folder
        self.upstream = upstream
        self.redis_url = redis_url
        self.port = str(free_port())
        (folder / "app.py").write_text(APP)
        save_cassette(checkout(), folder / "checkout.msgpack")
        kept = environment(uses(APP, code))
        self.environment = {
            **{name: value for name, value in kept.items() if not name.startswith(("PYTEST_", "COV_"))},
            "REPOSITORY": str(REPOSITORY),
            "UPSTREAM": upstream.url,
            "PIP_NO_INDEX": "1",
            "PIP_DRY_RUN": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": upstream.url,
        }

    def link_checkout(self) -> None:
        """Let the folder look like the repository after ``make install``."""
        for path in REPOSITORY.iterdir():
            if not path.name.startswith(".") and not (self.folder / path.name).exists():
                (self.folder / path.name).symlink_to(path)
        (self.folder / ".venv").symlink_to(sys.prefix)

    def make_git_checkout(self) -> None:
        """Let the folder be a git repository with a change in it, and with one that it was cloned from."""
        self.environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        self.environment |= {
            f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        for command in (
            "git init --quiet --bare origin",
            "git init --quiet",
            "git remote add origin origin",
            "git add app.py",
            "git commit --quiet --message begun",
        ):
            assert self.run(*command.split()).returncode == 0, command
        (self.folder / "app.py").write_text("released\n")

    def shell(self, block: list[Command]) -> None:
        """Run the commands of a block in one shell, and compare what they print."""
        # What make would do is asked for all targets of the block at once: to ask takes it a fifth of a second.
        lines = ["set -eo pipefail", 'targets=(); make() { targets+=("$@"); }', "twine() { true; }", *self.forked()]
        for number, command in enumerate(block):
            lines += [
                _IN_THE_BACKGROUND.sub(r"command \1", self.local(command.text)),
                f"printf '\\n<%d done>\\n' {number}",
            ]
            assert not (command.output and command.text.startswith("make ")), "its output would come behind the block"
        lines.append('[ ${#targets[@]} = 0 ] || command make --dry-run -C "$REPOSITORY" "${targets[@]}"')
        done = self.run("bash", "-c", "\n".join(lines))
        printed = re.split(r"\n<\d+ done>\n", done.stdout)
        for number, command in enumerate(block):
            assert number < len(printed) - 1, f"{command.text}\n\n{printed[-1]}\n{done.stderr}"
            if command.output:
                assert fits([line.replace(PORT, self.port) for line in command.output], printed[number] + "\n"), (
                    f"{command.text}\n\n{printed[number]}"
                )
        assert done.returncode == 0, done.stderr

    def forked(self) -> list[str]:
        """What lets a shell run commands of Python in forks, and what these start as ``python``.

        ``make suite-processes`` has them all as a user has them.
        """
        traced, tool = forks.in_shell("traced"), forks.in_shell("tool")
        if traced is None or tool is None:
            return []
        path = instrumented_path(self.environment.get("PYTHONPATH"), self.folder)
        commands = forks.on_path(self.folder.with_name(f"{self.folder.name}-commands"))
        return [
            f"PATH={shlex.quote(commands)}$PATH",
            *(f'{name}() {{ {tool} {script(name)} "$@"; }}' for name in ("pytest", "timetracer-otel")),
            # Of the commands of the pages, it runs Python alone.
            f'opentelemetry-instrument() {{ shift; PYTHONPATH={shlex.quote(path)} {traced} "$@"; }}',
        ]

    def python(self, text: str) -> None:
        """Execute a block, and keep it as the file it names."""
        named = re.match(r"# (\w+\.py)\n", text)
        path = self.folder / (named.group(1) if named else "block.py")
        path.write_text(self.local(text), "utf-8")
        done = forks.run(path.name, env=self.environment, cwd=self.folder)
        assert done.returncode == 0, f"{text}\n\n{done.stderr}"

    def local(self, text: str) -> str:
        return text.replace(UPSTREAM, self.upstream.url).replace(REDIS, self.redis_url).replace(PORT, self.port)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
        )


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in ELSEWHERE and any(kind in _RUN for kind, _ in blocks(page))]
)
def test_a_page_does_what_it_says(
    page: str, tmp_path: Path, upstream: Loopback, request: pytest.FixtureRequest
) -> None:
    with ExitStack() as stack:
        needs_redis = any(REDIS in text for _, text in blocks(page))
        redis = stack.enter_context(RedisServer(tmp_path / "redis")) if needs_redis else None
        code = "\n".join(text for _, text in blocks(page))
        here = Page(tmp_path, upstream, code, redis.url.removesuffix("/0") if redis is not None else REDIS)
        if any("DATABASE_URL" in text for _, text in blocks(page)):
            url = request.getfixturevalue("database").url("psycopg").set(drivername="postgresql")
            here.environment["DATABASE_URL"] = url.render_as_string(hide_password=False)
        if page == "CONTRIBUTING.md":
            here.link_checkout()
        if page == "docs/releasing.md":
            here.make_git_checkout()
        for language, text in blocks(page):
            if language == "python":
                here.python(text)
            elif language in {"console", "bash"}:
                here.shell(commands(language, text))
    if page == "README.md":
        # Live are two recorded runs of the app, one recorded test, one recorded block; all replays are answered.
        assert upstream.hits["/users/7"] == 4
        assert upstream.hits["/v1/traces"] > 0
    if page == "docs/releasing.md":
        tags = here.run("git", "-C", "origin", "tag", "--list", "--format", "%(refname:short) %(contents:subject)")
        assert tags.stdout == f"v{version('timetracer-otel')} timetracer-otel {version('timetracer-otel')}\n"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_names_its_language_and_every_link_its_target(page: str) -> None:
    path = REPOSITORY / page
    assert all(language for language, _ in blocks(page))
    targets = [link for link in _LINK.findall(path.read_text("utf-8")) if "://" not in link]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_readme_opens_with_the_two_commands() -> None:
    (_, text), *_ = blocks("README.md")
    assert [command.text.split("#")[0].strip() for command in commands("bash", text)] == ["make demo", "make test"]


def test_every_page_can_be_found_from_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text("utf-8")
    assert [page for page in PAGES if page.startswith("docs/") and f"]({Path(page).name})" not in index] == [
        "docs/README.md"
    ]


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_settings.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def only_block(page: str, language: str) -> str:
    (text,) = [text for found, text in blocks(page) if found == language]
    return text


def test_the_exporters_of_the_page_export_and_import(tmp_path: Path) -> None:
    first, second, third = [text for kind, text in blocks("docs/how-to-add-an-exporter.md") if kind == "python"]
    names: dict[str, Any] = {}
    exec(first, names)
    assert names["export"](checkout()).splitlines()[0] == b"http://127.0.0.1:8001/users/7"
    exec(second, names)
    made = names["export"].write(checkout())
    assert made.data.splitlines()[0] == b"GET http://127.0.0.1:8001/users/7"
    assert made.left_out
    assert names["import_format"].recognises(made.data)
    assert len(names["import_format"].read(made.data).cassette.events) == len(made.data.splitlines())
    exec(third, names)
    row = StoredCassette("checkout.msgpack", 0)
    assert names["export"].write([Recording(row, checkout())], tmp_path) == []
    assert (tmp_path / "counts.txt").read_text() == "checkout.msgpack 5\n"


def test_the_command_of_the_page_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from timetracer_otel import cli

    (tmp_path / "count.py").write_text(only_block("docs/how-to-add-a-command.md", "python"))
    save_cassette(checkout(), tmp_path / "checkout.msgpack")
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "count"))
    try:
        assert cli.main(["count", str(tmp_path / "checkout.msgpack")]) == 0
    finally:
        sys.modules.pop("timetracer_otel.cli.count", None)
    assert capsys.readouterr().out == "5\n"
