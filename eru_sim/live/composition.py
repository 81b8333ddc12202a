"""The composition root of live operation: which core, which store, which engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from backends.real.clock import Clock, SystemClock
from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.endpoints import Connect, Endpoint
from backends.real.engine_gateway import EngineGateway
from backends.real.engines.base import Engine
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_api import Tls
from backends.real.gateway import NodeGateway
from backends.real.recovery import MakeCore
from backends.real.stores.sqlite import SqliteStore
from backends.sim.engine import EngineModel, SimulatedEngine
from eru_sim.live.simulated import SimulatedGateway
from eru_sim.live.simulated_node import SimulatedNode
from eru_sim.options import PolicyChoice, choose_policy
from scheduler import snapshot
from scheduler.commands import StartWorkload
from scheduler.config import CPU, MEMORY, SECOND_NS, CoreConfig, PluginConfig, PolicyConfig, QueueConfig
from scheduler.core import Core
from scheduler.journal import Header
from scheduler.lifecycle import State
from scheduler.plugins.registry import make_plugin
from scheduler.policies import BUILT_IN, Policy, make_policy
from scheduler.ports import Dimension

PLUGINS = tuple(PluginConfig(name) for name in ("labels", "taints", "affinity", "images", "cpu", "storage", "gpu"))
DEADLINE_NS = 120 * SECOND_NS


def live_config(
    *,
    policy: str | Policy = "best-fit",
    queue: QueueConfig = QueueConfig(),  # noqa: B008 (immutable)
    plugins: Sequence[PluginConfig] = PLUGINS,
    dimensions: Sequence[Dimension] = (),
    overcommit: dict[str, float] | None = None,
    deadline_ns: int = DEADLINE_NS,
    scheduling_pass: Literal["instant", "event"] = "instant",
) -> CoreConfig:
    """The configuration of a live core: cpu and memory, what the plugins count, and ``dimensions`` besides."""
    choice = choose_policy(policy)
    known = {dimension.name: dimension for dimension in (CPU, MEMORY)}
    for plugin in plugins:
        for dimension in make_plugin(plugin.name, plugin.params).dimensions:
            known.setdefault(dimension.name, dimension)
    for dimension in dimensions:
        known.setdefault(dimension.name, dimension)
    return CoreConfig(
        dimensions=tuple(known.values()),
        plugins=tuple(plugins),
        policy=PolicyConfig(choice.name, dict(choice.params)),
        queue=queue,
        overcommit=overcommit or {},
        deadline_ns=deadline_ns,
        scheduling_pass=scheduling_pass,
    )


def core_maker(choice: PolicyChoice | None = None) -> MakeCore:
    """Makes cores as headers say. ``choice`` knows a policy that is not built in."""

    def factory(name: str, params: Any) -> Policy:
        if name in BUILT_IN or choice is None:
            return make_policy(name, params)
        policy: Policy = choice.factory(name, params)
        return policy

    def make(header: Header, data: bytes | None) -> Core:
        plugins = [make_plugin(plugin.name, plugin.params) for plugin in header.config.plugins]
        if data is None:
            return Core(header.config, plugins=plugins, policy_factory=factory)
        return snapshot.load(data, plugins=plugins, policy_factory=factory)

    return make


def simulated_cluster(
    directory: str | Path,
    *,
    machines: SimulatedGateway | None = None,
    model: EngineModel | None = None,
    config: CoreConfig | None = None,
    clock: Clock | None = None,
    options: ClusterOptions = ClusterOptions(),  # noqa: B008 (immutable)
    choice: PolicyChoice | None = None,
) -> LiveCluster:
    """A live cluster whose nodes are simulated (``sim://`` endpoints): everything else is as in production.

    ``machines`` may have outlived another one; by default they are new, of that ``model``, and run what the journal
    says that they ran.
    """
    clock = clock or SystemClock()
    gateway = machines or SimulatedGateway(SimulatedEngine(model), clock)

    def connect(node_id: str, endpoint: Endpoint) -> Engine:
        node = cluster.core.cluster.by_id.get(node_id)
        if machines is None and node is not None:
            for workload in cluster.core.on_row[node.row].values():
                if workload.state is State.RUNNING:
                    gateway.machines.adopt(workload.workload_id, node_id, workload.generation)
        return cast(Engine, SimulatedNode(node_id, endpoint))

    header = Header(config=config or live_config())
    store = SqliteStore(directory)
    cluster = LiveCluster(header, store, clock, core_maker(choice), lambda templates, labels: gateway, connect, options)
    return cluster


def connector(core_id: Callable[[], str]) -> Connect:
    """Makes engines by what endpoints say: Docker at ``unix://`` and ``tcp://``.

    ``core_id`` says whose instances they see, when it is known.
    """

    def connect(node_id: str, endpoint: Endpoint) -> Engine:
        scheme = endpoint.url.partition("://")[0]
        if scheme not in ("unix", "tcp"):
            raise ValueError(f"endpoint: {endpoint.url!r}: write unix:///PATH or tcp://ADDRESS:PORT")
        is_secret = endpoint.ca or endpoint.cert or endpoint.key
        tls = Tls(endpoint.ca, endpoint.cert, endpoint.key) if is_secret else None
        return DockerEngine(endpoint.url, core_id=core_id(), tls=tls)

    return connect


def real_cluster(
    directory: str | Path,
    connect: Callable[[str, Endpoint], Engine],
    *,
    config: CoreConfig | None = None,
    clock: Clock | None = None,
    options: ClusterOptions = ClusterOptions(),  # noqa: B008 (immutable)
    per_node: int = 16,
    choice: PolicyChoice | None = None,
) -> LiveCluster:
    """A live cluster over the engines that ``connect`` makes."""
    clock = clock or SystemClock()

    def gateway(templates: Any, labels: Callable[[StartWorkload], dict[str, str]]) -> NodeGateway:
        return EngineGateway(clock, templates, labels, per_node=per_node)

    header = Header(config=config or live_config())
    return LiveCluster(header, SqliteStore(directory), clock, core_maker(choice), gateway, connect, options)
