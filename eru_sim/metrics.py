"""Metrics of a run, one definition each, gathered batch by batch.

* *utilisation* of a dimension: the integral of what is allocated on live nodes over the integral of the physical
  capacity of live nodes, from the first event to the end of the run; in a run that takes no time, what is allocated at
  its end over the capacity there. With overcommitment it can exceed 1.
* *queueing delay*: from submission to the first placement, of workloads that were placed. What was adopted has none.
* *pending*: queued at the end of the run.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from scheduler.commands import AnyCommand, StartWorkload
from scheduler.core import Core
from scheduler.events import AnyEvent

if TYPE_CHECKING:
    import pandas as pd

_SAMPLES_MAX = 1024
_FIRST_INTERVAL_NS = 1_000_000_000
_COUNTS = ("queued", "starting", "running", "stopping", "completed", "failed", "killed", "rejected", "lost")


class MetricsState(msgspec.Struct, kw_only=True):
    """What `Metrics` has gathered. ``delays_ns`` are int64, little-endian."""

    delays_ns: bytes
    first_ns: int | None
    last_ns: int
    used_integral: list[str]
    capacity_integral: list[str]
    last_used: list[int]
    last_capacity: list[int]
    samples: list[tuple[int, ...]]
    interval_ns: int
    next_sample_ns: int


class Metrics:
    """An observer of the driver. Keeps sums, 8 bytes a placement, and at most `_SAMPLES_MAX` samples over time."""

    def __init__(self, core: Core) -> None:
        self._core = core
        dimensions = len(core.config.dimensions)
        self.delays_ns = array("q")
        self.first_ns: int | None = None
        self._last_ns = 0
        self._used_integral = [0] * dimensions
        self._capacity_integral = [0] * dimensions
        self._last_used = [0] * dimensions
        self._last_capacity = [0] * dimensions
        self._samples: list[tuple[int, ...]] = []
        self._interval_ns = _FIRST_INTERVAL_NS
        self._next_sample_ns = 0

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Take in one step."""
        core = self._core
        elapsed_ns = at_ns - self._last_ns
        if self.first_ns is None:
            self.first_ns = self._last_ns = at_ns
        elif elapsed_ns:
            self._advance(elapsed_ns)
            self._last_ns = at_ns
        self._last_used = core.ledger.live_used.copy()
        self._last_capacity = core.cluster.live_capacity.copy() or self._last_capacity
        for command in commands:
            if type(command) is StartWorkload and command.generation == 1:
                workload = core.workloads[command.workload_id]
                if workload.placed_ns == at_ns:  # and not the repetition of a start that was not answered
                    self.delays_ns.append(at_ns - workload.submitted_ns)
        if at_ns >= self._next_sample_ns:
            self._sample(at_ns)

    def _advance(self, elapsed_ns: int) -> None:
        for dimension, amount in enumerate(self._last_used):
            self._used_integral[dimension] += amount * elapsed_ns
        for dimension, amount in enumerate(self._last_capacity):
            self._capacity_integral[dimension] += amount * elapsed_ns

    def finish(self, end_ns: int) -> None:
        """Close the books at the end of the run."""
        if self.first_ns is not None and end_ns > self._last_ns:
            self._advance(end_ns - self._last_ns)
            self._last_ns = end_ns
        self._sample(end_ns)

    def _sample(self, at_ns: int) -> None:
        core = self._core
        parts = core.partition()
        self._samples.append(
            (
                at_ns,
                *(parts[name] for name in _COUNTS),
                core.cluster.live_count,
                *(core.cluster.live_capacity or [0] * len(self._used_integral)),
                *core.ledger.live_used,
                *core.queue.demand(),
            )
        )
        if len(self._samples) >= _SAMPLES_MAX:
            del self._samples[1::2]
            self._interval_ns *= 2
        self._next_sample_ns = at_ns + self._interval_ns

    def dump(self) -> bytes:
        """Return what was gathered as MessagePack."""
        state = MetricsState(
            delays_ns=self._delays().astype("<i8").tobytes(),
            first_ns=self.first_ns,
            last_ns=self._last_ns,
            used_integral=[str(integral) for integral in self._used_integral],  # beyond 64 bits
            capacity_integral=[str(integral) for integral in self._capacity_integral],
            last_used=self._last_used,
            last_capacity=self._last_capacity,
            samples=self._samples,
            interval_ns=self._interval_ns,
            next_sample_ns=self._next_sample_ns,
        )
        return msgspec.msgpack.encode(state)

    def load(self, data: bytes) -> None:
        """Take over what was dumped with an equal core. msgspec.DecodeError for other data."""
        import numpy as np

        state = msgspec.msgpack.decode(data, type=MetricsState)
        self.delays_ns = array("q", np.frombuffer(state.delays_ns, dtype="<i8").astype(np.int64).tobytes())
        self.first_ns = state.first_ns
        self._last_ns = state.last_ns
        self._used_integral = [int(integral) for integral in state.used_integral]
        self._capacity_integral = [int(integral) for integral in state.capacity_integral]
        self._last_used = state.last_used
        self._last_capacity = state.last_capacity
        self._samples = state.samples
        self._interval_ns = state.interval_ns
        self._next_sample_ns = state.next_sample_ns

    def utilisation(self) -> dict[str, float]:
        """By dimension; 0 where there was no capacity."""
        names = (dimension.name for dimension in self._core.config.dimensions)
        integrals = self._used_integral, self._capacity_integral
        if not any(self._capacity_integral):
            integrals = self._last_used, self._last_capacity
        pairs = zip(names, *integrals, strict=True)
        return {name: used / capacity if capacity else 0.0 for name, used, capacity in pairs}

    def queueing_delay_s(self) -> dict[str, float]:
        """Quantiles (linear interpolation) and mean, in seconds; zeros where nothing was placed."""
        import numpy as np

        if not self.delays_ns:
            return dict.fromkeys(("p50", "p90", "p99", "mean"), 0.0)
        delays = self.delays_s()
        quantiles = np.quantile(delays, (0.5, 0.9, 0.99)).tolist()
        return dict(zip(("p50", "p90", "p99", "mean"), [*quantiles, float(delays.mean())], strict=True))

    def delays_s(self) -> Any:
        """The queueing delays as float64 seconds, in order of placement."""
        return self._delays() / 1e9

    def _delays(self) -> Any:
        import numpy as np

        return np.frombuffer(self.delays_ns, dtype=np.int64) if self.delays_ns else np.zeros(0, dtype=np.int64)

    def timeline(self) -> pd.DataFrame:
        """The samples: counts by part, live nodes, and allocated and demanded share of live capacity by dimension."""
        import numpy as np
        import pandas as pd

        names = [dimension.name for dimension in self._core.config.dimensions]
        data = np.array(self._samples, dtype=np.float64).reshape(len(self._samples), -1)
        fixed = ("at_ns", *_COUNTS, "live_nodes")
        columns: dict[str, Any] = {"at_s": data[:, 0] / 1e9}
        for position, name in enumerate(fixed[1:], start=1):
            columns[name] = data[:, position].astype(np.int64)
        capacity, used, queued = np.split(data[:, len(fixed) :], 3, axis=1)
        safe = np.where(capacity > 0, capacity, np.inf)
        for dimension, name in enumerate(names):
            columns[f"allocated_{name}_ratio"] = used[:, dimension] / safe[:, dimension]
            columns[f"demanded_{name}_ratio"] = (used + queued)[:, dimension] / safe[:, dimension]
        return pd.DataFrame(columns)
