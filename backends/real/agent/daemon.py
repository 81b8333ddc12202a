"""The agent as a process: what it is made of, its pid file, and what signals mean.

TERM, INT and QUIT end the node's lease and then the process; USR1 ends the process and leaves the lease, so that the
next agent goes on with it and nobody notices. Killed in any other way, it leaves the lease too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TextIO
from urllib.parse import urlsplit

import grpc
import structlog
from prometheus_client import disable_created_metrics

from backends.real import cgroups
from backends.real.agent.addresses import LOOPBACK
from backends.real.agent.agent import Agent, Part
from backends.real.agent.config import Config, address_of
from backends.real.agent.core_client import CoreClient, CoreError, CoreUnreachable, NodeFacts
from backends.real.agent.grpc_core import GrpcCore
from backends.real.agent.health import Prober
from backends.real.agent.heartbeat import Heartbeat
from backends.real.agent.http_api import HttpApi
from backends.real.agent.identity import is_mine
from backends.real.agent.logs.forwarder import Forwarder
from backends.real.agent.logs.hub import Cursors, LogHub
from backends.real.agent.logs.lines import fnv32a
from backends.real.agent.logs.sinks import Sink, StdoutSink, make_sink
from backends.real.agent.logs.spool import DiskSpool, MemorySpool, Spool
from backends.real.agent.metrics.sampler import Sampler
from backends.real.agent.metrics.statsd import Statsd
from backends.real.agent.metrics.usage import UsageReader
from backends.real.agent.reports import Reporter
from backends.real.agent.telemetry import Telemetry
from backends.real.agent.workloads import Workloads
from backends.real.clock import Clock, MonotonicClock, sleep
from backends.real.engines.base import Engine
from backends.real.engines.docker import DockerEngine
from backends.real.logging_setup import set_up_logs

END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HAND_OVER_SIGNAL = signal.SIGUSR1

STRAGGLER_TIMEOUTS = 3
"""A call that has timed out may still be carried out until so many timeouts after."""
_SAVE_NS = 1_000_000_000
_FIRST_PAUSE_NS = 1_000_000_000
_LONGEST_PAUSE_NS = 30_000_000_000
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")

_log = structlog.get_logger()


class AgentError(Exception):
    """The agent cannot begin; one line that says what to do."""


def serve(config: Config) -> None:
    """Be the agent until a signal ends it. `AgentError` where it cannot begin."""
    with contextlib.ExitStack() as locks:
        pid_file = locks.enter_context(_locked("pid", Path(config["pid"])))
        pid_file.write(f"{os.getpid()}\n")
        pid_file.flush()
        if config["log.spool.dir"]:
            directory = Path(config["log.spool.dir"])
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise AgentError(f"log.spool.dir: {_reason(error)}; name another directory") from None
            locks.enter_context(_locked("log.spool.dir", directory / "lock"))
        set_up_logs("logfmt", config["log_level"])
        disable_created_metrics()  # type: ignore[no-untyped-call]
        asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    """Begin, and go on until a signal says whether to end the lease; before there is one, any just ends the process."""
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[bool] = loop.create_future()

    def end(number: signal.Signals, ends_lease: bool) -> None:
        _log.info("the agent ends", signal=number.name)
        if not ending.done():
            ending.set_result(ends_lease)

    for number in END_SIGNALS:
        loop.add_signal_handler(number, end, number, True)
    loop.add_signal_handler(HAND_OVER_SIGNAL, end, HAND_OVER_SIGNAL, False)
    async with contextlib.AsyncExitStack() as stack:
        beginning = asyncio.create_task(_begin(config, stack))
        await asyncio.wait((beginning, ending), return_when=asyncio.FIRST_COMPLETED)
        if not beginning.done():
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            return
        agent = beginning.result()
        ending.add_done_callback(lambda done: agent.stop(ends_lease=done.result()))
        await agent.run()


async def _begin(config: Config, stack: contextlib.AsyncExitStack) -> Agent:
    """Put the agent together. What it has to let go of in the end goes to the stack."""
    clock, telemetry, name = MonotonicClock(), Telemetry(), config["hostname"]
    core = GrpcCore(
        config["core"],
        username=config["auth.username"],
        password=config["auth.password"],
        token=config["auth.token"],
        timeout_s=config["global_connection_timeout"],
        credentials=_credentials(config),
    )
    stack.push_async_callback(core.close)
    core_id, node = await _introduce(core, name, clock)
    engine = _engine(config)
    stack.push_async_callback(engine.close)
    hub, parts = _logs(config, engine, clock, node, telemetry, stack)
    statsd = Statsd([address_of(text) for text in config["metrics.transfers"]], node=name)
    stack.callback(statsd.close)
    sampler = Sampler(
        UsageReader(cgroups.detect()), clock, node=name, step_ns=config.nanoseconds("metrics.step"), send=statsd.send
    )
    telemetry.registry.register(sampler)
    parts["metrics"] = sampler
    reporter = Reporter(
        core,
        clock,
        cache_ttl_ns=config.nanoseconds("healthcheck.cache_ttl"),
        straggler_ns=STRAGGLER_TIMEOUTS * config.nanoseconds("global_connection_timeout"),
        telemetry=telemetry,
        random=Random(),
    )
    workloads = Workloads(
        engine,
        Prober(engine, timeout_s=config["healthcheck.timeout"]),
        reporter,
        clock,
        node=name,
        node_address=_host_of(node.endpoint),
        owns=partial(is_mine, node=name, core_id=core_id) if config["check_only_mine"] else lambda instance: True,
        interval_ns=config.nanoseconds("healthcheck.interval"),
        retry_ns=config.nanoseconds("global_connection_timeout"),
        telemetry=telemetry,
        companions=(hub, sampler),
    )
    if config["api.addr"]:
        await _listen(HttpApi(hub, telemetry.registry, version=version("eru-sim")), config["api.addr"], stack)

    def tell_all() -> None:
        _log.info("the lease had lapsed: all workloads are reported again")
        reporter.forget_sent()
        workloads.check_soon()

    heartbeat = None
    if config["heartbeat_interval"]:
        heartbeat = Heartbeat(
            name,
            core,
            engine.ping,
            clock,
            interval_ns=config.nanoseconds("heartbeat_interval"),
            telemetry=telemetry,
            on_return=tell_all,
        )
    _log.info("the agent begins", node=name, core=core_id, pid=os.getpid())
    return Agent(
        clock,
        heartbeat=heartbeat,
        workloads=workloads,
        others=parts,
        telemetry=telemetry,
        release_timeout_s=config["global_connection_timeout"],
    )


def _credentials(config: Config) -> grpc.ChannelCredentials | None:
    """For TLS; None where the settings say nothing of it."""
    found: dict[str, bytes | None] = {}
    for key in ("tls.ca", "tls.key", "tls.cert"):
        try:
            found[key] = Path(config[key]).read_bytes() if config[key] else None
        except OSError as error:
            raise AgentError(f"{key}: {_reason(error)}; name another file") from None
    if found["tls.ca"] is None:
        return None
    return grpc.ssl_channel_credentials(found["tls.ca"], found["tls.key"], found["tls.cert"])


async def _introduce(core: CoreClient, name: str, clock: Clock) -> tuple[str, NodeFacts]:
    """Which core it is, and what it knows of us; wait until one answers."""
    pause_ns = _FIRST_PAUSE_NS
    while True:
        try:
            try:
                core_id = await core.identifier()
            except CoreUnreachable:
                raise
            except CoreError as error:
                raise AgentError(f"core: {error}; check the settings of auth") from None
            return core_id, await core.node(name)
        except CoreUnreachable as error:
            _log.warning("waiting for the core", error=str(error))
            await sleep(clock, pause_ns)
            pause_ns = min(2 * pause_ns, _LONGEST_PAUSE_NS)
        except CoreError as error:
            raise AgentError(
                f"hostname: the core has no node {name!r} ({error}); add the node first, or give its name by --hostname"
            ) from None


def _engine(config: Config) -> Engine:
    try:
        return DockerEngine(config["docker.endpoint"], core_id=None)
    except ValueError as error:
        raise AgentError(f"docker.endpoint: {error}") from None


def _logs(
    config: Config, engine: Engine, clock: Clock, node: NodeFacts, telemetry: Telemetry,
    stack: contextlib.AsyncExitStack,
) -> tuple[LogHub, dict[str, Part]]:  # fmt: skip
    """What reads output and what sends it, by name."""
    directory = Path(config["log.spool.dir"]) if config["log.spool.dir"] else None
    limit_bytes = config["log.spool.bytes"]

    def forwarder(url: str, sink: Sink) -> Forwarder:
        place = directory / f"{_UNSAFE.sub('_', url)[:80]}-{fnv32a(url):08x}" if directory else None
        try:
            spool: Spool = DiskSpool(place, limit_bytes) if place else MemorySpool(limit_bytes)
        except OSError as error:
            raise AgentError(f"log.spool.dir: {_reason(error)}; name another directory") from None
        reconnect_ns = config.nanoseconds("log.reconnect")
        made = Forwarder(url, sink, spool, clock, reconnect_ns=reconnect_ns, telemetry=telemetry)
        stack.callback(made.close)
        return made

    forwarders = [forwarder(url, make_sink(url)) for url in dict.fromkeys(config["log.forwards"])]
    echo = forwarder("stdout", StdoutSink()) if config["log.stdout"] else None
    hub = LogHub(
        engine,
        forwarders,
        clock,
        echo=echo,
        node=config["hostname"],
        pool=node.pool,
        cursors=Cursors(directory / "cursors.json" if directory else None),
        wall_ns=time.time_ns,
        retry_ns=config.nanoseconds("global_connection_timeout"),
        save_ns=_SAVE_NS,
        telemetry=telemetry,
    )
    parts: dict[str, Part] = {one.name: one for one in (*forwarders, *([echo] if echo else []))}
    parts["logs"] = hub
    return hub, parts


async def _listen(api: HttpApi, address: str, stack: contextlib.AsyncExitStack) -> None:
    host, port = address_of(address)
    try:
        await api.start(host, port)
    except OSError as error:
        raise AgentError(f"api.addr: cannot listen on {host}:{port}: {_reason(error)}; choose another one") from None
    stack.push_async_callback(api.stop)


def _host_of(endpoint: str) -> str:
    """The host in the endpoint of a node's engine; loopback where it has none."""
    try:
        return urlsplit(endpoint).hostname or LOOPBACK
    except ValueError:
        return LOOPBACK


@contextlib.contextmanager
def _locked(key: str, path: Path) -> Iterator[TextIO]:
    """Hold a file of our own meanwhile. Its lock says that an agent runs, for a killed one leaves the file."""
    while True:
        try:
            file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise AgentError(f"{key}: {_reason(error)}; name another one") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AgentError(f"{key}: {path}: another agent holds it; end that one, or name another") from None
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                # The agent that held it has just removed it.
                continue
            file.truncate(0)
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)
            return


def _reason(error: OSError) -> str:
    what = (error.strerror or str(error)).lower()
    return f"{error.filename}: {what}" if error.filename else what
