"""The names of pika that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

_WORKFLOW: Final = "pika.adapters.utils.connection_workflow"

RELIED_UPON: Final = (
    "pika.adapters.base_connection:BaseConnection._proto_connection_lost(error)",
    "pika.adapters.base_connection:BaseConnection._proto_connection_made(transport)",
    "pika.adapters.base_connection:_StreamingProtocolShim.conn",
    "pika.adapters.blocking_connection:BlockingChannel.basic_consume(on_message_callback)",
    "pika.adapters.blocking_connection:BlockingChannel.start_consuming",
    f"{_WORKFLOW}:AMQPConnectionWorkflow.start(connection_configs)",
    f"{_WORKFLOW}:AMQPConnectionWorkflow.start(connector_factory)",
    f"{_WORKFLOW}:AMQPConnectionWorkflow.start(on_done)",
    f"{_WORKFLOW}:AMQPConnectionWorkflow._nbio",
    f"{_WORKFLOW}:AMQPConnector._conn_factory",
    "pika.channel:Channel.basic_consume(on_message_callback)",
    "pika.compat:long",
    "pika.connection:Connection._adapter_call_later(callback)",
    "pika.connection:Connection._process_frame(frame_value)",
    "pika.connection:Connection._send_method(content)",
    "pika.connection:Connection.params",
    "pika.frame:decode_frame(data_in)",
    "pika.spec:methods",
)
