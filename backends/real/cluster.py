"""The live cluster: everything around a running core, in one place for the services.

Whatever changes something goes through the driver and returns when it is durable; whatever only looks, looks at the
core between two steps. Pools, nodes and workloads are parts of their own (`LiveCluster.pools`, ``nodes``,
``workloads``). Reading, exec, attach, logs and file copies go straight to the engine of the node (`Workloads.place`),
and do not pass through the core.

Errors: `backends.real.errors` has those of the cluster, `Overloaded` and `DriverStopped` come from the driver,
`EngineError` from engines. All are one line, and hold no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog

from backends.real import adoption, nodes, pools, restarts, tombstones
from backends.real import template as templates
from backends.real.applying import apply
from backends.real.clock import Clock, sleep
from backends.real.driver import DriverOptions, DriverStopped, LiveDriver, Overloaded
from backends.real.endpoints import Connect
from backends.real.engines.base import EngineError
from backends.real.errors import Exists, Missing, Rejected
from backends.real.gateway import NodeGateway
from backends.real.liveness import Liveness, LivenessOptions
from backends.real.nodes import Nodes
from backends.real.operations import OperationHub, OperationView
from backends.real.pools import Pools
from backends.real.reconciliation import Orphan, compare, standing
from backends.real.recovery import MakeCore, reconcile, recover
from backends.real.requests import RequestTable
from backends.real.restarts import Restarts
from backends.real.shielding import shielded
from backends.real.statuses import StatusTable
from backends.real.stored_templates import StoredTemplates
from backends.real.stores.base import Record, Store
from backends.real.tail import Tail
from backends.real.template import Template, TemplateCache
from backends.real.tombstones import Tombstones
from backends.real.workloads import Workloads
from scheduler import journal
from scheduler.commands import StartWorkload
from scheduler.core import Core
from scheduler.events import AnyEvent, PolicyChanged

SECOND_NS = 1_000_000_000

_log = structlog.get_logger("eru.cluster")


class ClusterOptions(NamedTuple):
    """Intervals and bounds of the edge; see also what drivers and liveness have.

    ``core_id`` is for a new store, in place of one that was lost. Engines are compared with the core every
    ``reconcile_ns``. What has ended by itself is removed from its node ``ended_ns`` later, so that its output can be
    read until then. Of the templates in the store about ``template_bytes`` are at hand.
    """

    driver: DriverOptions = DriverOptions()
    liveness: LivenessOptions = LivenessOptions()
    reconcile_ns: int = 30 * SECOND_NS
    ended_ns: int = 600 * SECOND_NS
    tick_ns: int = SECOND_NS // 2
    template_bytes: int = 64 << 20
    core_id: str = ""


class LiveCluster:
    """One core, its driver, its engines and what the edge remembers. `start` before anything else, `stop` at the end.

    ``make_core`` makes a core as a journal's header says. ``make_gateway`` gets the function that finds templates and
    the one that says what labels an instance gets.
    """

    core: Core
    driver: LiveDriver
    gateway: NodeGateway
    liveness: Liveness
    pools: Pools
    nodes: Nodes
    workloads: Workloads
    operations: OperationHub
    requests: RequestTable
    tail: Tail

    def __init__(
        self,
        header: journal.Header,
        store: Store,
        clock: Clock,
        make_core: MakeCore,
        make_gateway: Callable[[Callable[[str], Any], Callable[[StartWorkload], dict[str, str]]], NodeGateway],
        connect: Connect,
        options: ClusterOptions = ClusterOptions(),  # noqa: B008 (immutable)
    ) -> None:
        self.clock = clock
        self.store = store
        self.options = options
        self.statuses = StatusTable(clock)
        self.core_id = ""
        self.closing: list[Callable[[], Awaitable[object]]] = []
        """Awaited by `stop` when the journal has come to its end and the store is still open."""
        self.orphans: list[Orphan] = []
        """Instances of ours that the core does not know, as of the last comparison; they are left alone."""
        self._header = header
        self._make_core = make_core
        self._make_gateway = make_gateway
        self._connect = connect
        self._templates = TemplateCache(options.template_bytes)
        self._restarts = Restarts(self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._loop_task: asyncio.Task[None] | None = None
        self._reconcile_now = asyncio.Event()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, recover the core, look at the engines, and begin to serve.

        `StoreError` and `RecoveryError` say why that cannot be.
        """
        await self.store.open()
        recovered = await recover(self.store, self._header, self._make_core)
        self.core = core = recovered.core
        settings = await self.store.load("settings")
        self.core_id = settings.get("core_id", b"").decode() or self.options.core_id or secrets.token_hex(8)
        if self.options.core_id not in ("", self.core_id):
            raise Rejected(f"core_id: {self.options.core_id!r}, but the store is that of {self.core_id!r}")
        await self.store.commit((), [Record("settings", "core_id", self.core_id.encode())])
        self._stored_templates = StoredTemplates(core, self.store)
        await self._stored_templates.load(recovered.writer.batches)
        self._tombstones = Tombstones(core, await self.store.load(tombstones.TABLE))
        self.gateway = self._make_gateway(self._find_template, partial(adoption.labels_of, core))
        self.driver = LiveDriver(
            core,
            recovered.header,
            self.store,
            self.gateway,
            self.clock,
            resume=recovered.writer,
            options=self.options.driver,
        )
        self.operations = OperationHub(core, self.clock)
        unfinished = self.operations.load(await self.store.load("operations"), await self.store.load("results"))
        self.requests = RequestTable(await self.store.load("requests"))
        self.driver.observers += [self.operations.observe, self._tombstones.observe, self._stored_templates.observe]
        self.driver.saved.append(self._stored_templates.prune)
        self.tail = Tail(self.store, self.driver.journal.batches)
        self.driver.committed += [self.tail.committed, self.operations.committed]
        self.pools = Pools(self.driver, await self.store.load(pools.TABLE))
        self.liveness = Liveness(core, self.clock, self.tell, self.gateway.engine, self.options.liveness)
        self.nodes = Nodes(
            self.driver,
            self.gateway,
            self.liveness,
            pools=self.pools,
            tombstones=self._tombstones,
            operations=self.operations,
            connect=self._connect,
            ask=self.ask,
        )
        self.workloads = Workloads(core, self.nodes, self.statuses, self._tombstones, self.driver.report)
        self.liveness.listen(self.workloads.note_lease)
        self.driver.committed.append(self.workloads.committed)
        self.nodes.load(await self.store.load(nodes.TABLE))
        self.gateway.on_gap = self._reconcile_now.set
        self.gateway.on_hook_output = self.operations.hear
        self.gateway.is_forced = self.operations.is_forced
        self.gateway.connect(self.driver.report)
        if self.driver.journal.batches:
            differences = await reconcile(recovered, self.gateway, self.driver.report, self._removable())
            self.orphans = differences.orphans
            _log.info(
                "recovered",
                batches=self.driver.journal.batches,
                replayed=recovered.replayed,
                missed=len(differences.events),
                repeated=len(differences.commands),
                orphans=len(differences.orphans),
            )
        self._loop_task = asyncio.create_task(self.driver.run(), name="driver")
        self._tasks = [
            asyncio.create_task(self.liveness.ping_forever(), name="pings"),
            asyncio.create_task(self._tick_forever(), name="ticks"),
            asyncio.create_task(self._reconcile_forever(), name="reconciliation"),
        ]
        for view in unfinished:
            self._restarts.go_on(view)

    async def wait(self) -> None:
        """Return when the driver has stopped; raise what stopped it."""
        assert self._loop_task is not None
        await asyncio.shield(self._loop_task)

    async def stop(self) -> None:
        """Finish what waits, save a snapshot, and let go of everything. Workloads go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._restarts.close()
        if self._loop_task is not None:
            self.driver.stop()
            await asyncio.gather(self._loop_task, return_exceptions=True)
            self.tail.close()
            for close in self.closing:
                await close()
            await self.gateway.close()
        await self.store.close()

    def tell(self, event: AnyEvent) -> None:
        """Have the core told of something, without waiting. What cannot be told now is found again later."""
        with contextlib.suppress(Exception):
            self.driver.offer(event)

    # -- operations ---------------------------------------------------------------------------------------------------

    def fresh_core(self) -> Core:
        """Another core, as this one was before the first batch: to apply the journal to it again."""
        return self._make_core(self.driver.header, None)

    async def ask(
        self,
        operation_id: str,
        *events: AnyEvent,
        template: Template | None = None,
        keep: bool = False,
        records: Sequence[Record] = (),
        kind: str = "",
        subjects: Sequence[str] = (),
        is_forced: bool = False,
    ) -> OperationView:
        """Have events applied, and return the operation that they begin, once they are durable.

        Every event must carry ``operation_id``. With ``template``, that is stored with them, and stays as long as the
        core or a kept batch refers to it; its digest is `digest_of`'s. With ``is_forced`` what is stopped for it is
        killed at once: no grace period, no hooks; a stop that an engine is at already goes on as it was begun.
        `Exists` where there is an operation of this id. A caller that is cancelled takes nothing back.
        """
        if self.operations.find(operation_id) is not None:
            raise Exists(f"operation {operation_id}: there is one already; choose another id")
        view = self.operations.begin(operation_id, keep=keep, kind=kind, subjects=subjects, is_forced=is_forced)
        staged = [*records, *self.operations.opening(view)]
        digest, encoded = "", b""
        if template is not None:
            encoded = template.encode()
            digest = templates.digest(encoded)
            if digest not in self._stored_templates:
                staged.append(Record("templates", digest, encoded))
        try:
            durable = self.driver.offer(*events, records=staged)
            if template is not None:
                self._templates.put(digest, template, len(encoded))
                self._stored_templates.hold(digest, durable)
            await asyncio.shield(durable)
        except (DriverStopped, Overloaded):
            if operation_id not in self.core.operations:
                self.operations.forget(operation_id)
            raise
        return view

    @shielded
    async def ask_each(
        self,
        events: Sequence[AnyEvent],
        *,
        kind: str = "",
        records: Sequence[Record] = (),
        is_forced: bool = False,
    ) -> list[OperationView]:
        """Have events applied that each begin an operation of their own about a workload, all or none of them.

        ``is_forced`` as in `ask`.
        """
        views = []
        for event in events:
            operation_id, workload_id = getattr(event, "operation_id", ""), getattr(event, "workload_id", "")
            views.append(
                self.operations.begin(operation_id, keep=True, kind=kind, subjects=[workload_id], is_forced=is_forced)
            )
        opening = [record for view in views for record in self.operations.opening(view)]
        try:
            await self.driver.submit(*events, records=[*records, *opening])
        except BaseException:
            for view in views:
                if view.operation_id not in self.core.operations:
                    self.operations.forget(view.operation_id)
            raise
        return views

    @shielded
    async def restart(
        self, asked: Mapping[str, str], *, records: Sequence[Record] = (), is_forced: bool = False
    ) -> list[OperationView]:
        """Stop workloads and start them again in place, with their files; goes on after a crash.

        ``asked`` maps the id of each operation to the workload that it is about; `Missing` where there is none of that
        id. ``is_forced`` as in `ask`.
        """
        for workload_id in asked.values():
            self.workloads.get(workload_id)
        views = [
            self.operations.begin(
                operation_id, keep=True, kind=restarts.KIND, subjects=[workload_id], is_forced=is_forced
            )
            for operation_id, workload_id in asked.items()
        ]
        opening = [record for view in views for record in self.operations.opening(view)]
        try:
            await self.driver.submit(records=[*records, *opening])
        except BaseException:
            for view in views:
                self.operations.forget(view.operation_id)
            raise
        for view in views:
            self._restarts.go_on(view)
        return views

    # -- policy -------------------------------------------------------------------------------------------------------

    @shielded
    async def set_policy(self, name: str, params: Mapping[str, Any], *, records: Sequence[Record] = ()) -> None:
        """Decide by another policy from now on; `Rejected` where its name or a parameter makes no sense."""
        try:
            self.core.check_policy(name, params)
        except ValueError as error:
            raise Rejected(str(error)) from None
        except (TypeError, ArithmeticError, LookupError) as error:
            raise Rejected(f"policy {name!r}: its parameters do not suit it: {error}") from None
        await apply(self.driver, name, [PolicyChanged(name=name, params=dict(params))], records)

    # -- templates ----------------------------------------------------------------------------------------------------

    def digest_of(self, template: Template) -> str:
        """The digest under which `ask` stores a template."""
        return templates.digest(template.encode())

    async def template(self, digest: str) -> Template:
        """A template by its digest, "" for one that says nothing; `Missing` where there is none."""
        if not digest:
            return Template()
        found = self._templates.get(digest)
        if found is None:
            encoded = await self.store.get("templates", digest)
            if encoded is None:
                raise Missing(f"template {digest}: it is not in the store")
            found = templates.decode(encoded)
            self._templates.put(digest, found, len(encoded))
        return found

    async def _find_template(self, digest: str) -> Template:
        try:
            return await self.template(digest)
        except (Missing, ValueError) as error:
            raise EngineError(str(error)) from None

    # -- what goes on by itself ---------------------------------------------------------------------------------------

    def _removable(self) -> dict[str, int]:
        return self._tombstones.removable(self.clock.now_ns() - self.options.ended_ns)

    async def _tick_forever(self) -> None:
        while True:
            await sleep(self.clock, self.options.tick_ns)
            self.liveness.expire()
            self.statuses.expire()

    async def _reconcile_forever(self) -> None:
        while True:
            handle = self.clock.call_at(self.clock.now_ns() + self.options.reconcile_ns, self._reconcile_now.set)
            await self._reconcile_now.wait()
            self._reconcile_now.clear()
            handle.cancel()
            with contextlib.suppress(EngineError):
                await self.reconcile()

    async def reconcile(self) -> None:
        """Compare engines with the core now: report what was missed, repeat what is open, remove what is left over."""
        before = standing(self.core)
        survey = await self.gateway.survey()
        differences = compare(self.core, survey, before, self._removable())
        for event in differences.events:
            self.driver.report(event)
        self.gateway.execute(differences.commands)
        unknown = [orphan for orphan in differences.orphans if orphan.workload_id not in self._tombstones]
        for orphan in unknown:
            if orphan not in self.orphans:
                _log.warning("orphan", node=orphan.node_id, workload=orphan.workload_id, generation=orphan.generation)
        self.orphans = unknown
        keep_ns = max(self.options.ended_ns, 10 * self.options.reconcile_ns)
        cleared = self._tombstones.clear(self.clock.now_ns() - keep_ns, survey, self.core.cluster.by_id)
        if cleared:
            await self.driver.submit(records=cleared)
