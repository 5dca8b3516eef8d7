"""What every room may use: containment of faults, counters, patching, plugin names, the OpenTelemetry context."""
