"""All servers of the HTTP tests in one process, each on a port of its own; run as a module.

Usage: ``python -m tests.servers.upstream CERTIFICATE OTHER_CERTIFICATE`` (PEM files with the key first; the other
one is for a name that nobody asks for). Prints the ports as one line of JSON, and ends with its standard input.

The ``control`` port takes one command per line and answers each with one line:
``reset``, ``release TOKEN``, ``hits PATH``, ``down`` (close all ports but this one) and ``up``.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable

from tests.servers import http2_app, http_app, proxy_app
from tests.servers._wire import State

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, State], Awaitable[None]]


class Listeners:
    """The servers' ports, which can be closed for a while: then every connection is refused, open ones are cut.

    Attributes:
        ports: By name; they stay the same.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.ports: dict[str, int] = {}
        self._kinds: dict[str, tuple[Serve, ssl.SSLContext | None]] = {}
        self._servers: list[asyncio.Server] = []
        self._held: list[socket.socket] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def add(self, name: str, serve: Serve, context: ssl.SSLContext | None = None) -> None:
        self._kinds[name] = serve, context
        await self._listen(name)

    async def down(self) -> None:
        for server in self._servers:
            server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._servers.clear()
        for name in self._kinds:
            held = socket.socket()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", self.ports[name]))
            self._held.append(held)

    async def up(self) -> None:
        while self._held:
            self._held.pop().close()
        if not self._servers:
            for name in self._kinds:
                await self._listen(name)

    async def _listen(self, name: str) -> None:
        serve, context = self._kinds[name]

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open.add(writer)
            try:
                await serve(reader, writer, self.state)
            finally:
                self._open.discard(writer)

        port = self.ports.get(name, 0)
        server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=context, limit=2**20, backlog=512)
        self._servers.append(server)
        self.ports[name] = server.sockets[0].getsockname()[1]

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the commands of one connection."""
        while line := await reader.readline():
            command, *words = line.decode().split()
            answer = 0
            if command == "reset":
                self.state.reset()
            elif command == "release":
                self.state.gates[words[0]].release()
            elif command == "hits":
                answer = self.state.hits[words[0]]
            elif command == "down":
                await self.down()
            elif command == "up":
                await self.up()
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()


def full_backlog() -> list[socket.socket]:
    """A listening socket that takes no more connections: a further one hangs until it times out."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    sockets = [listener]
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        sockets.append(client)
    return sockets


def tls(certificate: str, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def main(certificate: str, other_certificate: str) -> None:
    listeners = Listeners(State())
    await listeners.add("http", http_app.serve_connection)
    await listeners.add("tls", http_app.serve_connection, tls(certificate))
    await listeners.add("tls-other", http_app.serve_connection, tls(other_certificate))
    await listeners.add("h2", http2_app.serve_connection, tls(certificate, "h2"))
    await listeners.add("proxy", proxy_app.serve_connection)
    await listeners.add("proxy-private", functools.partial(proxy_app.serve_connection, private=True))
    controller = await asyncio.start_server(listeners.control, "127.0.0.1", 0)
    backlog = full_backlog()
    unused = socket.socket()
    unused.bind(("127.0.0.1", 0))
    sockets = {"control": controller.sockets[0], "backlog": backlog[0], "refused": unused}
    ports = {**listeners.ports, **{name: held.getsockname()[1] for name, held in sockets.items()}}
    print(json.dumps({"ports": ports}), flush=True)
    # Connections that are open die with the process: a termination signal and the end of the input do no more.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
