"""Kafka: what of a client's calls is an event, whichever client makes them."""
