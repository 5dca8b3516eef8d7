"""Motor's plugin under the name of timetracer 1.6: it is that of pymongo, by which Motor makes its calls."""

from timetracer_otel.libraries.pymongo import disable_motor, enable_motor, plugin

__all__ = ["disable_motor", "enable_motor", "plugin"]
