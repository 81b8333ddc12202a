"""How long a Docker node of the testbed takes: ``python -m benchmarks.docker_engine [--count N]``, as root, bed up."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from backends.real.engines.base import InstanceSpec
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_api import Tls
from backends.real.template import Hooks, Template
from testbed import beds

TEMPLATE = Template(stop_grace_ns=10**9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, metavar="N", help="of instances (20)")
    count = parser.parse_args().count
    env = beds.read_env(beds.find_bed())
    if env is None:
        raise SystemExit("no testbed is up; make testbed-up")
    end = env["nodes"][0]["docker"]
    names = ("ca_file", "certificate_file", "key_file")
    tls = Tls(*(Path(end[name]).read_text(encoding="ascii") for name in names))
    for title, url, certificates in (("socket", end["url"], None), ("TLS", end["tls_url"], tls)):
        print(f"{title}: milliseconds, median and longest of {count}")
        asyncio.run(_measure(DockerEngine(url, core_id="benchmark", tls=certificates), count))


async def _measure(engine: DockerEngine, count: int) -> None:
    ids = [f"bench/{number}" for number in range(count)]

    async def one_by_one(title: str, call: Callable[[str], Awaitable[Any]]) -> None:
        spent = []
        for workload_id in ids:
            began = time.perf_counter()
            await call(workload_id)
            spent.append((time.perf_counter() - began) * 1000)
        print(f"  {title:24}{statistics.median(spent):8.1f}{max(spent):8.1f}")

    async def all_at_once(title: str, call: Callable[[str], Awaitable[Any]]) -> None:
        began = time.perf_counter()
        await asyncio.gather(*(call(workload_id) for workload_id in ids))
        print(f"  {title:24}{count / (time.perf_counter() - began):8.1f} a second")

    def start(workload_id: str, generation: int = 1, template: Template = TEMPLATE) -> Awaitable[Any]:
        return engine.start(
            InstanceSpec(
                workload_id=workload_id, generation=generation, node_id="n", image="eru-test:local", template=template
            )
        )

    async def execute(workload_id: str) -> None:
        session = await engine.execute(workload_id, 1, ["true"])
        await session.exit_code()
        await session.close()

    try:
        await one_by_one("start", start)
        await one_by_one("start again", start)
        await one_by_one("inspect", lambda workload_id: engine.inspect(workload_id, 1))
        limits = {"cpu_quota": 50_000, "cpu_period": 100_000, "cpuset_cpus": "0"}
        await one_by_one("update", lambda workload_id: engine.update(workload_id, 1, limits))
        await one_by_one("list all", lambda _: engine.instances())
        await one_by_one("usage", lambda workload_id: engine.usage(workload_id, 1))
        await one_by_one("command inside", execute)
        await one_by_one("stop, kept", lambda workload_id: engine.stop(workload_id, 1, keep=True))
        await one_by_one("start of what was kept", lambda workload_id: start(workload_id, 2))
        await one_by_one("stop", lambda workload_id: engine.stop(workload_id, 2, keep=False))
        hooked = Template(stop_grace_ns=10**9, hooks=Hooks(after_start=("true",)))
        await one_by_one("start with a hook", lambda workload_id: start(workload_id, 1, hooked))
        await one_by_one("kill", lambda workload_id: engine.stop(workload_id, 1, keep=False, grace_ns=0))
        await all_at_once("start, all at once", start)
        await all_at_once("kill, all at once", lambda workload_id: engine.stop(workload_id, 1, keep=False, grace_ns=0))
    finally:
        for instance in await engine.instances():
            await engine.stop(instance.workload_id, instance.generation, keep=False, grace_ns=0)
        await engine.close()


if __name__ == "__main__":
    main()
