"""One node's Docker, by its Engine API. See `backends.real.engines.base` for what is promised.

Theory of operation. Docker itself is the only memory: labels tell whose a container is and how to stop it, its name
tells its generation and whether its start came to an end (`docker_records`). Every operation looks first and then does
what is missing, so it can be repeated after the process that began it was killed.

A stop with ``keep`` also takes away the restart policy: a daemon that comes back would otherwise start what was to
stay stopped. The next start gives it back.

Limits of devices can be changed while a container runs only by writing to its control group, so only where Docker is on
this machine. They hold until the container is started the next time; the engine's own restarts begin with those of the
creation.

Not enforced: sizes of volumes and storage, shares of a GPU, bandwidth.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from backends.real import cgroups
from backends.real.engines import docker_config as config
from backends.real.engines.base import (
    LABEL_CORE,
    LABEL_TEMPLATE,
    LABEL_WORKLOAD,
    Capability,
    Chunk,
    Engine,
    EngineError,
    EngineInfo,
    Image,
    Instance,
    InstanceBegan,
    InstanceEnded,
    InstanceSpec,
    Network,
    NotFound,
    Unreachable,
    Unsupported,
    Usage,
    instance_name,
)
from backends.real.engines.docker_api import DockerApi, Tls
from backends.real.engines.docker_channel import Frames
from backends.real.engines.docker_files import archive
from backends.real.engines.docker_records import (
    Record,
    address_of,
    docker_time,
    generation_of,
    image_of,
    image_reference,
    network_of,
    record_of,
    starting_name,
    time_ns,
    usage_of,
)
from backends.real.engines.docker_sessions import ConsoleSession, ExecSession
from backends.real.hook_output import HookSink
from backends.real.meta import LABEL_ERU
from backends.real.template import File, Template, digest

_CAPABILITIES: frozenset[Capability] = frozenset(
    ("exec", "exec_tty", "attach", "logs", "copy", "stats", "pause", "cpu", "cpuset", "numa", "memory", "io",
     "volumes", "networks", "images", "build", "watch")
)  # fmt: skip
_HOOKS_S = 300.0
_STOP_MARGIN_S = 30.0
_USAGE_S = 30.0
_REMOVAL_S = 30.0
_STDERR = 2
_SECRET_MIN = 4


class DockerEngine:
    """A node's Docker for one core. Implements `backends.real.engines.base.Engine`.

    ``core_id`` says whose instances it sees and makes. None is for whoever only looks on: it sees those of every core,
    also of Eru's own, whose workload id is the container's id, and makes none.

    ``auths`` maps a registry to what it wants to know: ``{"username": ..., "password": ...}``; images without a
    registry in their name are those of "". ValueError for an endpoint or certificates that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        core_id: str | None,
        tls: Tls | None = None,
        auths: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._api = DockerApi(url, tls)
        self._core_id = core_id
        self._mark = (LABEL_ERU, "1") if core_id is None else (LABEL_CORE, core_id)
        """The label that all instances have that it sees."""
        self._auths = auths or {}
        self._cgroups = cgroups.detect() if self._api.is_local else None
        self._listed_s = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What Docker can; ``io_live`` where it is on this machine and control groups can be written."""
        return _CAPABILITIES | {"io_live"} if self._has_live_io else _CAPABILITIES

    @property
    def _has_live_io(self) -> bool:
        return self._cgroups is not None and self._cgroups.version_of("io") is not None and os.geteuid() == 0

    async def info(self) -> EngineInfo:
        """What the node is. Docker counts cores and knows no NUMA nodes: ids are 0 to count - 1."""
        found = await self._api.call("GET", "/info")
        return EngineInfo(
            kind="docker",
            version=found["ServerVersion"],
            cpus=tuple(map(str, range(found["NCPU"]))),
            memory_bytes=found["MemTotal"],
            details={
                "name": found["Name"],
                "operating_system": found["OperatingSystem"],
                "kernel": found["KernelVersion"],
                "architecture": found["Architecture"],
                "cgroup_version": int(found.get("CgroupVersion") or 1),
                "storage_driver": found["Driver"],
                "log_driver": found["LoggingDriver"],
                "runtimes": sorted(found["Runtimes"]),
            },
        )

    async def ping(self) -> None:
        """See `Engine.ping`."""
        await self._api.ping()

    async def close(self) -> None:
        """See `Engine.close`."""
        await self._api.close()

    # -- start --------------------------------------------------------------------------------------------------------

    async def start(self, spec: InstanceSpec, *, hook_output: HookSink | None = None) -> Instance:
        """See `Engine.start`.

        An instance that was kept, and whose start as the next generation fails, is as it was before; nothing is left of
        any other. An older one that has ended is only taken over with the same image and template, else removed.
        """
        if self._core_id is None:
            raise Unsupported("start: whoever looks on for every core makes no instances")
        body = config.creation(spec, self._core_id)
        with _hidden(spec.template):
            older = []
            for record in await self._generations(spec.workload_id):
                if record.instance.generation > spec.generation:
                    raise EngineError(f"generation {record.instance.generation} of {spec.workload_id} is there already")
                if record.instance.generation == spec.generation:
                    return await self._go_on(spec, record, hook_output)
                older.append(record)
            kept = await self._clear(spec, older)
            if kept is not None:
                return await self._take_over(spec, kept, hook_output)
            return await self._create(spec, body, hook_output)

    async def _generations(self, workload_id: str) -> list[Record]:
        """What there is of a workload, the latest generation first."""
        listed = await self._list(["=".join(self._mark), f"{LABEL_WORKLOAD}={workload_id}"])
        found = [record for record in [await self._record(entry["Id"]) for entry in listed] if record is not None]
        return sorted(found, key=lambda record: -record.instance.generation)

    async def _list(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        params = {"all": "1", "filters": json.dumps({"label": labels})}
        found: list[dict[str, Any]] = await self._api.call("GET", "/containers/json", params=params)
        return found

    async def _record(self, reference: str) -> Record | None:
        """A container by id or name, None where there is none or it is being removed."""
        try:
            return record_of(await self._api.call("GET", f"/containers/{quote(reference, safe='')}/json"))
        except NotFound:
            return None

    async def _clear(self, spec: InstanceSpec, older: Sequence[Record]) -> Record | None:
        """Remove what cannot become the next generation; return what can. EngineError where one runs."""
        kept: Record | None = None
        for record in older:
            instance = record.instance
            if instance.state in ("running", "paused"):
                raise EngineError(f"generation {instance.generation} of {spec.workload_id} still runs; stop it first")
            same_template = instance.labels.get(LABEL_TEMPLATE) == digest(spec.template.encode())
            if kept is None and instance.state == "exited" and record.image == spec.image and same_template:
                kept = record
            else:
                await self._remove(instance.engine_id)
        return kept

    async def _go_on(self, spec: InstanceSpec, record: Record, hook_output: HookSink | None) -> Instance:
        """Bring to an end what was begun before."""
        instance = record.instance
        if record.is_started:
            if record.started_before_ns is None:
                return instance
            if instance.state == "running":
                is_first = record.started_before_ns == 0
                await self._after_start(spec, instance.engine_id, hook_output, is_first=is_first)
            await self._rename(instance.engine_id, instance_name(spec.workload_id, spec.generation))
            return await self._inspect(instance.engine_id)
        if record.started_before_ns:
            return await self._restart(spec, record, hook_output)
        return await self._first_start(spec, instance.engine_id, hook_output)

    async def _create(self, spec: InstanceSpec, body: Mapping[str, Any], hook_output: HookSink | None) -> Instance:
        name = instance_name(spec.workload_id, spec.generation)
        if _start_hooks(spec.template):
            name = starting_name(spec.workload_id, spec.generation)
        if spec.template.pull == "always":
            await self._pull(spec.image)
        try:
            made = await self._api.call("POST", "/containers/create", params={"name": name}, body=body)
        except NotFound as error:
            if spec.template.pull != "missing" or "image" not in str(error):
                raise
            await self._pull(spec.image)
            made = await self._api.call("POST", "/containers/create", params={"name": name}, body=body)
        return await self._first_start(spec, made["Id"], hook_output)

    async def _pull(self, image: str) -> None:
        async with contextlib.aclosing(self.pull_image(image)) as progress:
            async for _ in progress:
                pass

    async def _first_start(self, spec: InstanceSpec, container: str, hook_output: HookSink | None) -> Instance:
        """Start what has been created; without success nothing is left."""
        try:
            for network, address in config.more_networks(spec.template).items():
                await self._join(network, container, address)
            if spec.template.files:
                await self._put(container, "/", archive(spec.template.files))
            await self._api.call("POST", f"/containers/{container}/start")
            if _start_hooks(spec.template):
                await self._after_start(spec, container, hook_output, is_first=True)
                await self._rename(container, instance_name(spec.workload_id, spec.generation))
            return await self._inspect(container)
        except BaseException:
            await _in_any_case(self._remove(container))
            raise

    async def _take_over(self, spec: InstanceSpec, kept: Record, hook_output: HookSink | None) -> Instance:
        """Make an instance that was kept the next generation."""
        arguments = config.parse_arguments(await self._whole(spec.engine_args, kept.host))
        self._check_changeable(arguments, kept)
        started_before_ns = kept.instance.started_at_ns
        name = starting_name(spec.workload_id, spec.generation, started_before_ns)
        await self._rename(kept.instance.engine_id, name)
        try:
            return await self._restart(spec, kept._replace(started_before_ns=started_before_ns), hook_output)
        except BaseException:
            await _in_any_case(self._give_back(kept))
            raise

    async def _restart(self, spec: InstanceSpec, record: Record, hook_output: HookSink | None) -> Instance:
        """Start what was taken over and has its new name."""
        container = record.instance.engine_id
        arguments = config.parse_arguments(await self._whole(spec.engine_args, record.host))
        change = {**arguments.resources, "RestartPolicy": config.restart_policy(spec.template.restart)}
        await self._api.call("POST", f"/containers/{container}/update", body=change)
        await self._api.call("POST", f"/containers/{container}/start")
        if (arguments.io_limits or {}) != config.created_io_limits(record.host):
            instance = await self._inspect(container)
            if instance.state == "running" and self._has_live_io:
                self._set_io_limits(instance, self._io_limits(instance), _by_number(arguments.io_limits or {}))
        await self._after_start(spec, container, hook_output, is_first=False)
        await self._rename(container, instance_name(spec.workload_id, spec.generation))
        return await self._inspect(container)

    async def _give_back(self, kept: Record) -> None:
        """Stop it again and give it its old name."""
        container = kept.instance.engine_id
        await self._end(container, 0)
        await self._without_restarts(container)
        await self._rename(container, kept.instance.name)

    async def _after_start(
        self, spec: InstanceSpec, container: str, hook_output: HookSink | None, *, is_first: bool
    ) -> None:
        hooks = spec.template.hooks
        if is_first:
            await self._run_hooks(container, "after_create", hooks.after_create, hook_output, force=hooks.force)
        await self._run_hooks(container, "after_start", hooks.after_start, hook_output, force=hooks.force)

    async def _run_hooks(
        self, container: str, kind: str, commands: Sequence[str], hook_output: HookSink | None, *, force: bool
    ) -> None:
        """Run commands one after the other by the container's shell. With ``force`` EngineError for the first that
        fails; without it the rest is run.
        """
        for number, command in enumerate(commands, start=1):
            try:
                async with asyncio.timeout(_HOOKS_S):
                    code = await self._run_inside(container, ("/bin/sh", "-c", command), hook_output)
                problem = f"exit code {code}" if code else ""
            except TimeoutError:
                problem = f"no end within {_HOOKS_S:.0f} s"
            except NotFound:
                problem = "the instance is gone"
            except EngineError as error:
                if type(error) is not EngineError:
                    raise
                problem = str(error)
            if problem and force:
                raise EngineError(f"hook {kind} {number} of {len(commands)}: {problem}")

    async def _run_inside(self, container: str, command: Sequence[str], output: HookSink | None) -> int:
        session = await self._open_exec(container, {"Cmd": list(command)}, has_tty=False, takes_input=False)
        try:
            async for chunk in session.output():
                if output is not None:
                    output(chunk.data)
            return await session.exit_code()
        finally:
            await session.close()

    async def _rename(self, container: str, name: str) -> None:
        await self._api.call("POST", f"/containers/{container}/rename", params={"name": name})

    async def _inspect(self, container: str) -> Instance:
        return record_of(await self._api.call("GET", f"/containers/{container}/json")).instance

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def stop(
        self,
        workload_id: str,
        generation: int,
        *,
        keep: bool,
        grace_ns: int | None = None,
        hook_output: HookSink | None = None,
    ) -> int | None:
        """See `Engine.stop`. Docker waits in whole seconds, rounded up."""
        record = await self._find(workload_id, generation)
        if record is None:
            return None
        container, rules = record.instance.engine_id, config.stop_rules(record.instance.labels)
        grace_ns = rules.grace_ns if grace_ns is None else grace_ns
        try:
            if record.instance.state in ("running", "paused"):
                if record.instance.state == "running" and grace_ns > 0:
                    commands = rules.before_stop
                    await self._run_hooks(container, "before_stop", commands, hook_output, force=rules.force)
                await self._end(container, grace_ns)
                record = record_of(await self._api.call("GET", f"/containers/{container}/json"))
            if keep:
                await self._without_restarts(container)
            else:
                await self._remove(container)
        except NotFound:
            pass  # somebody removed it meanwhile
        return record.instance.exit_code

    async def _end(self, container: str, grace_ns: int) -> None:
        if grace_ns > 0:
            wait_s = config.seconds(grace_ns)
            params, total_s = {"t": wait_s}, wait_s + _STOP_MARGIN_S
            await self._api.call("POST", f"/containers/{container}/stop", params=params, total_s=total_s)
            return
        with _unless("is not running"):
            await self._api.call("POST", f"/containers/{container}/kill")
        await self._api.call("POST", f"/containers/{container}/wait")

    async def _without_restarts(self, container: str) -> None:
        body = {"RestartPolicy": config.restart_policy("no")}
        await self._api.call("POST", f"/containers/{container}/update", body=body)

    async def _remove(self, container: str) -> None:
        """Remove it with its anonymous volumes, whatever it does; nothing where it is gone."""
        with contextlib.suppress(NotFound), _unless("already in progress"):
            await self._api.call("DELETE", f"/containers/{container}", params={"v": 1, "force": 1})
            return
        try:
            async with asyncio.timeout(_REMOVAL_S):
                while await self._record(container) is not None:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise EngineError(f"{container[:12]} is still being removed after {_REMOVAL_S:.0f} s") from None

    # -- what runs ----------------------------------------------------------------------------------------------------

    async def update(
        self, workload_id: str, generation: int, engine_args: Mapping[str, Any], *, whole: bool = False
    ) -> None:
        """See `Engine.update`. Where Docker refuses, it is as before. An instance that has ended is told, too."""
        record = await self._get(workload_id, generation)
        arguments = config.parse_arguments(await self._whole(engine_args, record.host) if whole else engine_args)
        self._check_changeable(arguments, record)
        runs = record.instance.state in ("running", "paused") and self._has_live_io
        before = self._io_limits(record.instance) if runs else {}
        if arguments.resources:
            await self._change(record, arguments.resources)
        if before or (runs and arguments.io_limits):
            # What is written to control groups directly is overwritten by Docker's own changes.
            wanted = before if arguments.io_limits is None else _by_number(arguments.io_limits)
            self._set_io_limits(record.instance, before, wanted)

    async def _change(self, record: Record, resources: Mapping[str, Any]) -> None:
        path = f"/containers/{record.instance.engine_id}/update"
        try:
            await self._api.call("POST", path, body=resources)
        except EngineError as error:
            if type(error) is EngineError:  # some may have been set before one was refused
                with contextlib.suppress(EngineError):
                    await self._api.call("POST", path, body=config.resources_of(record.host, list(resources)))
            raise

    async def _whole(self, engine_args: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, with what lifts every limit of a container that is not among them."""
        lifting = config.lifting(host)
        if "cpuset_cpus" in lifting.keys() - engine_args.keys():
            lifting["cpuset_cpus"] = ",".join((await self.info()).cpus)
        if "cpuset_mems" in lifting.keys() - engine_args.keys():
            # Docker takes no empty list, and knows of no NUMA nodes.
            if self._cgroups is None:
                raise Unsupported("engine argument 'cpuset_mems': the NUMA nodes of the node cannot be seen from here")
            try:
                lifting["cpuset_mems"] = self._cgroups.memory_nodes()
            except cgroups.CgroupError as error:
                raise EngineError(f"engine argument 'cpuset_mems': {error}") from None
        return {**lifting, **engine_args}

    def _check_changeable(self, arguments: config.Arguments, record: Record) -> None:
        name = config.unchangeable(arguments, record.host)
        if name is not None:
            raise Unsupported(f"engine argument {name!r}: Docker sets it when it creates a container, and never again")
        if arguments.io_limits is None or self._has_live_io:
            return
        if arguments.io_limits != config.created_io_limits(record.host):
            raise Unsupported("engine argument 'io_limits': the node's control groups cannot be reached from here")

    def _io_limits(self, instance: Instance) -> dict[str, dict[str, int]]:
        """The limits of devices that hold now, by device number."""
        groups = self._groups(instance)
        return {device: dict(limits) for device, limits in groups.limits_of(instance.pid).io.items()}

    def _set_io_limits(
        self, instance: Instance, before: Mapping[str, Any], wanted: Mapping[str, Mapping[str, int]]
    ) -> None:
        groups = self._groups(instance)
        try:
            for device in {**before, **wanted}:
                groups.set_io_limits(instance.pid, device, wanted.get(device, {}))
        except cgroups.CgroupError as error:
            raise EngineError(f"engine argument 'io_limits': {error}") from None

    def _groups(self, instance: Instance) -> cgroups.Cgroups:
        """The control groups of this machine, if the instance's process is in them."""
        assert self._cgroups is not None, "asked for live limits only"
        try:
            group = self._cgroups.of_process(instance.pid, "io")
        except cgroups.CgroupError as error:
            raise EngineError(f"engine argument 'io_limits': {error}") from None
        if instance.engine_id not in str(group):
            raise Unsupported("engine argument 'io_limits': the daemon is on another machine than its socket")
        return self._cgroups

    async def pause(self, workload_id: str, generation: int) -> None:
        """See `Engine.pause`."""
        record = await self._get(workload_id, generation)
        with _unless("already paused"):
            await self._api.call("POST", f"/containers/{record.instance.engine_id}/pause")

    async def resume(self, workload_id: str, generation: int) -> None:
        """See `Engine.resume`."""
        record = await self._get(workload_id, generation)
        with _unless("is not paused"):
            await self._api.call("POST", f"/containers/{record.instance.engine_id}/unpause")

    # -- what there is ------------------------------------------------------------------------------------------------

    async def inspect(self, workload_id: str, generation: int) -> Instance:
        """See `Engine.inspect`."""
        return (await self._get(workload_id, generation)).instance

    async def _get(self, workload_id: str, generation: int) -> Record:
        record = await self._find(workload_id, generation)
        if record is None:
            raise NotFound(f"no generation {generation} of {workload_id} on docker at {self._api.where}")
        return record

    async def _find(self, workload_id: str, generation: int) -> Record | None:
        record = await self._record(instance_name(workload_id, generation))
        if record is None and self._core_id is None:
            record = await self._record(workload_id)
        if record is not None:
            instance, (key, value) = record.instance, self._mark
            return record if instance.labels.get(key) == value and instance.workload_id == workload_id else None
        # Its start may be under way.
        found = await self._generations(workload_id)
        return next((record for record in found if record.instance.generation == generation), None)

    async def instances(self) -> list[Instance]:
        """See `Engine.instances`."""
        await self._api.ping()
        self._listed_s = self._api.node_time_s
        listed = await self._list(["=".join(self._mark)])
        records = await asyncio.gather(*(self._record(entry["Id"]) for entry in listed))
        return sorted((record.instance for record in records if record is not None), key=lambda found: found.name)

    async def watch(self) -> AsyncGenerator[InstanceEnded | InstanceBegan, None]:
        """See `Engine.watch`. Begins where `instances` was last asked, so that nothing between is missed; what was
        seen there may come again.
        """
        filters = {"type": ["container"], "event": ["start", "die"], "label": ["=".join(self._mark)]}
        params: dict[str, str | int] = {"filters": json.dumps(filters)}
        if self._listed_s:
            params["since"] = self._listed_s
        async with contextlib.aclosing(self._api.lines("GET", "/events", params=params)) as events:
            async for event in events:
                found = await self._report(event)
                if found is not None:
                    yield found
        raise Unreachable(f"docker at {self._api.where}: the stream of events has ended")

    async def _report(self, event: Mapping[str, Any]) -> InstanceEnded | InstanceBegan | None:
        about = event["Actor"]["Attributes"]
        workload_id = about.get(LABEL_WORKLOAD, event["Actor"]["ID"])
        generation, _ = generation_of(about["name"], about)
        if event["Action"] == "start":
            return InstanceBegan(workload_id, generation)
        if config.stop_rules(about).restart != "no":
            record = await self._record(event["Actor"]["ID"])
            if record is not None and record.instance.state in ("running", "paused"):
                return None  # Docker restarts it, or has
        return InstanceEnded(workload_id, generation, int(about["exitCode"]))

    async def usage(self, workload_id: str, generation: int) -> Usage:
        """See `Engine.usage`. Docker looks once a second, so it may take that long; all instances can be asked at once.
        Of one that does not run it knows nothing: all is 0.
        """
        record = await self._get(workload_id, generation)
        path, params = f"/containers/{record.instance.engine_id}/stats", {"stream": 0, "one-shot": 1}
        return usage_of(await self._api.call("GET", path, params=params, total_s=_USAGE_S))

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def execute(
        self,
        workload_id: str,
        generation: int,
        command: Sequence[str],
        *,
        env: Sequence[str] = (),
        working_dir: str = "",
        user: str = "",
        has_tty: bool = False,
        open_stdin: bool = False,
    ) -> ExecSession:
        """See `Engine.execute`. A session that is closed leaves the command running."""
        record = await self._get(workload_id, generation)
        body = {"Cmd": list(command), "Env": list(env), "WorkingDir": working_dir, "User": user}
        return await self._open_exec(record.instance.engine_id, body, has_tty=has_tty, takes_input=open_stdin)

    async def _open_exec(
        self, container: str, body: Mapping[str, Any], *, has_tty: bool, takes_input: bool
    ) -> ExecSession:
        attached = {"AttachStdin": takes_input, "AttachStdout": True, "AttachStderr": True, "Tty": has_tty}
        made = await self._api.call("POST", f"/containers/{container}/exec", body={**body, **attached})
        path = f"/exec/{made['Id']}"
        channel = await self._api.hijack(f"{path}/start", body={"Detach": False, "Tty": has_tty})
        return ExecSession(self._api, channel, path, has_tty=has_tty, takes_input=takes_input)

    async def attach(self, workload_id: str, generation: int, *, open_stdin: bool = False) -> ConsoleSession:
        """See `Engine.attach`. EngineError where it does not run, or where input is asked of one that takes none."""
        record = await self._get(workload_id, generation)
        settings, path = record.container["Config"], f"/containers/{record.instance.engine_id}"
        if record.instance.state != "running":
            raise EngineError(f"{record.instance.name} does not run; there is nothing to attach to")
        if open_stdin and not settings["OpenStdin"]:
            raise EngineError(f"{record.instance.name} takes no input; start it with open_stdin")
        params = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(open_stdin)}
        channel = await self._api.hijack(f"{path}/attach", params=params)
        return ConsoleSession(self._api, channel, path, has_tty=settings["Tty"], takes_input=open_stdin)

    async def logs(
        self,
        workload_id: str,
        generation: int,
        *,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
        follow: bool = False,
    ) -> AsyncGenerator[Chunk, None]:
        """See `Engine.logs`. One chunk a line; without times and in pieces as they come where it has a terminal."""
        record = await self._get(workload_id, generation)
        has_tty = record.container["Config"]["Tty"]
        params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "follow": int(follow), "timestamps": int(not has_tty)}
        if tail is not None:
            params["tail"] = tail
        if since_ns:
            params["since"] = docker_time(since_ns)
        if until_ns:
            params["until"] = docker_time(until_ns)
        frames = Frames()
        path = f"/containers/{record.instance.engine_id}/logs"
        async with self._api.stream("GET", path, params=params) as response:
            async for data in response.content.iter_any():
                if has_tty:
                    yield Chunk("stdout", data)
                    continue
                for stream, line in frames.feed(data):
                    time, _, text = line.partition(b" ")
                    at_ns = time_ns(time.decode("ascii", "replace"))
                    yield Chunk("stderr" if stream == _STDERR else "stdout", text if at_ns else line, at_ns)

    # -- files --------------------------------------------------------------------------------------------------------

    async def put_files(self, workload_id: str, generation: int, files: Mapping[str, File]) -> None:
        """See `Engine.put_files`."""
        content = archive(files)
        record = await self._get(workload_id, generation)
        await self._put(record.instance.engine_id, "/", content)

    async def put_archive(self, workload_id: str, generation: int, path: str, tar: AsyncIterator[bytes]) -> None:
        """See `Engine.put_archive`."""
        record = await self._get(workload_id, generation)
        await self._put(record.instance.engine_id, path, tar)

    async def _put(self, container: str, path: str, tar: AsyncIterator[bytes] | BinaryIO) -> None:
        headers = {"Content-Type": "application/x-tar"}
        target = f"/containers/{container}/archive"
        async with self._api.stream("PUT", target, params={"path": path}, data=tar, headers=headers) as response:
            await response.read()

    async def get_archive(self, workload_id: str, generation: int, path: str) -> AsyncGenerator[bytes, None]:
        """See `Engine.get_archive`."""
        record = await self._get(workload_id, generation)
        target = f"/containers/{record.instance.engine_id}/archive"
        async with self._api.stream("GET", target, params={"path": path}) as response:
            async for data in response.content.iter_any():
                yield data

    # -- networks -----------------------------------------------------------------------------------------------------

    async def networks(self, driver: str = "") -> list[Network]:
        """See `Engine.networks`."""
        found = [network_of(network) for network in await self._api.call("GET", "/networks")]
        return sorted(
            (network for network in found if driver in ("", network.driver)), key=lambda network: network.name
        )

    async def connect(self, network: str, workload_id: str, generation: int, address: str = "") -> str:
        """See `Engine.connect`. An instance that is in the network already stays; EngineError where it has another
        address than was asked. The address of one that does not run may be "".
        """
        record = await self._get(workload_id, generation)
        return await self._join(network, record.instance.engine_id, address)

    async def _join(self, network: str, container: str, address: str) -> str:
        body = {"Container": container, "EndpointConfig": config.endpoint(address)}
        with _unless("already exists in network"):
            await self._api.call("POST", f"/networks/{quote(network, safe='')}/connect", body=body)
        found = await self._api.call("GET", f"/containers/{container}/json")
        held = address_of(found["NetworkSettings"]["Networks"].get(network) or {})
        if address and held != address:
            raise EngineError(f"network {network!r}: it has {held} there already; disconnect it first")
        return held

    async def disconnect(self, network: str, workload_id: str, generation: int, *, force: bool = False) -> None:
        """See `Engine.disconnect`. Nothing where it is not in the network."""
        record = await self._get(workload_id, generation)
        body = {"Container": record.instance.engine_id, "Force": force}
        with _unless("is not connected to"):
            await self._api.call("POST", f"/networks/{quote(network, safe='')}/disconnect", body=body)

    # -- images -------------------------------------------------------------------------------------------------------

    async def images(self, filter_text: str = "") -> list[Image]:
        """See `Engine.images`."""
        found = [image_of(image) for image in await self._api.call("GET", "/images/json")]
        if filter_text:
            found = [image for image in found if any(filter_text in tag for tag in image.tags)]
        return sorted(found, key=lambda image: image.image_id)

    async def pull_image(self, image: str) -> AsyncGenerator[str, None]:
        """See `Engine.pull_image`. Without a tag it is the latest."""
        name, tag = image_reference(image)
        params = {"fromImage": name, "tag": tag} if tag else {"fromImage": name}
        async for line in self._progress("/images/create", params, headers=self._auth(image)):
            yield line

    async def push_image(self, tag: str) -> AsyncGenerator[str, None]:
        """See `Engine.push_image`."""
        name, version = image_reference(tag)
        params = {"tag": version}
        async for line in self._progress(f"/images/{quote(name)}/push", params, headers=self._auth(tag)):
            yield line

    async def build_image(
        self, tags: Sequence[str], context: AsyncIterator[bytes], *, platform: str = ""
    ) -> AsyncGenerator[str, None]:
        """See `Engine.build_image`."""
        params = [*(("t", tag) for tag in tags), ("rm", "1"), ("forcerm", "1")]
        if platform:
            params.append(("platform", platform))
        headers = {"Content-Type": "application/x-tar"}
        async for line in self._progress("/build", params, data=context, headers=headers):
            yield line

    async def _progress(
        self, path: str, params: Any, *, headers: Mapping[str, str], data: AsyncIterator[bytes] | None = None
    ) -> AsyncGenerator[str, None]:
        lines = self._api.lines("POST", path, params=params, headers=headers, data=data)
        async with contextlib.aclosing(lines) as found:
            async for entry in found:
                text = entry.get("stream") or " ".join(
                    str(entry[key]) for key in ("id", "status", "progress") if entry.get(key)
                )
                if text.strip():
                    yield text.strip()

    def _auth(self, image: str) -> dict[str, str]:
        first = image.partition("/")[0]
        registry = first if "/" in image and ("." in first or ":" in first or first == "localhost") else ""
        known = json.dumps(dict(self._auths.get(registry, {})))
        return {"X-Registry-Auth": base64.urlsafe_b64encode(known.encode()).decode()}

    async def remove_image(self, image: str, *, force: bool = False) -> list[str]:
        """See `Engine.remove_image`."""
        params = {"force": int(force)}
        found = await self._api.call("DELETE", f"/images/{quote(image, safe='/:@')}", params=params)
        return [text for entry in found for text in entry.values()]

    async def prune_images(self) -> int:
        """See `Engine.prune_images`."""
        found = await self._api.call("POST", "/images/prune", total_s=None)
        return int(found["SpaceReclaimed"])

    async def commit_image(self, workload_id: str, generation: int, tag: str) -> str:
        """See `Engine.commit_image`."""
        record = await self._get(workload_id, generation)
        name, version = image_reference(tag)
        params = {"container": record.instance.engine_id, "repo": name, "tag": version}
        found = await self._api.call("POST", "/commit", params=params, total_s=None)
        return str(found["Id"])

    async def raw(self, workload_id: str, generation: int, operation: str, params: bytes) -> bytes:
        """Docker has none: always `Unsupported`."""
        raise Unsupported(f"operation {operation!r}: Docker has none beside those of every engine")


def _start_hooks(template: Template) -> bool:
    return bool(template.hooks.after_create or template.hooks.after_start)


def _by_number(limits: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Limits by the number of a device, as control groups have them, instead of its path."""
    found: dict[str, dict[str, int]] = {}
    for path, kinds in limits.items():
        try:
            status = os.stat(path)
        except OSError as error:
            raise EngineError(f"engine argument 'io_limits': {path}: {error.strerror}") from None
        if not stat.S_ISBLK(status.st_mode):
            raise EngineError(f"engine argument 'io_limits': {path} is no block device")
        found[f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"] = dict(kinds)
    return found


@contextlib.contextmanager
def _unless(text: str) -> Iterator[None]:
    """What Docker refuses with this text is so already."""
    try:
        yield
    except EngineError as error:
        if text not in str(error):
            raise


@contextlib.contextmanager
def _hidden(template: Template) -> Iterator[None]:
    """Docker's words may repeat what it was told; values of the environment are taken out."""
    try:
        yield
    except EngineError as error:
        message = str(error)
        for entry in template.env:
            value = entry.partition("=")[2]
            if len(value) >= _SECRET_MIN:
                message = message.replace(value, "***")
        raise type(error)(message) from None


async def _in_any_case(work: Coroutine[Any, Any, None]) -> None:
    """Do it even if cancelled meanwhile; that an engine cannot is no news to a caller that fails already."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    with contextlib.suppress(EngineError):
        task.result()


if TYPE_CHECKING:
    _conforms: type[Engine] = DockerEngine
