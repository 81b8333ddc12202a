"""The service itself: what it is, its policy, its journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from backends.real.service.calls import Call
from backends.real.service.errors import CallError, Status
from backends.real.service.eru_v1 import reading, writing
from backends.real.service.eru_v1.context import Methods
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.stores.base import Record
from backends.real.tail import OutOfRange, batch_instant

SECOND_NS = 1_000_000_000
_INTERVAL_NS = 10 * SECOND_NS


class ServiceMethods(Methods):
    """Every public method is one of the wire's."""

    async def GetInfo(self, request: pb.GetInfoRequest, call: Call) -> pb.ServiceInfo:
        """What the service is and does."""
        return self._info()

    async def WatchInfo(self, request: pb.WatchInfoRequest, call: Call) -> AsyncIterator[pb.ServiceInfo]:
        """The same, now and every so often."""
        interval_ns = reading.whole("interval_ns", request.interval_ns or _INTERVAL_NS, SECOND_NS // 10)
        call.is_watch = True
        while True:
            message = self._info()
            message.interval_ns = 2 * interval_ns
            yield message
            await asyncio.sleep(interval_ns / SECOND_NS)

    def _info(self) -> pb.ServiceInfo:
        cluster, core = self.cluster, self.cluster.core
        config, journal = core.config, cluster.driver.journal
        return pb.ServiceInfo(
            version=self.options.version,
            core_id=cluster.core_id,
            addresses=self.options.addresses,
            policy=self._policy(),
            queue=config.queue.name,
            queue_params_json=writing.json_text(config.queue.params),
            dimensions=[
                pb.Dimension(name=one.name, unit=one.unit, overcommit=config.overcommit.get(one.name, 1.0))
                for one in config.dimensions
            ],
            plugins=[
                pb.Plugin(
                    name=one.name, version=one.version, params_json=writing.json_text(one.params), weight=one.weight
                )
                for one in config.plugins
            ],
            workloads=core.partition(),
            nodes=Counter(str(node.state) for node in core.cluster.by_id.values()),
            operations=len(cluster.operations),
            batches=journal.batches,
            journal_digest=journal.journal_digest,
            decision_digest=journal.decision_digest,
            at_ns=cluster.clock.now_ns(),
            orphans=[
                pb.Orphan(node_id=one.node_id, workload_id=one.workload_id, generation=one.generation)
                for one in cluster.orphans
            ],
        )

    async def GetPolicy(self, request: pb.GetPolicyRequest, call: Call) -> pb.Policy:
        """What decides."""
        return self._policy()

    def _policy(self) -> pb.Policy:
        return writing.policy(self.cluster, self.options.policies)

    async def SetPolicy(self, request: pb.SetPolicyRequest, call: Call) -> pb.Policy:
        """Decide by another policy from now on."""
        params = reading.json_object("params_json", request.params_json)

        async def carry_out(records: Sequence[Record]) -> pb.Policy:
            await self.cluster.set_policy(request.name, params, records=records)
            return self._policy()

        return await self.once(call, request, carry_out, lambda asked: self._policy())

    async def TailJournal(self, request: pb.TailJournalRequest, call: Call) -> AsyncIterator[pb.JournalLine]:
        """The journal, from the store."""
        cluster = self.cluster
        first, limit = request.first_seq, reading.whole("limit", request.limit)
        if first < 0:
            first = max(cluster.tail.end + first, await cluster.tail.begin())
        call.is_watch = request.follow
        if request.with_header:
            yield pb.JournalLine(seq=-1, line=await cluster.store.header())
        sent = 0
        try:
            async for line in cluster.tail.lines(first, follow=request.follow):
                yield pb.JournalLine(seq=first + sent, at_ns=batch_instant(line), line=line)
                sent += 1
                if sent == limit:
                    return
        except OutOfRange as error:
            raise CallError(Status.OUT_OF_RANGE, str(error)) from None
