"""A service as a process of its own: the real one, over engines in memory. It says where it listens, and ends with its
stdin. ``mem://`` is a node of 8 cores and 32 GiB; the commands that it knows: `memory_engine_kit.Process`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))

import structlog
from memory_engine_kit import connector

from backends.real.builds.sources import GitSettings
from backends.real.cluster import ClusterOptions
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.eru_v1.service import eru_service
from backends.real.service.server import Server, ServerOptions
from eru_sim.live.composition import real_cluster


async def serve(directory: str, token: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    cluster = real_cluster(directory, connector({}), options=ClusterOptions())
    await cluster.start()
    options = ServerOptions(bind="127.0.0.1:0", tokens={"operator": token} if token else {})
    server = Server(options, [eru_service(cluster, EruOptions(version="test", git=GitSettings(kind="github")))])
    await server.start()
    print(server.address, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0.5)
    await cluster.stop()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
