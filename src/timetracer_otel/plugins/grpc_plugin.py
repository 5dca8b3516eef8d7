"""The plugin of gRPC under the name that the public contract promises."""

from timetracer_otel.libraries.grpc import disable_grpc, enable_grpc, plugin

__all__ = ["disable_grpc", "enable_grpc", "plugin"]
