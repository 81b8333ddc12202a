"""What hooks print: in memory only, bounded, for whoever follows the operation that ran them.

It is no decision: neither the core nor the journal nor the store ever sees it, and a service that goes down forgets it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

HOOKS_BYTES_MAX = 64 << 10
"""At most so much of what the hooks of one start or stop print is kept, and a note that it was cut."""
KEPT_BYTES_MAX = 16 << 20
"""At most so much is kept in all; the oldest goes first."""

HookSink = Callable[[bytes], object]
"""Takes what hooks print, stdout and stderr as they come; never blocks and never raises."""

_CUT = b"\n[cut after %d bytes]\n"
_ENTRY_BYTES = 256
"""What an entry takes in memory besides its text."""


class HookOutput(NamedTuple):
    """What the hooks of an operation printed for one workload, by what was done: stopping comes first."""

    stop: bytes = b""
    start: bytes = b""

    @property
    def whole(self) -> bytes:
        """All of it."""
        return self.stop + self.start

    def joined(self, later: HookOutput) -> HookOutput:
        """This and what came later, each part bounded again."""
        return HookOutput(_bounded(self.stop + later.stop), _bounded(self.start + later.start))


def _bounded(data: bytes) -> bytes:
    return data if len(data) <= HOOKS_BYTES_MAX else data[:HOOKS_BYTES_MAX] + _CUT % HOOKS_BYTES_MAX


class Collector:
    """A `HookSink` that keeps the first `HOOKS_BYTES_MAX` bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __call__(self, data: bytes) -> None:
        """See `HookSink`."""
        self._data += data[: HOOKS_BYTES_MAX + 1 - len(self._data)]

    def text(self) -> bytes:
        """What there is, with a note where more came."""
        return _bounded(bytes(self._data))


class HookOutputs:
    """Output by operation and workload, and by workload what no operation has been given yet (operation "").

    At most ``bytes_max`` bytes in all: the oldest is forgotten first.
    """

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], HookOutput] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, operation_id: str, workload_id: str) -> HookOutput:
        """What is kept; nothing where there is none, or it was forgotten."""
        return self._kept.get((operation_id, workload_id), HookOutput())

    def add(self, operation_id: str, workload_id: str, output: HookOutput) -> None:
        """Keep more."""
        if output.whole:
            key = operation_id, workload_id
            together = self.pop(*key).joined(output)
            self._kept[key] = together
            self._bytes += len(together.whole) + _ENTRY_BYTES
            while self._bytes > self._bytes_max:
                self.pop(*next(iter(self._kept)))

    def pop(self, operation_id: str, workload_id: str) -> HookOutput:
        """Forget what is kept, and return it."""
        found = self._kept.pop((operation_id, workload_id), None)
        if found is None:
            return HookOutput()
        self._bytes -= len(found.whole) + _ENTRY_BYTES
        return found
