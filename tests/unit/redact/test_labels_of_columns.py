"""A column that a statement gives another name is secret by its own, wherever the statement does so."""

from __future__ import annotations

import pytest

from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import EventResult

TEXT = "h3WdZq7Kx9tNb5uR"


@pytest.mark.parametrize(
    ("statement", "is_secret"),
    [
        ("SELECT password AS v FROM people", True),
        ("SELECT password v FROM people", True),
        ("select p.password as v from people p", True),
        ('SELECT "p"."password" AS "v" FROM people p', True),
        ("SELECT [password] AS [v] FROM people", True),
        ("SELECT `password` AS `v` FROM people", True),
        ("WITH some AS (SELECT password AS v FROM people) SELECT v FROM some", True),
        ("SELECT name AS v FROM people", False),
        ("SELECT v FROM token v", False),
        ("SELECT p.id, v FROM people p JOIN token v ON v.id = p.id", False),
        ("SELECT password, name AS v FROM people", False),
        ("SELECT v FROM people ORDER BY password", False),
    ],
)
def test_a_label_of_a_secret_column_is_secret(statement: str, is_secret: bool) -> None:
    result = EventResult(reply={"description": [["v", None]], "rows": [(TEXT,)]})
    STATEMENT.redact_result(result, {"statement": statement}, Redactor.of("default", ()))
    assert (result.reply["rows"] != [(TEXT,)]) is is_secret
