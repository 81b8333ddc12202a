"""Parameters that a policy takes from the trace before the run begins, so that the recording holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from eru_sim.feed import CONSTRAINT_OF
from scheduler.policy import Asking

if TYPE_CHECKING:
    from eru_sim.options import PolicyChoice
    from scheduler.ports import Dimension, ResourcePlugin
    from traces import Submission, Trace


def learned_params(
    choice: PolicyChoice, trace: Trace, dimensions: Sequence[Dimension], plugins: Sequence[ResourcePlugin]
) -> dict[str, Any]:
    """Return the parameters that the policy learns from the trace's work (`scheduler.policy.Policy.learn`).

    The work is that of ``trace.sample`` where the trace has such a method: what it is drawn from, in place of what
    arrives.
    """
    policy = choice.factory(choice.name, choice.params)
    sample = getattr(trace, "sample", trace.submissions)
    return dict(policy.learn(tuple(dimensions), _work(sample, plugins)))


def _work(sample: Any, plugins: Iterable[ResourcePlugin]) -> Iterator[Asking]:
    by_constraint = {CONSTRAINT_OF.get(plugin.name, plugin.name): plugin for plugin in plugins}
    payloads: dict[bytes, dict[str, Any]] = {}
    submission: Submission
    for submission in sample():
        constraints = submission.constraints or {}
        key = msgspec.msgpack.encode(constraints)
        if key not in payloads:
            payloads[key] = _payloads(constraints, by_constraint)
        asking = Asking(submission.request, payloads[key])
        for _ in range(submission.count):
            yield asking


def _payloads(constraints: Mapping[str, Any], by_constraint: Mapping[str, ResourcePlugin]) -> dict[str, Any]:
    known = ((by_constraint[name], value) for name, value in constraints.items() if name in by_constraint)
    return {plugin.name: plugin.parse(value) for plugin, value in known}
