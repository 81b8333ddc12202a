"""A node that only exists in memory, for ``sim://`` endpoints: it says what it is and answers pings."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from backends.real.endpoints import Endpoint
from backends.real.engines.base import Capability, EngineInfo, Instance, InstanceSpec, Unsupported
from backends.real.hook_output import HookSink


class SimulatedNode:
    """As an `backends.real.engines.base.Engine`: work runs by the model of `SimulatedGateway`, so nothing can be run
    inside it, and whatever else an engine does is `Unsupported`.

    The endpoint says what the node is: ``sim://?cpus=64&memory=256000000000``.
    """

    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, node_id: str, endpoint: Endpoint) -> None:
        parts = urlsplit(endpoint.url)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if parts.scheme != "sim":
            raise ValueError(f"endpoint: {endpoint.url!r} is not simulated; write sim://?cpus=8&memory=32000000000")
        try:
            self._cpus = int(query.pop("cpus", "8"))
            self._memory_bytes = int(query.pop("memory", "32000000000"))
        except ValueError:
            raise ValueError(f"endpoint: {endpoint.url!r}: cpus and memory must be whole numbers") from None
        if query or self._cpus < 1 or self._memory_bytes < 1:
            raise ValueError(f"endpoint: {endpoint.url!r}: it takes cpus and memory, each at least 1, and nothing else")
        self.node_id = node_id

    async def info(self) -> EngineInfo:
        """See `Engine.info`."""
        cpus = tuple(str(number) for number in range(self._cpus))
        return EngineInfo(kind="simulated", version="1", cpus=cpus, memory_bytes=self._memory_bytes)

    async def ping(self) -> None:
        """See `Engine.ping`."""

    async def instances(self) -> list[Instance]:
        """See `Engine.instances`: what runs here is the gateway's to say."""
        return []

    async def start(self, spec: InstanceSpec, *, hook_output: HookSink | None = None) -> Instance:
        """Not to be called: the gateway starts."""
        raise Unsupported("start: a simulated node starts by its gateway")

    async def close(self) -> None:
        """See `Engine.close`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def unsupported(*_: object, **__: object) -> NoReturn:
            raise Unsupported(f"{name}: node {self.node_id} is simulated")

        return unsupported
