"""A server of gRPC in a process of its own (`grpc_server`), and how to ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import trustme
from google.protobuf.wrappers_pb2 import StringValue

from tests.servers._process import ServerProcess

__all__ = ["GrpcService", "stub"]

_KINDS = {
    **dict.fromkeys(("Echo", "Fail", "Slow", "Size", "Leave"), "unary_unary"),
    **dict.fromkeys(("Count", "Endless"), "unary_stream"),
    **dict.fromkeys(("Join", "Early"), "stream_unary"),
    **dict.fromkeys(("Talk", "Greet"), "stream_stream"),
}


def stub(channel: Any, method: str) -> Any:
    """What calls a method of the server over a channel, blocking or asyncio."""
    return getattr(channel, _KINDS[method])(
        f"/shop.Stock/{method}", StringValue.SerializeToString, StringValue.FromString
    )


class GrpcService:
    """One server.

    Args:
        folder: Where a certificate is put. Then it listens by TLS as well.

    Attributes:
        authority: The certificate of the authority.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            self._process = ServerProcess("tests.servers.grpc_server")
            return
        authority = trustme.CA()
        self.authority = authority.cert_pem.bytes()
        issued, (key, certificate) = authority.issue_cert("localhost"), (folder / "key.pem", folder / "cert.pem")
        issued.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self._process = ServerProcess("tests.servers.grpc_server", str(key), str(certificate))

    @property
    def secure_address(self) -> str:
        """Where it listens by TLS."""
        return f"localhost:{self._process.port('tls')}"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._process.port('grpc')}"

    def stop(self) -> None:
        """End it. Nobody listens at its port from then on."""
        self._process.stop()

    def close(self) -> None:
        """The same, and let its port go."""
        self._process.close()

    @staticmethod
    def leave(address: str) -> None:
        """Let a server of another process stop listening."""
        with grpc.insecure_channel(address) as channel:
            stub(channel, "Leave")(StringValue())
