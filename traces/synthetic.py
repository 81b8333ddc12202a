"""Synthetic traces calibrated to published clusters: bursty arrivals, heavy-tailed jobs, real machine shapes.

Generation is by chunks of jobs, so memory does not grow with the trace; the same seed gives the same bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from traces.base import TraceBase
from traces.fits import Floats
from traces.schema import SECOND_NS, MachineEvent, Submission, TraceError
from traces.shapes import apportion
from traces.source import Option, Reader, Source, choice, integer, number, one_of
from traces.synthetic_models import MODELS, Model
from traces.synthetic_plan import Integers, Knobs, Plan, lifetimes_s, make_plan

_CHUNK_JOBS = 2048
_DIFFERENT_MACHINE = {"different_machine": True}
_REQUEST_JITTER = 0.02
_LIFETIME_JITTER = 0.2

OPTIONS: tuple[Option, ...] = (
    integer("nodes", 5000, "machines, in the proportions of the published cluster", minimum=1, maximum=1_000_000),
    number("hours", 2, "length of the trace; also its horizon"),
    integer("seed", 1, "seed of everything that is drawn"),
    choice("mix", "repeat", "requests of 300 Zipf-weighted shapes, or nearly all distinct", ["repeat", "distinct"]),
    number("load", 0.8, "mean demand over capacity, in the dimension that fills first; may exceed 1"),
    choice("start", "running", "at time 0 the load runs already, or the cluster is empty", ["running", "empty"]),
    integer("workloads", "", "number of workloads; by default what the model's lifetimes make of the load", minimum=2),
)


class SyntheticTrace(TraceBase):
    """A generated trace; every reading of a stream generates it anew."""

    def __init__(self, source: Source) -> None:
        if source.path not in MODELS:
            expected = one_of(source.path, MODELS)
            raise TraceError(f"source {source.text!r}: model {source.path!r} is unknown; expected {expected}")
        self._model: Model = MODELS[source.path]
        self._knobs = Knobs(**source.options)
        self._plan = make_plan(self._model, self._knobs)
        super().__init__(source, ("cpu_millicores", "memory_bytes"), assumptions=self._assumptions())
        self.horizon_ns = round(self._plan.horizon_s * SECOND_NS)

    def _assumptions(self) -> tuple[str, ...]:
        plan, knobs = self._plan, self._knobs
        dimension = ("CPU", "memory")[plan.dominant]
        lines = [
            f"Calibrated to {self._model.source}.",
            f"Mean demand is {knobs.load:g} of the capacity of {dimension}, the dimension that fills first.",
            f"No job has more than {plan.tasks_limit} workloads.",
        ]
        if plan.starting:
            lines.append(f"About {plan.starting} workloads run at time 0, with what is left of their lifetimes.")
        else:
            lines.append("The cluster is empty at time 0 and the load builds up over several lifetimes (start=empty).")
        if knobs.workloads is not None:
            lines.append(f"Lifetimes are {plan.lifetime_scale:.4g} times the published ones, to keep the load.")
        if plan.request_scale != 1.0:
            lines.append(f"Requests are {plan.request_scale:.4g} times the published ones, to make the load.")
        return tuple(lines)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield all machines at time 0, the shapes mixed in a seeded order."""
        shapes = apportion(self._model.shapes, self._knobs.nodes)
        kinds = np.repeat(np.arange(len(shapes)), [count for _, count in shapes])
        np.random.Generator(np.random.PCG64([self._knobs.seed, 3])).shuffle(kinds)
        for index, kind in enumerate(kinds.tolist()):
            shape = shapes[kind][0]
            capacity = {name: shape.capacity[name] for name in self.dimensions}
            labels = {**shape.labels, "shape": shape.name}
            yield MachineEvent(at_ns=0, machine_id=f"m-{index}", kind="add", capacity=capacity, labels=labels)

    def submissions(self) -> Iterator[Submission]:
        """Yield the initial population at time 0, then the arrivals by time; ties by job and task number."""
        numbers = itertools.count()
        initial = _InitialJobs(self._model, self._knobs, self._plan)
        yield from self._emit(initial.chunks(), numbers)
        rest = self._plan.starting + self._plan.arriving - initial.workloads
        yield from self._emit(_ArrivingJobs(self._model, self._knobs, self._plan, rest).chunks(), numbers)

    def _emit(self, chunks: Iterator[_Chunk], numbers: Iterator[int]) -> Iterator[Submission]:
        users = [f"user-{index}" for index in range(self._model.users)]
        for chunk in chunks:
            yield from _submissions_of(chunk, numbers, users, grouped=self._model.grouped)

    def _facts(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "synthetic": {
                "model": self._model.name,
                "offered_load": self._knobs.load,
                "dominant_dimension": self.dimensions[plan.dominant],
                "mean_running": plan.running,
                "running_at_start": plan.starting,
                "arriving": plan.arriving,
                "mean_lifetime_s": round(plan.mean_lifetime_s, 3),
                "lifetime_scale": round(plan.lifetime_scale, 6),
                "request_scale": round(plan.request_scale, 6),
                "largest_job": plan.tasks_limit,
            }
        }


class _Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of consecutive jobs; ``rows`` maps each submission to its job, and is what the last three align with."""

    tasks: Integers
    at_ns: Integers
    priorities: Integers
    users: Integers
    different_machine: Integers
    rows: Integers
    requests: list[tuple[int, ...]]
    service_ns: Integers
    exit_codes: Integers


class _Jobs:
    """A source of jobs in chunks, with its own stream of random numbers."""

    def __init__(self, model: Model, knobs: Knobs, plan: Plan, stream: int) -> None:
        self.model = model
        self.plan = plan
        self.knobs = knobs
        self.generator = np.random.Generator(np.random.PCG64([knobs.seed, stream]))
        self._limits = np.array(plan.largest, dtype=np.float64)
        self._shapes = [tuple(row) for row in plan.requests.units.tolist()] if knobs.mix == "repeat" else []

    def draw_tasks(self) -> Integers:
        """Return the sizes of the next chunk of jobs."""
        sizes = self.model.tasks.quantile(self.generator.random(_CHUNK_JOBS))
        return np.clip(sizes.astype(np.int64), 1, self.plan.tasks_limit)

    def demand(self, ranks: Floats) -> Integers:
        """Return the dominant dimension of the requests at job ``ranks``."""
        return np.asarray(self.plan.requests.units[self._rows(ranks), self.plan.dominant])

    def chunk(self, tasks: Integers, at_ns: Integers, life_s: Floats, ranks: Floats) -> _Chunk:
        """Return the jobs with all that they ask; ``life_s`` is unscaled."""
        model, generator = self.model, self.generator
        count = len(tasks)
        rows = np.arange(count) if model.grouped else np.repeat(np.arange(count), tasks)
        jitter = 1.0 + _LIFETIME_JITTER * (generator.random(len(rows)) - 0.5)
        scaled_s = life_s[rows] * jitter * self.plan.lifetime_scale
        return _Chunk(
            tasks=tasks,
            at_ns=at_ns,
            priorities=self._priorities(count),
            # An inverse power of a uniform: the k-th user submits about 1/k as much as the first.
            users=(model.users ** generator.random(count)).astype(np.int64) - 1,
            different_machine=(generator.random(count) < model.different_machine_share).astype(np.int64),
            rows=rows,
            requests=self._requests(ranks[rows]),
            service_ns=np.maximum(1, np.rint(scaled_s * 1e6)).astype(np.int64) * 1000,
            exit_codes=(generator.random(len(rows)) < model.failed_share).astype(np.int64),
        )

    def _priorities(self, count: int) -> Integers:
        levels = np.array([level for level, _ in self.model.priorities])
        shares = np.cumsum([share for _, share in self.model.priorities])
        picked = np.searchsorted(shares / shares[-1], self.generator.random(count), side="right")
        return np.asarray(levels[np.minimum(picked, len(levels) - 1)])

    def _rows(self, ranks: Floats) -> Integers:
        upper = self.plan.requests.upper
        return np.minimum(np.searchsorted(upper, ranks, side="right"), len(upper) - 1)

    def _requests(self, ranks: Floats) -> list[tuple[int, ...]]:
        """Return one request per rank; with ``mix=distinct`` each row is moved a little on its own."""
        rows = self._rows(ranks)
        if self._shapes:
            shapes = self._shapes
            return [shapes[row] for row in rows.tolist()]
        moved = 1.0 + _REQUEST_JITTER * (self.generator.random((len(rows), 2)) - 0.5)
        amounts = np.minimum(self.plan.requests.units[rows] * moved, self._limits)
        units = np.maximum(1, np.rint(amounts)).astype(np.int64)
        return list(zip(*units.T.tolist(), strict=True))


class _InitialJobs(_Jobs):
    """What runs at time 0: jobs until their demand reaches the load."""

    def __init__(self, model: Model, knobs: Knobs, plan: Plan) -> None:
        super().__init__(model, knobs, plan, 4)
        self.workloads = 0
        self._observed = np.linspace(0.0, 1.0, len(plan.biased))

    def chunks(self) -> Iterator[_Chunk]:
        target = self.knobs.load * self.plan.capacity[self.plan.dominant]
        most = self.plan.starting + self.plan.arriving - 1 if self.plan.starting else 0
        asked = 0.0
        while asked < target and self.workloads < most:
            tasks = self.draw_tasks()
            ranks = self.generator.random(len(tasks))
            demand = asked + np.cumsum(tasks * self.demand(ranks))
            kept = int(np.searchsorted(demand, target)) + 1
            room = most - self.workloads
            kept = min(kept, int(np.searchsorted(np.cumsum(tasks), room)) + 1, len(tasks))
            tasks, ranks = tasks[:kept], ranks[:kept]
            tasks[-1] -= max(0, int(tasks.sum()) - room)
            asked = float(demand[kept - 1])
            self.workloads += int(tasks.sum())
            biased = np.interp(self.generator.random(kept), self._observed, self.plan.biased)
            left_s = lifetimes_s(self.model, biased) * self.generator.random(kept)
            yield self.chunk(tasks, np.zeros(kept, dtype=np.int64), left_s, ranks)


class _ArrivingJobs(_Jobs):
    """What arrives after time 0: a fixed number of workloads, spread along the arrival curve."""

    def __init__(self, model: Model, knobs: Knobs, plan: Plan, workloads: int) -> None:
        super().__init__(model, knobs, plan, 5)
        self._workloads = workloads

    def chunks(self) -> Iterator[_Chunk]:
        done = 0
        while done < self._workloads:
            tasks = self.draw_tasks()
            ends = np.cumsum(tasks)
            kept = min(int(np.searchsorted(ends, self._workloads - done)) + 1, len(tasks))
            tasks = tasks[:kept]
            tasks[-1] -= max(0, int(ends[kept - 1]) - (self._workloads - done))
            starts = done + np.cumsum(tasks) - tasks + self.generator.random(kept) * tasks
            at_s = np.interp(starts / self._workloads, self.plan.cumulative, self.plan.edges_s)
            at_ns = np.maximum(1, np.rint(at_s * 1e6)).astype(np.int64) * 1000
            done += int(tasks.sum())
            ranks = self.generator.random(kept)
            life_s = lifetimes_s(self.model, self.generator.random(kept))
            yield self.chunk(tasks, at_ns, life_s, ranks)


def _submissions_of(chunk: _Chunk, numbers: Iterator[int], users: list[str], *, grouped: bool) -> Iterator[Submission]:
    rows: list[int] = chunk.rows.tolist()
    tasks: list[int] = chunk.tasks.tolist()
    jobs = [f"j{number}" for number in itertools.islice(numbers, len(tasks))]
    tenants = [users[index] for index in chunk.users.tolist()]
    constraints = [_DIFFERENT_MACHINE if flagged else None for flagged in chunk.different_machine.tolist()]
    at_ns, priorities = chunk.at_ns.tolist(), chunk.priorities.tolist()
    names, counts = jobs, tasks
    if not grouped:
        names = [f"{job}-{index}" for job, count in zip(jobs, tasks, strict=True) for index in range(count)]
        counts = [1] * len(names)
    return map(
        Submission,
        [at_ns[row] for row in rows],
        names,
        chunk.requests,
        counts,
        [jobs[row] for row in rows],
        [tenants[row] for row in rows],
        [priorities[row] for row in rows],
        chunk.service_ns.tolist(),
        chunk.exit_codes.tolist(),
        itertools.repeat(None),
        itertools.repeat(None),
        [constraints[row] for row in rows],
    )


READER = Reader(
    name="synthetic",
    summary=f"A generated trace calibrated to a published cluster: {', '.join(MODELS)}",
    open=SyntheticTrace,
    options=OPTIONS,
)
