"""What of a method of AMQP the text of a miss shows, and what it is found by."""

from __future__ import annotations

from typing import Final

from timetracer_otel.libraries.kits.messaging.form import MessageForm

__all__ = ["FORM"]

FORM: Final = MessageForm("exchange", "routing_key", "queue", "source", "destination")
