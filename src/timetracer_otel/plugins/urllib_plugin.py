"""The plugin of http.client and urllib under the name that the public contract promises."""

from timetracer_otel.libraries.urllib import disable_urllib, enable_urllib, plugin

__all__ = ["disable_urllib", "enable_urllib", "plugin"]
