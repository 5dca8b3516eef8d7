"""Calls to language models: what their spans say of them, and how many of them went out for real in a replay.

Names of attributes: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ with its older forms, and those
of OpenLLMetry (``llm.*``) and OpenInference (``llm.token_count.*``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from timetracer_otel.base.attributes import first_of
from timetracer_otel.base.hosts import Address, Hosts, address_of_url
from timetracer_otel.constants import EventType
from timetracer_otel.session.span_roles import is_of_model
from timetracer_otel.types import DependencyEvent, SpanFacts

__all__ = ["ModelUse", "PaidCalls", "model_above", "model_use"]

_MODEL: Final = (
    *("gen_ai.response.model", "gen_ai.request.model"),
    *("llm.response.model", "llm.request.model", "llm.model_name"),
)
_INPUT: Final = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    *("llm.usage.prompt_tokens", "llm.token_count.prompt"),
)
_OUTPUT: Final = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    *("llm.usage.completion_tokens", "llm.token_count.completion"),
)

_PROVIDERS: Final = Hosts(
    (
        *("api.openai.com", "*.api.openai.com", "*.openai.azure.com", "*.services.ai.azure.com"),
        *("api.anthropic.com", "generativelanguage.googleapis.com", "*aiplatform.googleapis.com"),
        *("bedrock-runtime*.amazonaws.com", "api.mistral.ai", "api.cohere.com", "api.cohere.ai", "api.deepseek.com"),
        *("api.groq.com", "api.x.ai", "api.perplexity.ai", "api.together.xyz", "openrouter.ai", "api.fireworks.ai"),
    )
)
"""Where the providers of language models answer who are paid by the call, as their API references say."""


class ModelUse(NamedTuple):
    """What a span says of a call to a language model; None for what it does not say."""

    model: str | None
    input_tokens: int | None
    output_tokens: int | None

    def __str__(self) -> str:
        """``gpt-4o-mini, 12 tokens in, 34 out``; empty where nothing is known."""
        said = [self.model] if self.model else []
        if self.input_tokens is not None:
            said.append(f"{self.input_tokens} tokens in")
        if self.output_tokens is not None:
            said.append(f"{self.output_tokens} {'' if self.input_tokens is not None else 'tokens '}out")
        return ", ".join(said)


def model_above(event: DependencyEvent) -> SpanFacts | None:
    """The span of a client for language models that a call was made for; None for other calls."""
    if event.span is not None and is_of_model(event.span):
        return event.span
    return next(filter(is_of_model, event.within), None)


def model_use(event: DependencyEvent) -> ModelUse | None:
    """The model and the tokens of a call to a language model; None for other calls."""
    span = model_above(event)
    if span is None:
        return None
    model = first_of(span.attributes, *_MODEL)
    return ModelUse(str(model) if model is not None else None, _number(span, _INPUT), _number(span, _OUTPUT))


def _number(span: SpanFacts, names: Sequence[str]) -> int | None:
    found = first_of(span.attributes, *names)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


_ASKED_BY: Final = (EventType.HTTP_CLIENT, EventType.CUSTOM)
"""The types of calls that ask models. To look at the spans of all others takes time: they are decoded for it."""


class PaidCalls:
    """Counts the calls to providers of language models that go out for real in a replay. Safe from any thread.

    A call is one of these if it goes to a host of a known provider, or where such calls went when they were recorded.

    Args:
        events: Gives the events of the recording, which are looked at when a call goes out, or the number is asked.
    """

    def __init__(self, events: Callable[[], Iterable[DependencyEvent]]) -> None:
        self._events = events
        self._lock = threading.RLock()
        self._number = 0
        self._hosts: frozenset[Address] | None = None
        self._has_models = False

    def went_out(self, address: str | None) -> None:
        """Note a call that goes out for real to this URL."""
        where = address_of_url(address) if address is not None else None
        if where is not None and (_PROVIDERS.allow(where) or where in self._recorded()):
            self.add()

    def add(self) -> None:
        """Count a call, as its span says that it is one."""
        with self._lock:
            self._number += 1

    @property
    def number(self) -> int | None:
        """How many went out; None where none did and the recording holds no such call."""
        if not self._number:
            self._recorded()
        return self._number if self._number or self._has_models else None

    def _recorded(self) -> frozenset[Address]:
        """Where the recorded calls went."""
        with self._lock:
            if self._hosts is None:
                found: set[Address] = set()
                for event in self._events():
                    if event.event_type not in _ASKED_BY or model_above(event) is None:
                        continue
                    self._has_models = True
                    where = address_of_url(event.signature.url or "")
                    if where is not None:
                        found.add(where)
                self._hosts = frozenset(found)
            return self._hosts
