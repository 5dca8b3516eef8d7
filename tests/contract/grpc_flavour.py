"""gRPC channels in the words of the contract: blocking and asyncio."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from grpc import _channel as blocking_channels  # type: ignore[import-untyped]
from grpc.aio import _call as async_calls  # type: ignore[import-untyped]
from grpc.aio import _channel as async_channels  # type: ignore[import-untyped]

from tests.contract.framework import Case, Flavour, methods_of
from tests.contract.grpc_cases import CASES
from tests.servers.grpc_service import GrpcService
from timetracer_otel.plugins import disable_grpc, enable_grpc

__all__ = ["FLAVOUR", "AsyncGrpcFlavour", "EveryChannel", "GrpcFlavour"]

_NOWHERE = "127.0.0.1:1"


class GrpcFlavour(Flavour):
    """Blocking channels."""

    name = "grpc"
    asynchronous = False
    features = frozenset({"blocking"})

    def __init__(self) -> None:
        self._service: GrpcService | None = None
        self._elsewhere: str | None = None
        self._untouched = self._functions()

    @staticmethod
    def _functions() -> dict[Any, Any]:
        return methods_of(blocking_channels, async_calls, async_channels)

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own channels."""
        return CASES.fitting(self.features)

    @property
    def address(self) -> str:
        """Where the server listens."""
        if self._elsewhere is not None:
            return self._elsewhere
        assert self._service is not None
        return self._service.address

    def channel(self, *interceptors: Any, nowhere: bool = False) -> Any:
        """A channel to the server, or to where nobody listens."""
        return grpc.insecure_channel(_NOWHERE if nowhere else self.address)

    @staticmethod
    def with_call(method: Any, request: Any, **options: Any) -> Any:
        """A message, and the call that it came by."""
        return method.with_call(request, **options)

    def start(self, folder: Path) -> None:
        self._service = GrpcService()

    def reset(self) -> None:
        pass

    def stop(self) -> None:
        assert self._service is not None
        self._service.stop()

    def tear_down(self) -> None:
        if self._service is not None:
            self._service.close()

    def enable(self) -> None:
        enable_grpc()

    def disable(self) -> None:
        disable_grpc()

    def is_untouched(self) -> bool:
        return self._functions() == self._untouched

    def perform(self, case: Case) -> Any:
        value = case.run(self)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    def told(self) -> str:
        """What another process needs to know of the server."""
        return self.address

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        """The server belongs to another process, or listens no more."""
        self._elsewhere = told.removeprefix("grpc://")
        if gone:
            GrpcService.leave(self._elsewhere)


class AsyncGrpcFlavour(GrpcFlavour):
    """Channels of asyncio."""

    name = "grpc.aio"
    asynchronous = True
    features = frozenset({"asyncio"})

    def channel(self, *interceptors: Any, nowhere: bool = False) -> Any:
        return grpc.aio.insecure_channel(_NOWHERE if nowhere else self.address, interceptors=interceptors or None)

    @staticmethod
    async def with_call(method: Any, request: Any, **options: Any) -> Any:
        call = method(request, **options)
        return await call, call


class EveryChannel(GrpcFlavour):
    """Both in turn, in one process."""

    name = "all gRPC channels"
    _kinds = (GrpcFlavour, AsyncGrpcFlavour)

    @property
    def cases(self) -> list[Case]:
        """The cases of each of them."""
        return [
            Case(f"{kind.name}, {case.name}", partial(self._with, kind, case))
            for kind in self._kinds
            for case in CASES.fitting(kind.features)
        ]

    def _with(self, kind: type[GrpcFlavour], case: Case, _: Any) -> Any:
        flavour = kind()
        flavour._elsewhere = self.address
        return case.run(flavour)


FLAVOUR = EveryChannel
