"""Who may call: whoever sends the configured bearer token."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

# Probes of orchestrators carry no token.
OPEN_SERVICES = ("/grpc.health.v1.Health/",)


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without ``authorization: Bearer <token>``."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(OPEN_SERVICES):
            return handler
        sent = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        raw = sent if isinstance(sent, bytes) else sent.encode()
        if hmac.compare_digest(raw, self._expected):
            return handler
        return _refusing(handler)


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "this scheduler asks for a token: set WESTWARD_TOKEN, or `token` in the configuration",
    )


async def _refuse_stream(_: Any, context: Any) -> Any:
    await _refuse(_, context)
    yield None


def _refusing(handler: Any) -> Any:
    """A handler of the same shape that refuses."""
    if handler.request_streaming:
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(_refuse_stream)
        return grpc.stream_unary_rpc_method_handler(_refuse)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(_refuse_stream)
    return grpc.unary_unary_rpc_method_handler(_refuse)
