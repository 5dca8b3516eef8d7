"""The request that comes in: its scope, ASGI and WSGI, frameworks and servers."""
