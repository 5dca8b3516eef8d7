"""WebSocket connections (RFC 6455), whatever the client: what is noted of their bytes, and how these come again."""
