"""The plugin of botocore under the name that the public contract promises."""

from timetracer_otel.libraries.botocore import disable_botocore, enable_botocore, plugin

__all__ = ["disable_botocore", "enable_botocore", "plugin"]
