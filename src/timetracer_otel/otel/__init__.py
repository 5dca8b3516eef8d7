"""What OpenTelemetry loads of ours by entry point."""
