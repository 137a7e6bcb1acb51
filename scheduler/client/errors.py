"""What can go wrong between a client and the scheduler: a small family of exceptions."""

from dataclasses import dataclass
from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that the scheduler refused: where, and what to do."""

    field: str
    description: str


class WestwardError(Exception):
    """``code`` is the name of a gRPC status code; ``violations`` are there for refused fields."""

    def __init__(self, message: str, *, code: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.violations = violations


class InvalidRequestError(WestwardError):
    """The request is wrong in itself; sending it again will not help."""


class NotFoundError(WestwardError):
    """There is no such thing."""


class ConflictError(WestwardError):
    """It clashes with what is there, e.g. an idempotency key with another spec."""


class RefusedError(WestwardError):
    """The token is missing, wrong, or does not allow this."""


class UnreachableError(WestwardError):
    """The scheduler does not answer, after retries. Whether it acted is not known."""


class SchedulerError(WestwardError):
    """The scheduler failed; its log has more."""


_KINDS: dict[grpc.StatusCode, type[WestwardError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.UNAUTHENTICATED: RefusedError,
    grpc.StatusCode.PERMISSION_DENIED: RefusedError,
    grpc.StatusCode.UNAVAILABLE: UnreachableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnreachableError,
}


def from_rpc(error: grpc.RpcError, address: str) -> WestwardError:
    """The exception of our family for a failed call, field violations included."""
    call = cast(grpc.Call, error)
    code = call.code()
    kind = _KINDS.get(code, SchedulerError)
    message = call.details() or code.name
    if kind is UnreachableError:
        message = f"the scheduler at {address} cannot be reached: {_cause(message)}"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        message = (
            f"what answers at {address} is no scheduler of this version: {message}. "
            "Is the address right? Is a proxy (http_proxy) in between?"
        )
    return kind(message, code=code.name, violations=_violations(call))


def _cause(details: str) -> str:
    """What matters of gRPC's account of a failed connection."""
    if details.startswith(("failed to connect", "errors resolving")):
        return details.rsplit(": ", 1)[-1].rstrip("]")
    return details


def _violations(call: grpc.Call) -> tuple[Violation, ...]:
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # a server that contradicts itself; its plain code and message still stand
        return ()
    found: list[Violation] = []
    for detail in status.details if status is not None else ():
        bad = error_details_pb2.BadRequest()
        if detail.Is(bad.DESCRIPTOR) and detail.Unpack(bad):
            found.extend(Violation(v.field, v.description) for v in bad.field_violations)
    return tuple(found)
