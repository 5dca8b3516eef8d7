"""The web frameworks whose apps get our middleware, also the apps that are made already, and the task queues whose
jobs get a session each, as the messages of consumers do. Each has a file here.

A framework's module is patched when the app has imported it, and is never imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timetracer_otel.base.patching import Seams
from timetracer_otel.incoming import (
    aio_pika,
    aiokafka,
    arq,
    celery,
    confluent_kafka,
    django,
    dramatiq,
    flask,
    huey,
    kafka_python,
    pika,
    rq,
    starlette,
)
from timetracer_otel.session.header import note_distributions

__all__ = ["install", "remove"]

_FRAMEWORKS: Sequence[Seams] = (
    *(*starlette.SEAMS, *flask.SEAMS, *django.SEAMS),
    *(*pika.SEAMS, *aio_pika.SEAMS),
    *(*aiokafka.SEAMS, *confluent_kafka.SEAMS, *kafka_python.SEAMS),
    *(*celery.SEAMS, *rq.SEAMS, *dramatiq.SEAMS, *huey.SEAMS, *arq.SEAMS),
)

note_distributions(*dict.fromkeys(seams.name for seams in _FRAMEWORKS))


def install(is_wanted: Callable[[str], bool]) -> None:
    """Patch every framework that is wanted; harmless when repeated."""
    for seams in _FRAMEWORKS:
        if is_wanted(seams.name):
            seams.install()


def remove() -> None:
    """Undo the patches. Requests under way are still noted to their end."""
    for seams in _FRAMEWORKS:
        seams.remove()
