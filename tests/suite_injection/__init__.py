"""Faults of our own, injected one at a time into each function that runs while an app is recorded (law 6)."""
