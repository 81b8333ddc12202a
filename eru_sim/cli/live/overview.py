"""What the commands at the root do: status, plan, queue, lambda, explain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.live import sessions, terminal, values, work
from eru_sim.cli.live.failures import ServiceError
from eru_sim.cli.live.listing import Column, Record, Rows, facts, listing, show_all, when
from eru_sim.cli.live.params import Details, Resources, Spreading
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.plans import planned
from eru_sim.cli.live.spec import read
from eru_sim.cli.live.workloads import WORKLOAD_COLUMNS, found

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

_CHANGE_COLUMNS = (
    Column("workload", "workload_id", width=28),
    Column("change", "change", width=12),
    Column("node", "node_id", width=14),
    Column("app", "app", width=10),
    Column("entrypoint", "entrypoint", width=10),
    Column("networks", "networks", is_wide=True),
)
_QUEUE_COLUMNS = (
    Column("workload", lambda record: record["workload"]["workload_id"]),
    Column("state", lambda record: record["workload"]["state"], is_wide=True),
    Column("priority", lambda record: record["workload"]["priority"]),
    Column("tenant", lambda record: record["workload"]["tenant"]),
    Column("waiting", "waiting_ns"),
    Column("why", lambda record: record["excuse"] or (record["diagnosis"] or {}).get("text")),
)
_RUN_COLUMNS = (
    Column("workload", "workload_id"), Column("node", "node_id"), Column("exit code", "exit_code"),
    Column("error", "error"),
)  # fmt: skip


async def statuses(
    service: Service, output: str, *, app: str, entry: str, node: str, label: Sequence[str] | None, limit: int
) -> Answer:
    """Workloads as they are now."""
    records = await found(service, app=app, entry=entry, node=node, label=label, limit=limit)
    return listing(output, records, WORKLOAD_COLUMNS, name="workload_id")


async def watch(
    service: Service, output: str, *, app: str, entry: str, node: str, label: Sequence[str] | None, limit: int
) -> int:
    """What agents say, as it changes."""
    labels = values.pairs("--label", label)
    request = pb.WatchWorkloadStatusesRequest(app=app, entrypoint=entry, node_id=node, with_current=True)
    rows = Rows(output, _CHANGE_COLUMNS, name="workload_id")
    await show_all(rows, _changes(service, request, labels), limit)
    return 0


async def _changes(service: Service, request: Any, labels: Mapping[str, str]) -> AsyncIterator[Record]:
    before: dict[str, str] = {}
    wanted: dict[str, bool] = {}
    async for message in service.stream("WatchWorkloadStatuses", request):
        record = plain(message)
        status = record["status"] or {}
        name = str(status.get("workload_id"))
        if labels and not await _has(service, name, labels, wanted):
            continue
        change = _change(record["kind"], status, before.get(name))
        if change == before.get(name):
            continue
        before[name] = change
        yield {**status, "workload_id": name, "change": change}


async def _has(service: Service, name: str, labels: Mapping[str, str], known: dict[str, bool]) -> bool:
    if name not in known:
        try:
            found_one = await service.call("GetWorkload", pb.GetWorkloadRequest(workload_id=name))
            known[name] = all(found_one.labels.get(key) == value for key, value in labels.items())
        except ServiceError as error:
            if error.status != "NOT_FOUND":
                raise
            return False
    return known[name]


def _change(kind: str | None, status: Mapping[str, Any], before: str | None) -> str:
    """What has happened, in Eru's words."""
    if kind in ("deleted", "expired"):
        return str(kind)
    if not status.get("is_running"):
        return "stopped"
    if not status.get("is_healthy"):
        return "unhealthy"
    return "back to life" if before in ("stopped", "unhealthy", "expired") else before or "healthy"


async def plan(
    service: Service,
    output: str,
    *,
    source: str,
    pool: str,
    entry: str,
    image: str,
    resources: Resources,
    spreading: Spreading | None,
    count: int,
) -> Answer:
    """A dry run; ``spreading`` None for one of a submission."""
    spec = read(source) if source else None
    names = list(spec.entrypoints) if spec else []
    name = entry or (names[0] if len(names) == 1 else "")
    if spec is not None:
        work.entry_of(spec, name)
    made = pb.WorkloadSpec(
        pool=pool, image=image, count=count, app=spec.appname if spec else "plan", entrypoint=name or "plan"
    )
    await work.demand(service, made, resources, spec)
    return await planned(service, made, work.spread(spreading) if spreading else None, output)


async def queue(service: Service, output: str, *, pool: str, tenant: str, limit: int) -> Answer:
    """What waits, and why."""
    request = pb.ListQueueRequest(pool=pool, tenant=tenant, limit=limit)
    records = [plain(entry) async for entry in service.stream("ListQueue", request)]
    return listing(output, records, _QUEUE_COLUMNS, name=lambda record: str(record["workload"]["workload_id"]))


async def run(
    service: Service,
    output: str,
    *,
    words: Sequence[str],
    pool: str,
    image: str,
    name: str,
    stdin: bool,
    privileged: bool,
    workdir: str,
    workload_id: str,
    detach: bool,
    timeout: str,
    resources: Resources,
    spreading: Spreading,
    details: Details,
) -> Answer | int:
    """Run copies to their end, or with ``detach`` until they run."""
    has_tty = stdin and terminal.is_terminal()
    made = pb.WorkloadSpec(
        workload_id=workload_id, image=image, count=spreading.count, app=name, entrypoint="lambda", pool=pool
    )
    template = made.template
    template.command.extend(words)
    template.working_dir, template.is_privileged = workdir, privileged
    template.open_stdin, template.has_tty = stdin, has_tty
    work.tell(template, details)
    if stdin:  # Docker ends a command's input only where it was told so at its creation
        template.engine_json = json.dumps({"stdin_once": True, **values.json_object("--raw-args", details.raw_args)})
    await work.demand(service, made, resources)
    start = pb.RunStart(spec=made, spread=work.spread(spreading), detach=detach)
    is_data = output not in ("table", "wide")
    limit_s = values.duration_ns("--async-timeout", timeout) / 1e9 if detach else None
    try:
        async with asyncio.timeout(limit_s):
            records, outputs = await sessions.run(service, start, stdin=stdin, tty=has_tty, keep=is_data)
    except TimeoutError:
        raise ServiceError("DEADLINE_EXCEEDED", f"it did not run within {timeout}", sessions.OURS) from None
    if detach:
        ok = bool(records) and not any(record["error"] for record in records)
        return listing(output, records, _RUN_COLUMNS[:2] + _RUN_COLUMNS[3:], name="workload_id", ok=ok)
    code = sessions.exit_code(records)
    if is_data:
        from eru_sim.cli.answer import show

        told = [
            {
                **record,
                "stdout": outputs.text(record["workload_id"], is_stderr=False),
                "stderr": outputs.text(record["workload_id"], is_stderr=True),
            }
            for record in records
        ]
        show(listing(output, told, _RUN_COLUMNS, name="workload_id"))
    problems = [f"{record['workload_id']}: {record['error']}" for record in records if record["error"]]
    if problems:
        raise ServiceError("FAILED", "; ".join(problems), code)
    return code


async def explain(service: Service, output: str, *, key: str, limit: int = 0) -> Answer:
    """The story of a workload, node or operation from the service's journal."""
    try:
        found_one = plain(await service.call("Explain", pb.ExplainRequest(key=key, limit=limit)))
    except ServiceError as error:
        if error.status == "UNAVAILABLE":
            raise ServiceError(error.status, f"{error}; or name a recording by --journal", error.exit_code) from None
        raise
    known = {"workload": key, "state": found_one["state"], "node": found_one["node_id"]}
    known["diagnosis"] = found_one["diagnosis"]
    shown = facts(output, {name: value for name, value in known.items() if value}, name=key)
    tables = list(shown.tables)
    if output == "wide" and found_one["refusals"]:
        refusals = [(when(entry["at_ns"]), entry["diagnosis"]) for entry in found_one["refusals"]]
        tables.append(Table(title="Refusals", header=("at", "diagnosis"), rows=refusals, right_from=2))
    story = [chapter["text"] for chapter in found_one["chapters"]]
    if found_one["first_seq"]:
        story.insert(0, f"(before batch {found_one['first_seq']:,} nothing is kept)")
    return Answer(output=output, data=found_one, records=found_one["chapters"], names=[key], tables=tables, lines=story)
