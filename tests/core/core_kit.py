"""What the tests of the core share: short ways to build a cluster, and to read commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scheduler.commands import AnyCommand, PublishResult, StartWorkload
from scheduler.config import CoreConfig, PluginConfig, PolicyConfig
from scheduler.events import NodeJoined, WorkloadsSubmitted, WorkloadStartFailed
from scheduler.plugins.labels import LabelsPlugin
from scheduler.plugins.licences import LicencesPlugin
from scheduler.testing import Harness

SECOND_NS = 1_000_000_000
LICENCES = {"matlab": 2, "spice": 1}
PLUGIN_CONFIGS = (PluginConfig("labels"), PluginConfig("licences", params={"limits": LICENCES}))


def plugins() -> list[Any]:
    """New plugins that fit `PLUGIN_CONFIGS`."""
    return [LabelsPlugin(), LicencesPlugin(LICENCES)]


def harness(policy: str = "first-fit", *, params: dict[str, Any] | None = None, **fields: Any) -> Harness:
    """A harness with both plugins; nodes are added by `join`."""
    config = CoreConfig(plugins=PLUGIN_CONFIGS, policy=PolicyConfig(policy, params or {}), **fields)
    return Harness(config, plugins=plugins())


def with_nodes(*capacities: tuple[int, int], policy: str = "first-fit", **fields: Any) -> Harness:
    """A harness with nodes n0, n1, ... of the given cpu and memory."""
    made = harness(policy, **fields)
    for number, (cpu, memory) in enumerate(capacities):
        made.join(f"n{number}", cpu=cpu, memory=memory)
    return made


def node(node_id: str, cpu: int = 10, memory: int = 10, **fields: Any) -> NodeJoined:
    return NodeJoined(node_id=node_id, capacity={"cpu": cpu, "memory": memory}, **fields)


def spec(workload_id: str, *request: int, **fields: Any) -> WorkloadsSubmitted:
    return WorkloadsSubmitted(workload_id=workload_id, request=request, **fields)


def published(commands: Sequence[AnyCommand]) -> list[tuple[str, str, str]]:
    """The results among the commands: subject, outcome and operation."""
    return [(c.subject, c.outcome, c.operation_id) for c in commands if isinstance(c, PublishResult)]


def details(commands: Sequence[AnyCommand]) -> list[str]:
    return [c.detail for c in commands if isinstance(c, PublishResult)]


def starts(commands: Sequence[AnyCommand]) -> list[tuple[str, int, str]]:
    """The starts among the commands: workload, generation and node."""
    return [(c.workload_id, c.generation, c.node_id) for c in commands if isinstance(c, StartWorkload)]


def start_failed(h: Harness, workload_id: str) -> list[AnyCommand]:
    """The engine could not start the present generation."""
    generation = h.generation(workload_id)
    return h.step(WorkloadStartFailed(workload_id=workload_id, generation=generation, reason="broken"))
