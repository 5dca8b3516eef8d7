"""Where botocore is patched: the search for credentials, their refreshing, and the choice of those that sign."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import flow, records, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded, guarded_async
from timetracer_otel.libraries.botocore.search import LIB, Search, found_none
from timetracer_otel.libraries.kits.http.credentials import asking_for_credentials
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]

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
        ending = where.AioRefreshableCredentials if is_async else where.RefreshableCredentials
        return [
            Patch(resolver, "load_credentials", partial(_loads, guard, is_async)),
            Patch(ending, "_protected_refresh", partial(_refreshes, guard)),
        ]
    signer = where.AioRequestSigner if is_async else where.RequestSigner
    return [Patch(signer, "get_auth_instance", partial(_chooses, guard, is_async))]


def _loads(guard: Callable[..., Function], is_async: bool, original: Function) -> Function:
    """A client looks for credentials. A replay asks no server for them."""

    def begin(session: BaseSession, resolver: Any) -> Flow | None:
        if not replays(LIB, session):
            return flow(Search(AppStep(original, resolver)), session) if records(LIB, session) else None
        assert isinstance(session, ReplaySession)
        return Done(None) if found_none(session) else found_here(resolver)

    def found_here(resolver: Any) -> Flow:
        for provider in resolver.providers:
            if provider.METHOD not in _CALLING:
                credentials = yield AppStep(provider.load)
                if credentials is not None:
                    return credentials
        return _stand_in(is_async)

    return guard(LIB, original, begin)


def _refreshes(guard: Callable[..., Function], original: Function) -> Function:
    """Credentials have ended, and others are asked for."""

    def begin(session: BaseSession, *args: Any, **options: Any) -> Flow | None:
        if not records(LIB, session):
            return None
        return asking_for_credentials.around(True, AppStep(original, *args, **options))

    return guard(LIB, original, begin)


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
    ) -> Flow | AppStep | None:
        if request_credentials is not None or not _must_be_asked_for(signer._credentials):
            return None
        given = signer, signing_name, region_name, signature_version
        if replays(LIB, session):
            assert isinstance(session, ReplaySession)
            if signer._credentials is None and found_none(session):
                return None
            return AppStep(original, *given, _stand_in(is_async), **options)
        if signer._credentials is None and records(LIB, session):
            return noted(session, AppStep(original, *given, None, **options))
        return None

    def noted(session: BaseSession, live: AppStep) -> Flow:
        # An older client has searched before the recording began.
        yield from flow(Search(AppStep(_none_later if is_async else _none)), session)
        return (yield live)

    return guard(LIB, original, begin)


def _none() -> None:
    """No credentials."""


async def _none_later() -> None:
    """The same, for a client of asyncio."""


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
