"""How a command fails that talks to a service."""

from __future__ import annotations

from eru_sim.errors import EruError


class ServiceError(EruError):
    """The service said no, or nothing. ``status`` is gRPC's name for it; ``exit_code`` that of the command."""

    def __init__(self, status: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.status = status
        self.exit_code = exit_code
