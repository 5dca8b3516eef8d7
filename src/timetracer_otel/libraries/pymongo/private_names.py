"""The names of pymongo that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

_OF_BOTH: Final = (
    "auth:authenticate(conn)",
    "srv_resolver:_resolve",
    "topology:Topology.description",
    "topology:Topology.on_change(server_description)",
    "topology:Topology.select_servers(selector)",
)
_OF_CONNECTIONS: Final = (
    *("_hello", "address", "authenticate", "hello", "is_sdam", "listeners", "performed_handshake", "ready"),
    "send_message(message)",
)
RELIED_UPON: Final = (
    *(f"pymongo.{package}.{name}" for package in ("synchronous", "asynchronous") for name in _OF_BOTH),
    *(f"pymongo.synchronous.pool:Connection.{name}" for name in _OF_CONNECTIONS),
    *(f"pymongo.asynchronous.pool:AsyncConnection.{name}" for name in _OF_CONNECTIONS),
    "pymongo.synchronous.pool:_configured_socket_interface(address)",
    "pymongo.synchronous.pool:receive_message(conn)",
    "pymongo.synchronous.pool:sendall",
    "pymongo.asynchronous.pool:_configured_protocol_interface(address)",
    "pymongo.asynchronous.pool:async_receive_message(conn)",
    "pymongo.asynchronous.pool:async_sendall",
    "pymongo.hello:Hello.document",
    "pymongo.message:_OpMsg.payload_document",
    "pymongo.message:_OpMsg.flags",
    "pymongo.periodic_executor:PeriodicExecutor.open",
    "pymongo.periodic_executor:AsyncPeriodicExecutor.open",
    "pymongo.topology_description:TopologyDescription.apply_selector(custom_selector)",
)
