"""The names of aiormq that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

RELIED_UPON: Final = (
    "aiormq.abc:ChannelFrame.drain",
    "aiormq.channel:Channel._get_frame",
    "aiormq.channel:Channel.basic_ack(delivery_tag)",
    "aiormq.channel:Channel.basic_nack(delivery_tag)",
    "aiormq.channel:Channel.basic_publish(properties)",
    "aiormq.channel:Channel.basic_reject(delivery_tag)",
    "aiormq.channel:Channel.confirmations",
    "aiormq.channel:Channel.delivery_tag",
    "aiormq.channel:Channel.frames",
    "aiormq.channel:Channel.message_id_delivery_tag",
    "aiormq.channel:Channel.publisher_confirms",
    "aiormq.channel:Channel.rpc(frame)",
    "aiormq.channel:Channel.write_queue",
    "aiormq.connection:Connection._transport_factory",
    "aiormq.connection:Connection.connect",
    "aiormq.connection:Connection.server_capabilities",
    "aiormq.connection:Connection.vhost",
    "pamqp.commands:INDEX_MAPPING",
    "pamqp.frame:unmarshal",
)
