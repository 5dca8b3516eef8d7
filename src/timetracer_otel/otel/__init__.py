"""What OpenTelemetry loads of ours by entry point."""

__all__: list[str] = []
