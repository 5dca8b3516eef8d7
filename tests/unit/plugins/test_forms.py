"""What a library declares of its calls: the kernel asks for it, and knows no library."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.calls import registry
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.cassette import pack, unpack
from timetracer_otel.plugins import function_plugin
from timetracer_otel.redact import forms
from timetracer_otel.redact.errors import edited, edited_errors, replacing
from timetracer_otel.redact.forms import PLAIN, CallForm
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import TraceSession
from timetracer_otel.types import EventResult, RecordedError

SOURCE = """
asked = []

class Refused(Exception):
    pass

def query(statement, **values):
    asked.append(statement)
    if "broken" in statement:
        raise Refused(f"bad value {values}")
    return {"description": [("name",), ("token",)], "rows": [("tea", "hunter2"), ("cake", "2020-01-02")]}
"""

SELECT = "SELECT name, token FROM t WHERE pw = :password_1 AND at < :at"


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module: Any = types.ModuleType("timetracer_test_store")
    exec(SOURCE, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    return module


def store_plugin(group: str) -> LibraryPlugin:
    """As docs/how-to-add-a-plugin.md tells."""
    return function_plugin(
        f"store_{group}",
        ["timetracer_test_store:query"],
        describe=lambda args, kwargs: {"statement": args[0], "parameters": kwargs},
        group=group,
    )


def test_a_plugin_for_a_database_states_statements(database: Any, tmp_path: Path) -> None:
    store_plugin("db")
    with record(tmp_path / "x.msgpack") as recorded:
        database.query(SELECT, password_1="hunter2", at=1)
        with pytest.raises(database.Refused):
            database.query("broken", password_1="hunter2")
    event, failed = recorded.events
    assert event.call is not None
    name = event.call.args["parameters"]["password_1"]
    assert event.call.args["parameters"] == {"password_1": name, "at": 1}
    assert re.fullmatch("[a-z]{6}[0-9]", name)
    assert failed.result.exception is not None
    assert failed.result.exception.args == (f"bad value {{'password_1': '{name}'}}",)
    assert b"hunter2" not in (tmp_path / "x.msgpack").read_bytes()
    with replay(tmp_path / "x.msgpack", ignore_sql_params=["SELECT name*: at"]):
        answer = database.query(
            "SELECT name, token FROM t WHERE pw = :password_1 AND at < :at", password_1="hunter2", at=2
        )
    # Rows under a secret column have values of the same form, which the app's own types can read.
    (tea, word), (cake, day) = answer["rows"]
    assert (tea, cake) == ("tea", "cake")
    assert word.isalnum()
    assert date.fromisoformat(day).isoformat() == day
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError) as caught:
        database.query(SELECT, password_1="hunter2", at=2)
    text = str(caught.value)
    assert f"\n  statement: {SELECT}" in text
    assert "\n  parameters: {'password_1': '[REDACTED]', 'at': 2}" in text
    # What a SELECT compares says which rows it is about, and a small number may be another one's.
    assert "to leave out of the comparison" not in text
    with replay(tmp_path / "x.msgpack", ignore=["sql:SELECT t.at"]):
        database.query(SELECT, password_1="hunter2", at=2)


def test_an_error_of_fetching_quotes_no_secret_value() -> None:
    reply = {
        "description": [("a",)],
        "rows": [],
        "fetch_error": RecordedError("m:E", "bad: hunter2", ("bad: hunter2",)),
    }
    result, args = EventResult(reply=reply), {"statement": "SELECT", "parameters": {"token": "hunter2", "n": "bad"}}
    forms.form_of("sqlalchemy").redact_result(result, args, Redactor())
    assert result.reply["fetch_error"] == RecordedError("m:E", "bad: [REDACTED]", ("bad: [REDACTED]",))


def test_a_plugin_of_another_group_states_plain_values(database: Any, tmp_path: Path) -> None:
    store_plugin("custom")
    with record(tmp_path / "x.msgpack") as recorded:
        database.query("SELECT", password="hunter2", password_1="shown")
    call = recorded.events[0].call
    assert call is not None
    assert re.fullmatch("[a-z]{6}[0-9]", call.args["parameters"].pop("password"))
    assert call.args["parameters"] == {"password_1": "shown"}


class _Words(CallForm):
    """Calls whose last word is secret, and whose first one is made anew each time."""

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        return [*args[:-1], "[LAST]"]

    def compared(self, args: Any) -> Any:
        return args[1:]

    def error_text(self, text: str) -> str:
        return re.sub(r"said .*", "said [QUOTED]", text)


def test_a_library_declares_its_own_form(database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_of_library", dict(forms._of_library))
    function_plugin(
        "words",
        ["timetracer_test_store:query"],
        describe=lambda args, kwargs: args[0].split(),
        pack=lambda result: None,
        form=_Words(),
    )
    with record(tmp_path / "x.msgpack") as recorded:
        database.query("first same hunter2")
    call = recorded.events[0].call
    assert call is not None
    assert call.args == ["first", "same", "[LAST]"]
    with replay(tmp_path / "x.msgpack", fail_on_unused=True):
        database.query("second same other")
    session = TraceSession()
    session.mark_error("E", "it said hunter2", "Traceback\nit said hunter2\n")
    assert session.to_cassette().error_info == {
        "type": "E",
        "message": "it said [QUOTED]",
        "traceback": "Traceback\nit said [QUOTED]\n",
    }


def test_a_form_that_nobody_declared_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_of_library", {})
    monkeypatch.setattr(forms, "_of_group", {})
    monkeypatch.setattr(forms, "_find", None)
    assert forms.form_of("sqlalchemy") is PLAIN, "there is nothing to look with"
    loaded, form = [], _Words()

    def load() -> None:
        loaded.append(1)
        forms.declare("words", form)
        forms.declare("nothing", None)
        forms.declare_group("db", form)

    forms.find_by(load)
    assert [forms.form_of(name) for name in ("words", "nothing", "sqlalchemy", "unknown")] == [
        form,
        PLAIN,
        form,
        PLAIN,
    ]
    assert loaded == [1]


def test_a_session_made_by_hand_finds_the_forms_of_installed_plugins() -> None:
    # In a Python of its own: here, other tests have loaded the plugins.
    code = (
        "import sys\n"
        "from timetracer_otel.session import ReplaySession\n"
        "from timetracer_otel.redact import forms\n"
        "assert 'timetracer_otel.calls.registry' not in sys.modules\n"
        "assert forms.form_of('redis') is not forms.PLAIN\n"
        "assert 'redis' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_errors_are_walked_to_the_last_corner() -> None:
    edit = replacing([("hunter2 and more", "[A]"), ("hunter2", "[B]"), ("é", "[C]")])
    error = RecordedError(
        "m:E",
        "hunter2",
        (b"hunter2", ["hunter2 and more", ("hunter2",), {"hunter2": "hunter2"}], 7, None),
        {"at": RecordedError("m:F", "x", ("hunter2",)), "utf-8": "é!".encode(), "latin-1": "é!".encode("latin-1")},
        RecordedError("m:G", "hunter2", unfaithful="hunter2"),
        enums={"kind": "m:E.hunter2"},
    )
    assert edited(error, edit) == RecordedError(
        "m:E",
        "[B]",
        (b"[B]", ["[A]", ("[B]",), {"hunter2": "[B]"}], 7, None),
        {"at": RecordedError("m:F", "x", ("[B]",)), "utf-8": b"[C]!", "latin-1": b"[C]!"},
        RecordedError("m:G", "[B]", unfaithful="[B]"),
        enums={"kind": "m:E.hunter2"},
    )
    reply = ["hunter2", {"a": (error,)}, b"hunter2"]
    assert edited_errors(reply, edit) == ["hunter2", {"a": (edited(error, edit),)}, b"hunter2"]
    assert edited(bytes(range(256)), edit) == bytes(range(0xE9)) + b"[C]" + bytes(range(0xEA, 256))
    assert unpack(pack(edited(error, edit))) == edited(error, edit)
