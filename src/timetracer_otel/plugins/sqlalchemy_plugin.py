"""The plugin of SQLAlchemy under the name that the public contract promises."""

from timetracer_otel.libraries.sqlalchemy import disable_sqlalchemy, enable_sqlalchemy, plugin

__all__ = ["disable_sqlalchemy", "enable_sqlalchemy", "plugin"]
