"""Outcomes of a run: one row a workload, gathered batch by batch.

Theory of operation. `Outcomes` stands beside a core and is shown every batch after the core has applied it. It keeps
columns, not objects, and a dictionary of live workloads alone. A workload has ended when the core does not know it any
more; the event that names it, or the published result, tells how. Whether a new start was a placement, and what went
before it, follows from the commands and answers since the start before. One thing cannot be told apart: a late exit
from a lost node and a removal that meet in one batch count as an exit.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eru_sim.feed import copies
from scheduler.commands import AnyCommand, PublishResult, StartWorkload, StopWorkload
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    DissociateRequested,
    NodeLost,
    NodeRemoved,
    RemovalRequested,
    StartRequested,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
)
from scheduler.lifecycle import State
from scheduler.workload import Workload

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from eru_sim.simulation import Progress
    from scheduler.policies import Policy

_UNKNOWN = -(1 << 63)
_STATES = tuple(State)
_CODE = {state: code for code, state in enumerate(_STATES)}
_LIVE = len(_STATES)
_PUBLISHED = {
    "rejected": State.REJECTED,
    "lost": State.LOST,
    "failed": State.FAILED,
    "killed": State.KILLED,
    "completed": State.COMPLETED,
    "dissociated": State.DISSOCIATED,
}

# What is known of the present generation of a workload. `_LEFT`: it left its node, and that is no eviction.
_CONFIRMED, _LEFT, _IS_OVER, _IS_SUCCESSOR, _RESTARTS = 1, 2, 4, 8, 16
_TO_HOLD, _TO_REPLACE, _TO_KILL, _TO_MOVE, _TO_MAKE_WAY = 32, 64, 128, 256, 512
_STOP_FLAGS = {
    "hold": _TO_HOLD, "replace": _TO_REPLACE, "kill": _TO_KILL, "evict": _TO_MOVE, "preempt": _TO_MAKE_WAY,
    "fence": _IS_OVER,
}  # fmt: skip
_ANY_STOP = _TO_HOLD | _TO_REPLACE | _TO_KILL | _TO_MOVE | _TO_MAKE_WAY | _IS_OVER


class Outcomes:
    """An observer of the driver: attach it to a core that has not stepped yet.

    About 115 bytes a workload and 8 more a dimension, beside the texts of its ids; 120 more while it is live.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._live: dict[str, int] = {}
        self._being_killed: dict[str, None] = {}
        self._workload_ids, self._job_ids = _Texts(), _Texts()
        self._tenants, self._apps, self._nodes = _Categories(), _Categories(), _Categories()
        self._requests = [array("q") for _ in core.config.dimensions]
        self._priority, self._sequence = array("q"), array("q")
        self._estimate_ns, self._submitted_ns = array("q"), array("q")
        self._placed_ns, self._started_ns, self._ended_ns = array("q"), array("q"), array("q")
        self._exit_code = array("q")
        self._outcome, self._flags = array("b"), array("H")
        self._generation, self._placements = array("i"), array("i")
        self._evictions, self._preemptions = array("i"), array("i")

    def __len__(self) -> int:
        """How many workloads there were so far."""
        return len(self._outcome)

    # -- what the driver tells --------------------------------------------------------------------------------------

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Take in one step."""
        for event in events:
            kind = type(event)
            if kind is WorkloadExited:
                self._on_exited(at_ns, event)  # type: ignore[arg-type]
            elif kind is WorkloadStarted:
                self._on_started(at_ns, event)  # type: ignore[arg-type]
            elif kind is WorkloadsSubmitted:
                self._on_submitted(at_ns, event, commands)  # type: ignore[arg-type]
            else:
                self._on_other_event(at_ns, event, commands)
        for command in commands:
            if type(command) is StartWorkload:
                self._on_start(at_ns, command)
            elif type(command) is StopWorkload:
                self._on_stop(command)
            elif type(command) is PublishResult and command.outcome in _PUBLISHED:
                row = self._live.get(command.subject)
                if row is not None and self._is_gone(command.subject, row):
                    self._end(row, command.subject, at_ns, _PUBLISHED[command.outcome])

    def _on_submitted(self, at_ns: int, event: WorkloadsSubmitted, commands: Sequence[AnyCommand]) -> None:
        """Record the copies that the core accepted. One that it does not know was rejected at once, or never was."""
        for workload_id in copies(event.workload_id, event.count):
            workload = self._core.workloads.get(workload_id)
            row = self._live.get(workload_id)
            if row is not None and not self._is_gone(workload_id, row):
                continue
            if workload is not None and workload.spec is event:
                self._add(workload_id, workload.spec, workload.submitted_ns, workload.sequence)
            elif workload is None and _published(workload_id, commands) is State.REJECTED:
                self._end(self._add(workload_id, event, at_ns, -1), workload_id, at_ns, State.REJECTED)

    def _on_adopted(self, at_ns: int, event: WorkloadAdopted) -> None:
        workload = self._core.workloads.get(event.spec.workload_id)
        if workload is None or workload.spec is not event.spec:
            return
        row = self._add(workload.workload_id, workload.spec, workload.submitted_ns, workload.sequence)
        self._generation[row] = 1
        self._started_ns[row] = at_ns
        self._nodes.codes[row] = self._nodes.code(event.node_id)

    def _on_started(self, at_ns: int, event: WorkloadStarted) -> None:
        row = self._row_of(event.workload_id, event.generation)
        if row is not None and not self._flags[row] & _CONFIRMED:
            workload = self._core.workloads.get(event.workload_id)
            if workload is None or workload.generation != event.generation or workload.row >= 0:
                self._flags[row] |= _CONFIRMED
                self._started_ns[row] = at_ns

    def _on_exited(self, at_ns: int, event: WorkloadExited) -> None:
        row = self._row_of(event.workload_id, event.generation)
        if row is None or self._flags[row] & _IS_OVER or not self._is_gone(event.workload_id, row):
            return
        self._exit_code[row] = event.exit_code
        self._end(row, event.workload_id, at_ns, State.FAILED if event.exit_code else State.COMPLETED)

    def _on_other_event(self, at_ns: int, event: AnyEvent, commands: Sequence[AnyCommand]) -> None:
        if isinstance(event, WorkloadStopped):
            self._on_stopped(at_ns, event)
        elif isinstance(event, WorkloadStartFailed):
            self._on_start_failed(event)
        elif isinstance(event, WorkloadAdopted):
            self._on_adopted(at_ns, event)
        elif isinstance(event, RemovalRequested | DissociateRequested):
            row = self._live.get(event.workload_id)
            if row is not None and self._is_gone(event.workload_id, row):
                asked = State.KILLED if isinstance(event, RemovalRequested) else State.DISSOCIATED
                outcome = _published(event.workload_id, commands) or asked
                if outcome is State.KILLED and not self._flags[row] & (_TO_HOLD | _TO_KILL):
                    self._note_left_node(row)
                self._end(row, event.workload_id, at_ns, outcome)
        elif isinstance(event, StartRequested):
            row = self._live.get(event.workload_id)
            if row is not None and self._flags[row] & _TO_HOLD:
                self._flags[row] |= _RESTARTS
        elif isinstance(event, NodeLost | NodeRemoved):
            for workload_id in list(self._being_killed):
                row = self._live[workload_id]
                if self._is_gone(workload_id, row):
                    self._end(row, workload_id, at_ns, State.KILLED)

    def _on_stopped(self, at_ns: int, event: WorkloadStopped) -> None:
        row = self._row_of(event.workload_id, event.generation)
        if row is None:
            return
        if self._flags[row] & _TO_KILL and self._is_gone(event.workload_id, row):
            self._end(row, event.workload_id, at_ns, State.KILLED)
        elif self._flags[row] & _TO_REPLACE:
            self._flags[row] |= _RESTARTS
        elif self._flags[row] & _TO_MAKE_WAY:
            self._flags[row] |= _IS_OVER | _LEFT
        elif self._flags[row] & (_TO_HOLD | _TO_MOVE):
            self._flags[row] |= _IS_OVER

    def _on_start_failed(self, event: WorkloadStartFailed) -> None:
        row = self._row_of(event.workload_id, event.generation)
        if row is None:
            return
        workload = self._core.workloads.get(event.workload_id)
        if workload is None or workload.state is State.BACKOFF or self._flags[row] & _TO_MAKE_WAY:
            self._flags[row] |= _LEFT
        elif self._flags[row] & (_TO_REPLACE | _IS_SUCCESSOR):
            self._flags[row] |= _RESTARTS

    def _on_start(self, at_ns: int, command: StartWorkload) -> None:
        row = self._live.get(command.workload_id)
        if row is None:
            workload = self._core.workloads[command.workload_id]
            row = self._add(workload.workload_id, workload.spec, workload.submitted_ns, workload.sequence)
        elif command.generation == self._generation[row]:
            return
        node = self._nodes.code(command.node_id)
        flags = self._flags[row]
        if flags & _RESTARTS and node == self._nodes.codes[row]:
            self._flags[row] = _IS_SUCCESSOR if flags & _TO_REPLACE else 0
        else:
            if self._generation[row]:
                self._note_left_node(row)
            else:
                self._placed_ns[row] = at_ns
            self._placements[row] += 1
            self._flags[row] = 0
        self._generation[row] = command.generation
        self._started_ns[row] = at_ns
        self._nodes.codes[row] = node
        self._being_killed.pop(command.workload_id, None)

    def _on_stop(self, command: StopWorkload) -> None:
        row = self._row_of(command.workload_id, command.generation)
        if row is None:
            return
        flag = _STOP_FLAGS[command.reason]
        if command.reason == "preempt" and not self._flags[row] & flag:
            self._preemptions[row] += 1
        self._flags[row] = self._flags[row] & ~_ANY_STOP | flag
        if command.reason == "kill":
            self._being_killed[command.workload_id] = None

    # -- rows -------------------------------------------------------------------------------------------------------

    def _add(self, workload_id: str, spec: WorkloadsSubmitted, submitted_ns: int, sequence: int) -> int:
        row = len(self._outcome)
        self._live[workload_id] = row
        self._workload_ids.append(workload_id)
        self._job_ids.append(spec.job_id)
        self._tenants.append(spec.tenant)
        self._apps.append(spec.app)
        self._nodes.codes.append(-1)
        for column, amount in zip(self._requests, spec.request, strict=True):
            column.append(amount)
        self._priority.append(spec.priority)
        self._sequence.append(sequence)
        self._estimate_ns.append(_UNKNOWN if spec.estimate_ns is None else spec.estimate_ns)
        self._submitted_ns.append(submitted_ns)
        for column in (self._placed_ns, self._started_ns, self._ended_ns, self._exit_code):
            column.append(_UNKNOWN)
        self._outcome.append(_LIVE)
        for counts in (self._generation, self._placements, self._evictions, self._preemptions):
            counts.append(0)
        self._flags.append(0)
        return row

    def _row_of(self, workload_id: str, generation: int) -> int | None:
        """The row of a live workload, if that is its present generation."""
        row = self._live.get(workload_id)
        return row if row is not None and self._generation[row] == generation else None

    def _is_gone(self, workload_id: str, row: int) -> bool:
        """Whether the core has forgotten the workload; another one of the same id may be there by now."""
        workload = self._core.workloads.get(workload_id)
        return workload is None or workload.sequence != self._sequence[row]

    def _note_left_node(self, row: int) -> None:
        """It was placed, and is not there any more: evicted, unless it left otherwise."""
        if self._generation[row] and not self._flags[row] & _LEFT:
            self._evictions[row] += 1

    def _end(self, row: int, workload_id: str, at_ns: int, outcome: State) -> None:
        self._outcome[row] = _CODE[outcome]
        self._ended_ns[row] = at_ns
        if self._live.get(workload_id) == row:
            del self._live[workload_id]
        self._being_killed.pop(workload_id, None)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return everything gathered so far as MessagePack, numbers little-endian."""
        data = {name: _to_data(value) for name, value in vars(self).items() if name != "_core"}
        return msgspec.msgpack.encode(data)

    def load(self, data: bytes) -> None:
        """Take over what was dumped with a core in the same state. msgspec.DecodeError for other data."""
        for name, value in msgspec.msgpack.decode(data).items():
            _set_data(getattr(self, name), value)

    # -- result -----------------------------------------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """One row a workload, in the order in which they were submitted, with these columns:

        * ``workload_id``, ``job_id``: texts, the latter "" where none was given.
        * ``tenant``, ``app``, ``node_id``, ``outcome``: categories. ``node_id`` is that of the last placement, missing
          before the first. ``outcome`` is the state (`scheduler.lifecycle.State`): how it ended, or where it is now.
        * ``priority``; ``<dimension>_request`` in base units, as submitted, whatever was changed later.
        * ``estimate_s``: the submitter's estimate of the run time, in seconds, NaN where none was given.
        * ``submitted_s``, ``placed_s`` (the first placement; NaN for what was adopted), ``started_s`` (the last start:
          when the engine confirmed it, until then when it was asked for), ``ended_s``: seconds of simulated time, NaN
          for what has not happened.
        * ``placements``: how often it was placed. ``preemptions``: how often it was told to make way for other work.
          ``evictions``: how often it had to leave a node for the queue, but for preemption and starts that failed.
        * ``exit_code``: of what ended by itself, NA for everything else.
        """
        import numpy as np
        import pandas as pd

        outcome = np.array(self._outcome, dtype=np.int8)
        evictions = np.array(self._evictions, dtype=np.int32)
        for workload_id, row in self._live.items():
            workload = self._core.workloads[workload_id]
            outcome[row] = _CODE[workload.state]
            if self._is_evicted(workload, row):
                evictions[row] += 1
        exit_code = pd.array(np.array(self._exit_code, dtype=np.int64), dtype="Int64")
        exit_code[_ints(self._exit_code) == _UNKNOWN] = pd.NA
        names = [dimension.name for dimension in self._core.config.dimensions]
        requests = zip(names, self._requests, strict=True)
        return pd.DataFrame(
            {
                "workload_id": self._workload_ids.series(),
                "job_id": self._job_ids.series(),
                "tenant": self._tenants.categorical(),
                "app": self._apps.categorical(),
                "priority": _ints(self._priority),
                **{f"{name}_request": _ints(column) for name, column in requests},
                "estimate_s": _seconds(self._estimate_ns),
                "submitted_s": _seconds(self._submitted_ns),
                "placed_s": _seconds(self._placed_ns),
                "started_s": _seconds(self._started_ns),
                "ended_s": _seconds(self._ended_ns),
                "outcome": pd.Categorical.from_codes(outcome, categories=pd.Index([*map(str, _STATES)], dtype="str")),
                "node_id": self._nodes.categorical(),
                "placements": np.array(self._placements, dtype=np.int32),
                "evictions": evictions,
                "preemptions": np.array(self._preemptions, dtype=np.int32),
                "exit_code": exit_code,
            }
        )

    def _is_evicted(self, workload: Workload, row: int) -> bool:
        """Whether a live workload had to leave its node, and has not been placed again."""
        return bool(workload.row < 0 and self._generation[row] and not self._flags[row] & _LEFT)


def outcomes_of_journal(
    path: str | Path, *, policy: str | Policy | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Return `Outcomes.frame` of a recorded run.

    The journal is run through the core again, which takes what the replay took; a ``policy`` that is not built in must
    be named, as for `eru_sim.verify`. Raises `JournalError` for what is no journal, and EruError.
    """
    from eru_sim.journal_file import open_journal
    from eru_sim.recording import core_of
    from eru_sim.simulation import progress_of_file

    header, batches, _ = open_journal(path)
    core = core_of(header, policy)
    outcomes = Outcomes(core)
    report = progress_of_file(path, progress)
    for done, batch in enumerate(batches, start=1):
        events = list(batch.events)
        outcomes.observe(batch.at_ns, events, core.step(batch.at_ns, events))
        report(done, batch)
    return outcomes.frame()


def _published(workload_id: str, commands: Sequence[AnyCommand]) -> State | None:
    """The end of the workload that is told in these commands."""
    for command in commands:
        if type(command) is PublishResult and command.subject == workload_id and command.outcome in _PUBLISHED:
            return _PUBLISHED[command.outcome]
    return None


def _to_data(value: Any) -> Any:
    if isinstance(value, array):
        copy = value[:]
        if sys.byteorder == "big":
            copy.byteswap()
        return copy.tobytes()
    if isinstance(value, list):
        return [_to_data(item) for item in value]
    if isinstance(value, _Texts | _Categories):
        return {name: _to_data(item) for name, item in vars(value).items()}
    return bytes(value) if isinstance(value, bytearray) else dict(value)


def _set_data(value: Any, data: Any) -> None:
    """Fill what is still empty from what `_to_data` gave."""
    if isinstance(value, array):
        del value[:]
        value.frombytes(data)
        if sys.byteorder == "big":
            value.byteswap()
    elif isinstance(value, list):
        for item, given in zip(value, data, strict=True):
            _set_data(item, given)
    elif isinstance(value, _Texts | _Categories):
        for name, given in data.items():
            _set_data(getattr(value, name), given)
    elif isinstance(value, bytearray):
        value[:] = data
    else:
        value.update(data)


class _Texts:
    """A column of texts in two buffers, as Arrow has them."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        self._bytes += text.encode("utf-8", "replace")
        self._ends.append(len(self._bytes))

    def series(self) -> pd.Series[str]:
        import pandas as pd
        import pyarrow

        buffers = pyarrow.py_buffer(bytes(self._ends)), pyarrow.py_buffer(bytes(self._bytes))
        texts = pyarrow.LargeStringArray.from_buffers(len(self._ends) - 1, *buffers)
        return pd.Series(texts, dtype="str")


class _Categories:
    """A column of texts of which there are few: a code each, -1 for none."""

    def __init__(self) -> None:
        self.codes = array("i")
        self._known: dict[str, int] = {}

    def code(self, text: str) -> int:
        return self._known.setdefault(text, len(self._known))

    def append(self, text: str) -> None:
        self.codes.append(self.code(text))

    def categorical(self) -> pd.Categorical:
        import numpy as np
        import pandas as pd

        codes = np.array(self.codes, dtype=np.int32)
        return pd.Categorical.from_codes(codes, categories=pd.Index(list(self._known), dtype="str"))


def _ints(column: array[int]) -> NDArray[np.int64]:
    import numpy as np

    return np.array(column, dtype=np.int64)


def _seconds(column: array[int]) -> NDArray[np.float64]:
    import numpy as np

    amounts = _ints(column)
    seconds: NDArray[np.float64] = np.where(amounts == _UNKNOWN, np.nan, amounts / 1e9)
    return seconds
