"""The request that comes in: what is noted of it, the ASGI and WSGI middlewares, and one file a framework or server.

For others are `incoming.frameworks` (patching the frameworks), `incoming.receiver` (who decides on a request's
session) and `incoming.scope` (a request under way).
"""
