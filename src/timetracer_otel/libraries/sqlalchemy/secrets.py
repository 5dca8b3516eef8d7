"""What is SQLAlchemy's own in the arguments of a statement, besides what all databases have in common."""

from __future__ import annotations

import re
from typing import Any, Final

from timetracer_otel.libraries.kits.dbapi.secrets import StatementForm, is_statement

__all__ = ["FORM"]

_TWO_PHASE: Final = re.compile(r"\s*(?:PREPARE\s+TRANSACTION|(?:COMMIT|ROLLBACK)\s+PREPARED)\b", re.IGNORECASE)
_MADE_UP: Final = re.compile(r"_sa_[0-9a-f]{32}(?![0-9a-f])")
"""How SQLAlchemy names a transaction of two phases: by chance, anew each time. Some of its dialects write the name
into statements (``PREPARE TRANSACTION '_sa_…'``)."""


class _Statements(StatementForm):
    """Statements as SQLAlchemy makes them."""

    def compared(self, args: Any) -> Any:
        if not is_statement(args):
            return args
        statement: str = args["statement"]
        if "_sa_" not in statement or not _TWO_PHASE.match(statement):
            return args
        return {**args, "statement": _MADE_UP.sub("_sa_", statement)}


FORM: Final = _Statements()
