"""Conversations: calls in which both sides say several things, whatever the protocol. gRPC's streams, WebSockets."""
