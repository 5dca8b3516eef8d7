"""Where botocore is patched: the search for credentials, and the choice of those that sign a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import replays
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, guarded_async
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_LIB: Final = "botocore"
_CALLING: Final = frozenset(
    {
        "assume-role",
        "assume-role-with-web-identity",
        "container-role",
        "custom-process",
        "iam-role",
        "login",
        "sso",
    }
)
"""The methods of botocore's own providers that ask a server for credentials, or start a program that does."""

_OPENS_NOTHING: Final = {
    "access_key": "TIMETRACER0REPLAY000",
    "secret_key": "no-secret-is-needed-in-a-replay",
    "method": "timetracer-replay",
}


def patches(module: ModuleType) -> list[Patch]:
    """The patches of one of the modules of botocore and aiobotocore."""
    where: Any = module
    is_async = module.__name__.startswith("aiobotocore")
    guard = guarded_async if is_async else guarded
    if module.__name__.endswith(".credentials"):
        resolver = where.AioCredentialResolver if is_async else where.CredentialResolver
        return [Patch(resolver, "load_credentials", partial(_loads, guard, is_async))]
    signer = where.AioRequestSigner if is_async else where.RequestSigner
    return [Patch(signer, "get_auth_instance", partial(_chooses, guard, is_async))]


def _loads(guard: Callable[..., Function], is_async: bool, original: Function) -> Function:
    """A client looks for credentials. A replay asks no server for them."""

    def begin(session: BaseSession, resolver: Any) -> Flow | None:
        return found_here(resolver) if replays(_LIB, session) else None

    def found_here(resolver: Any) -> Flow:
        for provider in resolver.providers:
            if provider.METHOD not in _CALLING:
                credentials = yield AppStep(provider.load)
                if credentials is not None:
                    return credentials
        return _stand_in(is_async)

    return guard(_LIB, original, begin)


def _chooses(guard: Callable[..., Function], is_async: bool, original: Function) -> Function:
    """A request is to be signed. A client may be older than the replay, and then has found no credentials."""

    def begin(
        session: BaseSession,
        signer: Any,
        signing_name: Any,
        region_name: Any,
        signature_version: Any = None,
        request_credentials: Any = None,
        **options: Any,
    ) -> AppStep | None:
        if request_credentials is None and _must_be_asked_for(signer._credentials) and replays(_LIB, session):
            request_credentials = _stand_in(is_async)
            return AppStep(
                original, signer, signing_name, region_name, signature_version, request_credentials, **options
            )
        return None

    return guard(_LIB, original, begin)


def _must_be_asked_for(credentials: Any) -> bool:
    """Whether a client has no credentials, or such as come from a server and end."""
    from botocore.credentials import RefreshableCredentials

    return credentials is None or isinstance(credentials, RefreshableCredentials)


def _stand_in(is_async: bool) -> Any:
    """Credentials that open nothing. What they sign is answered from the recording, and no signature is compared."""
    if is_async:
        from aiobotocore.credentials import AioCredentials

        return AioCredentials(**_OPENS_NOTHING)
    from botocore.credentials import Credentials

    return Credentials(**_OPENS_NOTHING)
