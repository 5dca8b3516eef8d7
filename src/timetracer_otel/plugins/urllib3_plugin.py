"""The plugin of urllib3 under the name that the public contract promises."""

from timetracer_otel.libraries.urllib3 import disable_urllib3, enable_urllib3, plugin

__all__ = ["disable_urllib3", "enable_urllib3", "plugin"]
