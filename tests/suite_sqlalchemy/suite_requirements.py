"""What the databases of the suite can do; SQLAlchemy's package leaves most of it closed for unknown dialects."""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

_ON_POSTGRESQL = (
    "array_type",
    "autocommit",
    "comment_reflection",
    "datetime_timezone",
    "delete_from",
    "deferrable_fks",
    "delete_returning",
    "identity_columns",
    "insert_returning",
    "json_array_indexes",
    "json_type",
    "materialized_views",
    "nullsordering",
    "precision_generic_float_type",
    "regexp_match",
    "regexp_replace",
    "schemas",
    "schema_reflection",
    "cross_schema_fk_reflection",
    "sequences",
    "server_side_cursors",
    "standalone_null_binds_whereclause",
    "time_timezone",
    "timestamp_microseconds",
    "tuple_in",
    "unicode_ddl",
    "update_from",
    "update_returning",
    "uuid_data_type",
    "window_functions",
    "ctes",
    "ctes_with_update_delete",
    "isolation_level",
    "reflect_tables_no_columns",
    "views",
    "view_reflection",
    "foreign_key_constraint_option_reflection_ondelete",
    "foreign_key_constraint_option_reflection_onupdate",
    "fk_constraint_option_reflection_ondelete_restrict",
    "fk_constraint_option_reflection_onupdate_restrict",
    "fk_constraint_option_reflection_ondelete_noaction",
    "temp_table_reflection",
    "indexes_with_expressions",
    "reflect_indexes_with_expressions",
    "index_reflects_included_columns",
    "check_constraint_reflection",
    "unique_constraint_reflection",
    "unique_index_reflect_as_unique_constraints",
    "inline_check_constraint_reflection",
    "sql_expression_limit_offset",
    "computed_columns",
    "computed_columns_stored",
    "computed_columns_reflect_persisted",
    "intersect",
    "except_",
    "parens_in_union_contained_select_w_limit_offset",
    "datetime_interval",
    "datetime_historic",
    "date_historic",
    "text_type",
    "date_implicit_bound",
    "array_of_enum_type",
    "fetch_first",
    "fetch_offset_with_options",
    "fetch_no_order_by",
    "async_dialect_",
)
_EVERYWHERE = (
    "savepoints",
    "ctes",
    "views",
    "view_reflection",
    "json_type",
    "window_functions",
    "nullsordering",
    "isolation_level",
    "autocommit",
    "get_isolation_level_values",
    "insert_executemany_returning",
    "tuple_in",
    "intersect",
    "except_",
    "temp_table_reflection",
    "unique_constraint_reflection",
    "check_constraint_reflection",
    "indexes_with_ascdesc",
    "reflect_indexes_with_ascdesc_as_expression",
    "datetime_historic",
    "date_historic",
    "unicode_ddl",
    "update_returning",
    "insert_returning",
    "delete_returning",
)


def _open_on(*names: str) -> Any:
    return property(lambda self: exclusions.only_on(list(names)))


class Requirements(SuiteRequirements):
    """Opens what the tested databases have, so that more of the suite runs."""

    @property
    def server_side_cursors(self) -> Any:
        """Drivers with cursors on the server."""
        return exclusions.only_if(lambda config: getattr(config.db.dialect, "supports_server_side_cursors", False))

    @property
    def async_dialect(self) -> Any:
        """Drivers beneath an async engine."""
        return exclusions.only_if(lambda config: config.async_engine)

    @property
    def sync_driver(self) -> Any:
        """Drivers that block."""
        return exclusions.skip_if(lambda config: config.async_engine)

    def get_isolation_levels(self, config: Any) -> dict[str, Any]:
        """The levels there are, and the default one."""
        levels = list(config.db.dialect.get_isolation_level_values(None))
        with config.db.connect() as connection:
            default = connection.get_isolation_level()
        return {"default": default, "supported": levels}


for _name in _ON_POSTGRESQL:
    if isinstance(getattr(SuiteRequirements, _name, None), property) and _name not in vars(Requirements):
        setattr(Requirements, _name, _open_on("postgresql", *(("sqlite",) if _name in _EVERYWHERE else ())))
for _name in _EVERYWHERE:
    is_known = isinstance(getattr(SuiteRequirements, _name, None), property)
    if is_known and _name not in _ON_POSTGRESQL and _name not in vars(Requirements):
        setattr(Requirements, _name, property(lambda self: exclusions.open()))
