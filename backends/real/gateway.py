"""The port between the live driver and whatever carries commands out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

from backends.real.engines.base import Engine
from backends.real.hook_output import HookOutput
from scheduler.commands import AnyCommand
from scheduler.events import AnyEvent

Report = Callable[[AnyEvent], None]
"""Takes a completion, in the event loop's thread; never blocks and never raises."""


class Found(NamedTuple):
    """One generation of a workload as an engine has it.

    ``state``: it has been told to start it and will still answer ("starting"), it has been told to stop it and will
    still answer ("stopping"), it runs, or it has ended, with ``exit_code``. ``updating`` is the revision of an update
    for which it will still answer, 0 for none.
    """

    state: Literal["starting", "stopping", "running", "exited"]
    exit_code: int = 0
    updating: int = 0


class Survey(NamedTuple):
    """What engines have now.

    ``found`` has it by node, and within a node by workload id and generation; a node that does not answer is missing.
    """

    found: Mapping[str, Mapping[tuple[str, int], Found]]


class Gateway(Protocol):
    """Carries commands out, and reports completions. Only what is durable in the journal is ever handed to it."""

    def execute(self, commands: Iterable[AnyCommand]) -> None:
        """Begin with these commands; each is idempotent. Commands for one workload are carried out in this order.

        Does not block: completions are reported later, never from within this call.
        """

    def connect(self, report: Report) -> None:
        """From now on, completions go there. A new driver takes over so from one that has crashed."""

    async def survey(self) -> Survey:
        """Ask every engine what it has."""


class NodeGateway(Gateway, Protocol):
    """A gateway that is told which engine serves which node."""

    on_gap: Callable[[], object]
    on_hook_output: Callable[[str, HookOutput], object]
    is_forced: Callable[[str], bool]

    def set_engine(self, node_id: str, engine: Engine) -> None:
        """From now on this engine serves the node."""

    def drop_engine(self, node_id: str) -> None:
        """Nothing is commanded on the node any more."""

    def engine(self, node_id: str) -> Engine | None:
        """The engine of a node."""

    async def close(self) -> None:
        """Stop commanding."""
