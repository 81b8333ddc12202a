"""What becomes of exceptions: gRPC's own statuses."""

from __future__ import annotations

from backends.real.driver import DriverStopped, Overloaded
from backends.real.engines.base import EngineError, NotFound, Unreachable, Unsupported
from backends.real.errors import Conflict, Exists, Missing, Rejected
from backends.real.service.errors import CallError, Status
from backends.real.stores.base import StoreError

_STATUSES: tuple[tuple[type[Exception], Status], ...] = (
    (Rejected, Status.INVALID_ARGUMENT),
    (Missing, Status.NOT_FOUND),
    (Exists, Status.ALREADY_EXISTS),
    (Conflict, Status.FAILED_PRECONDITION),
    (Overloaded, Status.RESOURCE_EXHAUSTED),
    (DriverStopped, Status.UNAVAILABLE),
    (Unreachable, Status.UNAVAILABLE),
    (NotFound, Status.NOT_FOUND),
    (Unsupported, Status.UNIMPLEMENTED),
    (EngineError, Status.FAILED_PRECONDITION),
    (StoreError, Status.UNAVAILABLE),
)


def translate(method: str, error: Exception) -> CallError | None:
    """The status of a call that failed; None for what is a bug."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return CallError(status, str(error))
    return None


def one_line(error: Exception) -> str:
    """What is said of one node or workload of several."""
    return " ".join(str(error).split())[:500] or type(error).__name__
