"""Failures on the wire: a google.rpc.Status with a code, a sentence and the refused fields."""

import functools
import inspect
import uuid
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

from scheduler.dispatch.dispatcher import NotForcedError
from scheduler.domain.transitions import IllegalTransitionError
from scheduler.domain.validation import Violation
from scheduler.rpc.convert_jobs import MalformedError
from scheduler.state.feed import SlowWatcherError
from scheduler.state.jobs import AlreadyEndedError, KeyConflictError, UnknownJobError
from scheduler.state.wishes import NotInterruptibleError
from scheduler.store.errors import BlobError, StaleVersionError, StoreError

log = structlog.get_logger(__name__)
Method = TypeVar("Method", bound=Callable[..., Any])

# Clients refuse more than 8 KiB of metadata as a whole, and the sentence travels percent-encoded.
MESSAGE_MOST_BYTES = 1000
DETAILS_MOST_BYTES = 3000
DESCRIPTION_MOST = 400


class StatusError(Exception):
    """An answer other than OK, decided on."""

    def __init__(
        self, code: grpc.StatusCode, message: str, violations: Sequence[Violation] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = _cut(message)
        self.violations = tuple(violations)

    def status(self) -> status_pb2.Status:
        """The rich form; as many violations as metadata can carry."""
        status = status_pb2.Status(code=self.number, message=self.message)
        bad = error_details_pb2.BadRequest()
        for violation in self.violations:
            bad.field_violations.add(
                field=violation.field[:DESCRIPTION_MOST],
                description=violation.description[:DESCRIPTION_MOST],
            )
            if bad.ByteSize() > DETAILS_MOST_BYTES - status.ByteSize():
                del bad.field_violations[-1]
                break
        if bad.field_violations:
            packed = AnyMessage()
            packed.Pack(bad)
            status.details.append(packed)
        return status

    @property
    def number(self) -> int:
        """The code as google.rpc.Code numbers it."""
        return int(code_pb2.Code.Value(self.code.name))


def invalid(violations: Sequence[Violation]) -> StatusError:
    """INVALID_ARGUMENT, naming every refused field."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    message = f"{first.field}: {first.description}{more}"
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message, violations)


def not_found(message: str) -> StatusError:
    """NOT_FOUND."""
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


_CODES: dict[type[Exception], grpc.StatusCode] = {
    UnknownJobError: grpc.StatusCode.NOT_FOUND,
    KeyConflictError: grpc.StatusCode.ALREADY_EXISTS,
    AlreadyEndedError: grpc.StatusCode.FAILED_PRECONDITION,
    NotInterruptibleError: grpc.StatusCode.FAILED_PRECONDITION,
    NotForcedError: grpc.StatusCode.FAILED_PRECONDITION,
    IllegalTransitionError: grpc.StatusCode.FAILED_PRECONDITION,
    StaleVersionError: grpc.StatusCode.ABORTED,
    SlowWatcherError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    # Nothing was acknowledged: the client may try again, with its idempotency key.
    StoreError: grpc.StatusCode.UNAVAILABLE,
}


def status_error(error: Exception) -> StatusError:
    """What a failure is on the wire. One that nobody foresaw is logged under an id, and only the
    id is told."""
    if isinstance(error, StatusError):
        return error
    if isinstance(error, MalformedError):
        return invalid(error.violations)
    if isinstance(error, BlobError):
        return invalid([Violation(error.field, error.description)])
    code = _CODES.get(type(error))
    if code is not None:
        return StatusError(code, str(error))
    error_id = uuid.uuid4().hex[:12]
    log.error("rpc.unexpected", error_id=error_id, exc_info=error)
    return StatusError(
        grpc.StatusCode.INTERNAL, f"unexpected failure; the scheduler's log has it as {error_id}"
    )


def answers(method: Method) -> Method:
    """Makes a servicer's method, unary or streaming, end its failures as rich statuses."""
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        async def stream(self: Any, request: Any, context: Any) -> Any:
            failure = None
            try:
                async with aclosing(method(self, request, context)) as answered:
                    async for answer in answered:
                        yield answer
            except Exception as error:
                failure = error
            if failure is not None:
                await _abort(context, failure)

        return cast(Method, stream)

    @functools.wraps(method)
    async def unary(self: Any, request: Any, context: Any) -> Any:
        try:
            return await method(self, request, context)
        except Exception as error:
            failure = error
        return await _abort(context, failure)

    return cast(Method, unary)


async def _abort(context: Any, failure: Exception) -> None:
    error = status_error(failure)
    details = (("grpc-status-details-bin", error.status().SerializeToString()),)
    await context.abort(error.code, error.message, details)


def _cut(message: str) -> str:
    data = message.encode()
    if len(data) <= MESSAGE_MOST_BYTES:
        return message
    return data[:MESSAGE_MOST_BYTES].decode(errors="ignore") + "…"
