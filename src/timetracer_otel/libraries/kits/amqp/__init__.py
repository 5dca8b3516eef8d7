"""AMQP 0-9-1, as clients of RabbitMQ speak it: what of a conversation is an event, whichever client speaks."""
