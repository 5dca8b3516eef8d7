"""Messages of task queues in commands of Redis: who sends one is no part of what is compared."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.unit.session.test_bindings import A, B, P, Q, answered, missed, pairs, redis, replaying
from timetracer_otel.libraries.redis.messages import without_sender
from timetracer_otel.types import Call


def message(order: str, *, thread: str, origin: str = "gen17583@vm", **properties: Any) -> str:
    """A message as Kombu writes it for Celery."""
    return json.dumps(
        {
            "body": "W10=",
            "headers": {"task": "ship", "argsrepr": f"['{order}']", "origin": origin},
            "properties": {
                "correlation_id": str(uuid.uuid4()),
                "reply_to": thread,
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "delivery_tag": str(uuid.uuid4()),
                **properties,
            },
        }
    )


THREADS = [str(uuid.uuid3(uuid.NAMESPACE_OID, f"1-2-{number}")) for number in range(4)]


def sent(text: str | bytes) -> Call:
    return redis("LPUSH", "celery", text)


@pytest.mark.parametrize("kind", [str, str.encode])
def test_one_thread_may_send_what_several_sent(kind: Any) -> None:
    orders = {A: P, B: Q}
    session = replaying(
        *(answered(redis("SET", f"order:{order}", item)) for order, item in zip(orders, ["tea", "cup"], strict=True)),
        *(
            answered(sent(kind(message(order, thread=THREADS[n]))), {"replies": [n]})
            for n, order in enumerate(orders)
        ),
    )
    session.match(redis("SET", f"order:{P}", "tea"))
    session.match(redis("SET", f"order:{Q}", "cup"))
    for n, order in ((1, Q), (0, P)):
        now = message(order, thread=THREADS[2], origin="gen4@other-host.test")
        assert session.match(sent(kind(now))).result.reply == {"replies": [n]}
    assert {("uuid", A, P), ("uuid", B, Q)} < {*pairs(session)}


def test_what_else_a_message_says_is_compared() -> None:
    session = replaying(answered(sent(message(A, thread=THREADS[0]))))
    missed(session, sent(message(A, thread=THREADS[1], priority=3)))
    missed(session, sent(message(A, thread="replies-of-shop")))
    missed(session, sent(message(A, thread=THREADS[1], origin="mailer")))


def test_what_is_no_message_stays_the_same_object() -> None:
    words = ["SET", "a", f'{{"origin": "gen1@vm", "reply_to": "{THREADS[0]}"}}', b"x", 1]
    assert without_sender(words) is words
    assert without_sender(None) is None
    commands = [words, ["GET", "a"]]
    assert without_sender(commands) is commands
    changed = without_sender([words, ["LPUSH", "q", message(A, thread=THREADS[0])]])
    assert changed[0] is words
    assert "gen17583" not in changed[1][2]
    assert THREADS[0] not in changed[1][2]
