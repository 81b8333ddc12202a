"""Outcomes of a run: one row a workload, gathered batch by batch.

Theory of operation. `Outcomes` stands beside a core and is shown every batch after the core has applied it. It keeps
records of a few numbers, not objects, but for the live workloads: what was submitted is recorded at once, and what
became of it at its end. A workload has ended when the core does not know it any more; the event that names it, or the
published result, tells how. Whether a new start was a placement, and what went before it, follows from the commands and
answers since the start before. One thing cannot be told apart: a late exit from a lost node and a removal that meet in
one batch count as an exit.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from eru_sim.simulation import Progress
    from scheduler.policies import Policy

_UNKNOWN = -(1 << 63)
_BLOCK = 1024
_STATES = tuple(State)
_CODE = {state: code for code, state in enumerate(_STATES)}
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


class _Life(msgspec.Struct, gc=False):
    """What has become of a workload so far. ``row`` is its place among all; ``node`` is -1 before the first."""

    row: int
    sequence: int
    submitted_ns: int
    flags: int = 0
    generation: int = 0
    node: int = -1
    placed_ns: int = _UNKNOWN
    started_ns: int = _UNKNOWN
    placements: int = 0
    evictions: int = 0
    preemptions: int = 0
    outcome: int = -1
    ended_ns: int = _UNKNOWN
    exit_code: int = _UNKNOWN


_SUBMITTED = ("estimate_ns", "priority", "tenant", "app")
"""What is kept of a submission, beside the ids and the request."""
_ENDED = (
    "row", "submitted_ns", "placed_ns", "started_ns", "placements", "evictions", "preemptions", "node", "outcome",
    "ended_ns", "exit_code",
)  # fmt: skip
"""What is kept of the life of a workload that has ended."""


class _Data(msgspec.Struct, kw_only=True):
    """What `Outcomes` has gathered. Columns are int64, little-endian."""

    submitted: dict[str, bytes]
    ended: dict[str, bytes]
    workload_ids: tuple[bytes, bytes]
    job_ids: tuple[bytes, bytes]
    tenants: list[str]
    apps: list[str]
    nodes: list[str]
    live: dict[str, _Life]
    being_killed: list[str]


class Outcomes:
    """An observer of the driver: attach it to a core that has not stepped yet.

    About 135 bytes a workload and 8 more a dimension, beside the texts of its ids; 200 more while it is live. What is
    new is put into columns many at a time, as that costs less.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._workloads = core.workloads
        self._live: dict[str, _Life] = {}
        self._being_killed: dict[str, None] = {}
        self._count = 0
        self._new_ids: list[str] = []
        self._new_specs: list[WorkloadsSubmitted] = []
        self._over: list[_Life] = []
        self._requests = [f"{dimension.name}_request" for dimension in core.config.dimensions]
        self._submitted = {name: array("q") for name in (*_SUBMITTED, *self._requests)}
        self._ended = {name: array("q") for name in _ENDED}
        self._workload_ids, self._job_ids = _Texts(), _Texts()
        self._tenants, self._apps, self._nodes = _Codes(), _Codes(), _Codes()

    def __len__(self) -> int:
        """How many workloads there were so far."""
        return self._count

    # -- what the driver tells --------------------------------------------------------------------------------------

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Take in one step."""
        for event in events:
            kind = type(event)
            if kind is WorkloadStarted:
                self._on_started(at_ns, event)  # type: ignore[arg-type]
            elif kind is WorkloadExited:
                self._on_exited(at_ns, event)  # type: ignore[arg-type]
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
                life = self._live.get(command.subject)
                if life is not None and self._is_gone(command.subject, life):
                    self._end(life, command.subject, at_ns, _PUBLISHED[command.outcome])

    def _on_submitted(self, at_ns: int, event: WorkloadsSubmitted, commands: Sequence[AnyCommand]) -> None:
        """Record the copies that the core accepted. One that it does not know was rejected at once, or never was."""
        for workload_id in (event.workload_id,) if event.count == 1 else copies(event.workload_id, event.count):
            workload = self._workloads.get(workload_id)
            life = self._live.get(workload_id)
            if life is not None and not self._is_gone(workload_id, life):
                continue
            if workload is not None and workload.spec is event:
                self._add(workload_id, event, workload.submitted_ns, workload.sequence)
            elif workload is None and _published(workload_id, commands) is State.REJECTED:
                self._end(self._add(workload_id, event, at_ns, -1), workload_id, at_ns, State.REJECTED)

    def _on_adopted(self, at_ns: int, event: WorkloadAdopted) -> None:
        workload = self._workloads.get(event.spec.workload_id)
        if workload is None or workload.spec is not event.spec:
            return
        life = self._add(workload.workload_id, workload.spec, workload.submitted_ns, workload.sequence)
        life.generation = 1
        life.started_ns = at_ns
        life.node = self._nodes[event.node_id]

    def _on_started(self, at_ns: int, event: WorkloadStarted) -> None:
        life = self._live.get(event.workload_id)
        if life is not None and life.generation == event.generation and not life.flags & _CONFIRMED:
            workload = self._workloads.get(event.workload_id)
            if workload is None or workload.generation != event.generation or workload.row >= 0:
                life.flags |= _CONFIRMED
                life.started_ns = at_ns

    def _on_exited(self, at_ns: int, event: WorkloadExited) -> None:
        life = self._life_of(event.workload_id, event.generation)
        if life is None or life.flags & _IS_OVER:
            return
        if not self._is_gone(event.workload_id, life):
            if self._workloads[event.workload_id].state is State.STOPPED:  # it holds its place
                life.flags = life.flags & ~_ANY_STOP | _TO_HOLD | _IS_OVER
            return
        outcome = State.FAILED if event.exit_code else State.COMPLETED
        self._end(life, event.workload_id, at_ns, outcome, event.exit_code)

    def _on_other_event(self, at_ns: int, event: AnyEvent, commands: Sequence[AnyCommand]) -> None:
        if isinstance(event, WorkloadStopped):
            self._on_stopped(at_ns, event)
        elif isinstance(event, WorkloadStartFailed):
            self._on_start_failed(event)
        elif isinstance(event, WorkloadAdopted):
            self._on_adopted(at_ns, event)
        elif isinstance(event, RemovalRequested | DissociateRequested):
            life = self._live.get(event.workload_id)
            if life is not None and self._is_gone(event.workload_id, life):
                asked = State.KILLED if isinstance(event, RemovalRequested) else State.DISSOCIATED
                outcome = _published(event.workload_id, commands) or asked
                if outcome is State.KILLED and not life.flags & (_TO_HOLD | _TO_KILL):
                    _note_left_node(life)
                self._end(life, event.workload_id, at_ns, outcome)
        elif isinstance(event, StartRequested):
            life = self._live.get(event.workload_id)
            if life is not None and life.flags & _TO_HOLD:
                life.flags |= _RESTARTS
        elif isinstance(event, NodeLost | NodeRemoved):
            for workload_id in list(self._being_killed):
                life = self._live[workload_id]
                if self._is_gone(workload_id, life):
                    self._end(life, workload_id, at_ns, State.KILLED)

    def _on_stopped(self, at_ns: int, event: WorkloadStopped) -> None:
        life = self._life_of(event.workload_id, event.generation)
        if life is None:
            return
        if life.flags & _TO_KILL and self._is_gone(event.workload_id, life):
            self._end(life, event.workload_id, at_ns, State.KILLED)
        elif life.flags & _TO_REPLACE:
            life.flags |= _RESTARTS
        elif life.flags & _TO_MAKE_WAY:
            life.flags |= _IS_OVER | _LEFT
        elif life.flags & (_TO_HOLD | _TO_MOVE):
            life.flags |= _IS_OVER

    def _on_start_failed(self, event: WorkloadStartFailed) -> None:
        life = self._life_of(event.workload_id, event.generation)
        if life is None:
            return
        workload = self._workloads.get(event.workload_id)
        if workload is None or workload.state is State.BACKOFF or life.flags & _TO_MAKE_WAY:
            life.flags |= _LEFT
        elif life.flags & (_TO_REPLACE | _IS_SUCCESSOR):
            life.flags |= _RESTARTS

    def _on_start(self, at_ns: int, command: StartWorkload) -> None:
        life = self._live.get(command.workload_id)
        if life is None:
            workload = self._workloads[command.workload_id]
            life = self._add(workload.workload_id, workload.spec, workload.submitted_ns, workload.sequence)
        elif command.generation == life.generation:
            return
        node, flags = self._nodes[command.node_id], life.flags
        if flags & _RESTARTS and node == life.node:
            life.flags = _IS_SUCCESSOR if flags & _TO_REPLACE else 0
        else:
            if life.generation:
                _note_left_node(life)
            else:
                life.placed_ns = at_ns
            life.placements += 1
            life.flags = 0
        life.generation = command.generation
        life.started_ns = at_ns
        life.node = node
        if self._being_killed:
            self._being_killed.pop(command.workload_id, None)

    def _on_stop(self, command: StopWorkload) -> None:
        life = self._life_of(command.workload_id, command.generation)
        if life is None:
            return
        flag = _STOP_FLAGS[command.reason]
        if command.reason == "preempt" and not life.flags & flag:
            life.preemptions += 1
        life.flags = life.flags & ~_ANY_STOP | flag
        if command.reason == "kill":
            self._being_killed[command.workload_id] = None

    # -- records ----------------------------------------------------------------------------------------------------

    def _add(self, workload_id: str, spec: WorkloadsSubmitted, submitted_ns: int, sequence: int) -> _Life:
        life = self._live[workload_id] = _Life(self._count, sequence, submitted_ns)
        self._count += 1
        self._new_ids.append(workload_id)
        self._new_specs.append(spec)
        if len(self._new_ids) >= _BLOCK:
            self._pack()
        return life

    def _life_of(self, workload_id: str, generation: int) -> _Life | None:
        """The record of a live workload, if that is its present generation."""
        life = self._live.get(workload_id)
        return life if life is not None and life.generation == generation else None

    def _is_gone(self, workload_id: str, life: _Life) -> bool:
        """Whether the core has forgotten the workload; another one of the same id may be there by now."""
        workload = self._workloads.get(workload_id)
        return workload is None or workload.sequence != life.sequence

    def _end(self, life: _Life, workload_id: str, at_ns: int, outcome: State, exit_code: int = _UNKNOWN) -> None:
        life.outcome = _CODE[outcome]
        life.ended_ns = at_ns
        life.exit_code = exit_code
        self._over.append(life)
        if len(self._over) >= _BLOCK:
            self._pack()
        if self._live.get(workload_id) is life:
            del self._live[workload_id]
        if self._being_killed:
            self._being_killed.pop(workload_id, None)

    def _pack(self) -> None:
        """Put what is new, and what has ended since, into the columns."""
        specs = self._new_specs
        self._workload_ids.extend(self._new_ids)
        self._job_ids.extend([spec.job_id for spec in specs])
        numbers = (
            [_UNKNOWN if spec.estimate_ns is None else spec.estimate_ns for spec in specs],
            [spec.priority for spec in specs],
            [self._tenants[spec.tenant] for spec in specs],
            [self._apps[spec.app] for spec in specs],
            *([spec.request[place] for spec in specs] for place in range(len(self._requests))),
        )
        for column, more in zip(self._submitted.values(), numbers, strict=True):
            column += array("q", more)
        for name, column in self._ended.items():
            column += array("q", [*map(attrgetter(name), self._over)])
        self._new_ids.clear()
        self._new_specs.clear()
        self._over.clear()

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return everything gathered so far as MessagePack."""
        self._pack()
        data = _Data(
            submitted={name: _to_bytes(column) for name, column in self._submitted.items()},
            ended={name: _to_bytes(column) for name, column in self._ended.items()},
            workload_ids=self._workload_ids.dump(),
            job_ids=self._job_ids.dump(),
            tenants=list(self._tenants),
            apps=list(self._apps),
            nodes=list(self._nodes),
            live=self._live,
            being_killed=list(self._being_killed),
        )
        return msgspec.msgpack.encode(data)

    def load(self, data: bytes) -> None:
        """Take over what was dumped with a core in the same state. msgspec.DecodeError for other data."""
        saved = msgspec.msgpack.decode(data, type=_Data)
        self._submitted = {name: _from_bytes(saved.submitted[name]) for name in self._submitted}
        self._ended = {name: _from_bytes(saved.ended[name]) for name in self._ended}
        self._workload_ids.load(*saved.workload_ids)
        self._job_ids.load(*saved.job_ids)
        for codes, texts in ((self._tenants, saved.tenants), (self._apps, saved.apps), (self._nodes, saved.nodes)):
            codes.update({text: code for code, text in enumerate(texts)})
        self._live = saved.live
        self._being_killed = dict.fromkeys(saved.being_killed)
        self._count = len(self._submitted["priority"])

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

        self._pack()
        submitted = {name: np.array(column, dtype=np.int64) for name, column in self._submitted.items()}
        ended = self._all_ended()
        exit_code = pd.array(ended["exit_code"], dtype="Int64")
        exit_code[ended["exit_code"] == _UNKNOWN] = pd.NA
        states = pd.Index([*map(str, _STATES)], dtype="str")
        return pd.DataFrame(
            {
                "workload_id": self._workload_ids.series(),
                "job_id": self._job_ids.series(),
                "tenant": self._tenants.categorical(submitted["tenant"]),
                "app": self._apps.categorical(submitted["app"]),
                "priority": submitted["priority"],
                **{name: submitted[name] for name in self._requests},
                "estimate_s": _seconds(submitted["estimate_ns"]),
                "submitted_s": _seconds(ended["submitted_ns"]),
                "placed_s": _seconds(ended["placed_ns"]),
                "started_s": _seconds(ended["started_ns"]),
                "ended_s": _seconds(ended["ended_ns"]),
                "outcome": pd.Categorical.from_codes(ended["outcome"].astype(np.int8), categories=states),
                "node_id": self._nodes.categorical(ended["node"]),
                "placements": ended["placements"].astype(np.int32),
                "evictions": ended["evictions"].astype(np.int32),
                "preemptions": ended["preemptions"].astype(np.int32),
                "exit_code": exit_code,
            }
        )

    def _all_ended(self) -> dict[str, NDArray[np.int64]]:
        """The columns of `_ENDED` in the order of submission; of what is live, as it is now."""
        import numpy as np

        lives = []
        for workload_id, life in self._live.items():
            workload = self._workloads[workload_id]
            left = bool(workload.row < 0 and life.generation and not life.flags & _LEFT)
            outcome = _CODE[workload.state]
            lives.append(msgspec.structs.replace(life, outcome=outcome, evictions=life.evictions + left))
        columns = {
            name: np.array(column + array("q", map(attrgetter(name), lives)), dtype=np.int64)
            for name, column in self._ended.items()
        }
        order = np.argsort(columns["row"])
        return {name: column[order] for name, column in columns.items()}


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


def _note_left_node(life: _Life) -> None:
    """It was placed, and is not there any more: evicted, unless it left otherwise."""
    if life.generation and not life.flags & _LEFT:
        life.evictions += 1


def _to_bytes(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_bytes(data: bytes) -> array[int]:
    numbers = array("q")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class _Texts:
    """A column of texts in one buffer, and how many bytes each has."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._lengths = array("q")

    def extend(self, texts: list[str]) -> None:
        """Add many."""
        together = "".join(texts)
        if together.isascii():
            self._bytes += together.encode("ascii")
            self._lengths += array("q", [*map(len, texts)])
        else:
            encoded = [text.encode("utf-8", "replace") for text in texts]
            self._bytes += b"".join(encoded)
            self._lengths += array("q", [*map(len, encoded)])

    def dump(self) -> tuple[bytes, bytes]:
        """Return the bytes of all, and how many each has."""
        return bytes(self._bytes), _to_bytes(self._lengths)

    def load(self, data: bytes, lengths: bytes) -> None:
        """Take over what was dumped."""
        self._bytes, self._lengths = bytearray(data), _from_bytes(lengths)

    def series(self) -> pd.Series[str]:
        """Return the column."""
        import numpy as np
        import pandas as pd
        import pyarrow

        ends = np.cumsum(array("q", [0]) + self._lengths, dtype=np.int64)
        buffers = pyarrow.py_buffer(ends.tobytes()), pyarrow.py_buffer(bytes(self._bytes))
        texts = pyarrow.LargeStringArray.from_buffers(len(self._lengths), *buffers)
        return pd.Series(texts, dtype="str")


class _Codes(dict[str, int]):
    """The code of every text of which there are few; a new text gets the next."""

    def __missing__(self, text: str) -> int:
        code = self[text] = len(self)
        return code

    def categorical(self, codes: NDArray[np.int64]) -> pd.Categorical:
        """Return a column of codes, -1 for none, as categories."""
        import numpy as np
        import pandas as pd

        return pd.Categorical.from_codes(codes.astype(np.int32), categories=pd.Index(list(self), dtype="str"))


def _seconds(amounts: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    seconds: NDArray[np.float64] = np.where(amounts == _UNKNOWN, np.nan, amounts / 1e9)
    return seconds
