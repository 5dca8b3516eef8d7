"""A real RabbitMQ as the broker of Celery: `make suite-rabbitmq`."""
