"""The live service, put together: cluster, server, metrics, recording; from the start to a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec
import structlog

from backends.real.builds.building import empty_directory
from backends.real.builds.sources import GitSettings
from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.driver import DriverOptions, DriverStopped
from backends.real.errors import Conflict, Rejected
from backends.real.recovery import RecoveryError
from backends.real.service.calls import CallLimits
from backends.real.service.corerpc.context import CoreRpcOptions
from backends.real.service.corerpc.service import CoreRpc
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.eru_v1.service import eru_service
from backends.real.service.metrics import MetricsServer, ServiceMetrics
from backends.real.service.server import Server, ServerOptions, Tls
from backends.real.stores.base import StoreError
from eru_sim.errors import EruError
from eru_sim.live.composition import PLUGINS, connector, live_config, real_cluster, simulated_cluster
from eru_sim.live.recording import Recording
from eru_sim.live.runtime import settle_memory
from eru_sim.options import choose_policy, choose_queue, parse_engine
from scheduler import kernels
from scheduler.config import PluginConfig, QueueConfig
from scheduler.core import ContractError
from scheduler.journal import JournalError

SECOND_NS = 1_000_000_000
GRACE_SECONDS = 10.0

_log = structlog.get_logger("eru.service")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `eru serve` is told.

    ``engines`` is "real" (nodes say by their endpoint what they are) or "simulated", with a model of latencies and
    faults after a colon. ``policy`` "" leaves the one in force. ``metrics`` is ``address:port``, "" for none.
    """

    data_dir: str
    listen: str = "127.0.0.1:5001"
    is_open: bool = False
    tls: Tls | None = None
    users: Mapping[str, str] = {}
    tokens: Mapping[str, str] = {}
    limits: CallLimits = CallLimits()
    policy: str = ""
    queue: str = "priority"
    plugins: tuple[PluginConfig, ...] = PLUGINS
    overcommit: Mapping[str, float] = {}
    engines: str = "real"
    journal: str = ""
    metrics: str = ""
    retention_ns: int = DriverOptions().retention_ns
    snapshot_batches: int = DriverOptions().snapshot_batches
    reconcile_ns: int = ClusterOptions().reconcile_ns
    core_id: str = ""
    advertise: tuple[str, ...] = ()
    build_pool: str = ""
    git: GitSettings | None = None


def make_cluster(settings: Settings) -> LiveCluster:
    """The cluster that the settings describe, not started; `EruError` and ValueError name what makes no sense."""
    choice = choose_policy(settings.policy or "best-fit")
    queue = choose_queue(settings.queue)
    config = live_config(
        queue=QueueConfig(queue.name, queue.params),
        plugins=settings.plugins,
        overcommit=dict(settings.overcommit),
        scheduling_pass=queue.scheduling_pass,
    )
    config = msgspec.structs.replace(
        config, policy=msgspec.structs.replace(config.policy, name=choice.name, params=choice.params)
    )
    config.check()
    options = ClusterOptions(
        driver=DriverOptions(snapshot_batches=settings.snapshot_batches, retention_ns=settings.retention_ns),
        reconcile_ns=settings.reconcile_ns,
        core_id=settings.core_id,
    )
    kind, _, model = settings.engines.partition(":")
    if kind == "simulated":
        found = parse_engine(model, 0)
        return simulated_cluster(settings.data_dir, model=found, config=config, options=options, choice=choice)
    if settings.engines != "real":
        raise EruError(f"--engines: {settings.engines!r} is neither 'real' nor 'simulated[:KEY=VALUE,...]'")
    holder: list[LiveCluster] = []
    cluster = real_cluster(
        settings.data_dir, connector(lambda: holder[0].core_id), config=config, options=options, choice=choice
    )
    holder.append(cluster)
    return cluster


async def serve(settings: Settings, announce: Callable[[str], None] = lambda line: None) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully; a second signal ends the process at once.

    ``announce`` is told where the service can be reached, once it can. `EruError` says in one line why it cannot be.
    """
    cluster = make_cluster(settings)
    stopping = _on_signals()
    try:
        await cluster.start()
    except (StoreError, RecoveryError, Rejected, JournalError, ContractError) as error:
        with contextlib.suppress(Exception):
            await cluster.store.close()
        raise EruError(str(error)) from None
    try:
        await _set_policy(cluster, settings)
        if settings.journal:
            await Recording(cluster, settings.journal).start()
        await _serve(cluster, settings, stopping, announce)
    finally:
        await cluster.stop()
    _log.info("stopped", batches=cluster.driver.journal.batches, digest=cluster.driver.journal.journal_digest)


async def _set_policy(cluster: LiveCluster, settings: Settings) -> None:
    """An existing store goes on with the policy in force, unless another one is named."""
    if not settings.policy:
        return
    choice, known = choose_policy(settings.policy), cluster.core.policy_config
    if (choice.name, dict(choice.params)) != (known.name, dict(known.params)):
        await cluster.set_policy(choice.name, choice.params)


def _git(settings: Settings) -> GitSettings | None:
    """The settings of sources with a place for builds in the data directory, which nobody else uses now."""
    if settings.git is None:
        return None
    directory = Path(settings.data_dir) / "builds"
    empty_directory(directory)
    return msgspec.structs.replace(settings.git, directory=str(directory.absolute()))


async def _serve(
    cluster: LiveCluster, settings: Settings, stopping: asyncio.Event, announce: Callable[[str], None]
) -> None:
    addresses = settings.advertise or (settings.listen,)
    git = _git(settings)
    core_rpc = CoreRpc(cluster, CoreRpcOptions(address=addresses[0], build_pool=settings.build_pool, git=git))
    eru = eru_service(
        cluster,
        EruOptions(
            addresses=addresses,
            version=version("eru-sim"),
            policies=(choose_policy(settings.policy).name,) if settings.policy else (),
            git=git,
        ),
    )
    options = ServerOptions(
        bind=settings.listen,
        tls=settings.tls,
        users=settings.users,
        tokens=settings.tokens,
        is_open=settings.is_open,
        limits=settings.limits,
    )
    server = Server(options, [eru, core_rpc.service()])
    metrics = MetricsServer(ServiceMetrics(cluster, server).registry)
    try:
        if settings.metrics:
            host, _, port = settings.metrics.rpartition(":")
            await metrics.start(host.strip("[]"), int(port))
        kernels.load()
        await server.start()
        settle_memory()
        _log.info("serving", address=server.address, metrics=metrics.address, core=cluster.core_id)
        announce(f"serving on {server.address}" + (f", metrics on {metrics.address}" if settings.metrics else ""))
        await _until_stopped(cluster, stopping)
        _log.info("stopping")
    finally:
        await core_rpc.close()
        await server.stop(GRACE_SECONDS)
        await metrics.stop()


async def _until_stopped(cluster: LiveCluster, stopping: asyncio.Event) -> None:
    """Return when a signal asks for it; raise what stopped the driver, for then nothing can be promised any more."""
    asked = asyncio.create_task(stopping.wait())
    driver = asyncio.create_task(cluster.wait())
    try:
        await asyncio.wait((asked, driver), return_when=asyncio.FIRST_COMPLETED)
        if driver.done():
            try:
                driver.result()
            except (StoreError, DriverStopped, Conflict) as error:
                raise EruError(f"the service cannot go on: {error}") from None
    finally:
        for task in (asked, driver):
            task.cancel()
        await asyncio.gather(asked, driver, return_exceptions=True)


def _on_signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; the second ends the process."""
    stopping = asyncio.Event()

    def signalled(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled, number)
    return stopping


def read_secret(path: str, field: str) -> str:
    """The first line of a file; `EruError` where there is none."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].strip():
        raise EruError(f"{field}: {path} is empty; write the secret on its first line")
    return lines[0].strip()


def read_tokens(path: str) -> dict[str, str]:
    """Tokens by name: lines of ``NAME:TOKEN`` or of a token alone; empty lines and those with # are skipped."""
    tokens: dict[str, str] = {}
    for place, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, token = text.partition(":")
        if not colon:
            name, token = f"token-{place}", text
        if name in tokens:
            raise EruError(f"--token-file: {path}, line {place}: {name!r} is there twice")
        tokens[name] = token.strip()
    if not tokens:
        raise EruError(f"--token-file: {path} has no token in it")
    return tokens
