"""Matching: which recorded event answers a call, and which cassette a request."""
