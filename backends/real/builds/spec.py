"""Eru's specification of a build, checked; and the Dockerfile that it stands for. Nothing here does any I/O.

What a value says stays in its instruction: no value has control characters (a line break would begin another
instruction, and no quoting prevents it), names are of few characters, and the rest is quoted. Only commands may do
what they like: they are run by a shell. ``$NAME`` in a value is Docker's to expand, as it is with Eru.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from backends.real.errors import Rejected

STAGES_MAX = 100
UID_MAX = (1 << 31) - 1
_TEXT_MAX = 64 * 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_BASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,1023}")
_STAGE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,255}")
_SIGNAL = re.compile(r"[A-Za-z0-9+-]{1,32}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,255}")


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of an image.

    The sources (``repo`` at ``version``: a branch, a tag or a commit, "" for the head of the default branch) go to
    ``dir``, with ``submodule`` also those of submodules, with ``security`` without history. ``artifacts``, addresses by
    file name, take their place. ``cache`` is what the next stage gets of this one: where it is there, by where it is
    here. ``commands`` are run last.
    """

    base: str
    repo: str = ""
    version: str = ""
    dir: str = ""
    submodule: bool = False
    commands: list[str] = []
    envs: dict[str, str] = {}
    args: dict[str, str] = {}
    labels: dict[str, str] = {}
    artifacts: dict[str, str] = {}
    cache: dict[str, str] = {}
    stop_signal: str = ""
    security: bool = False

    @property
    def has_source(self) -> bool:
        """Whether something has to be fetched for it."""
        return bool(self.repo or self.artifacts)


class Builds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image: its stages in order, the last of which becomes the image, and what each of them is."""

    stages: list[str]
    builds: dict[str, Build]


class Owner(NamedTuple):
    """Whom the image runs as. As with Eru, it is the base's own user unless both are given."""

    user: str = ""
    uid: int = 0


NO_OWNER = Owner()


def of_message(message: Any) -> Builds:
    """A specification as it is in either of the wires, which have the same fields."""
    found = {}
    for stage, build in message.builds.items():
        values = {name: getattr(build, name) for name in Build.__struct_fields__}
        found[stage] = Build(**{name: _plain(value) for name, value in values.items()})
    return Builds(stages=list(message.stages), builds=found)


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)


# -- checks -----------------------------------------------------------------------------------------------------------


def check(builds: Builds, owner: Owner = NO_OWNER) -> None:
    """`Rejected` names the first field that makes no sense or could say more than it should."""
    if not builds.stages or not builds.builds:
        raise Rejected("builds: there are none in the specification")
    if len(builds.stages) > STAGES_MAX:
        raise Rejected(f"builds.stages: {len(builds.stages)} are more than {STAGES_MAX}")
    seen = set()
    for stage in builds.stages:
        _match("builds.stages", stage, _STAGE, "letters, digits, '.', '_' and '-', a letter first")
        if stage.lower() in seen:
            raise Rejected(f"builds.stages: {stage!r} is there twice; Docker makes no difference of case")
        seen.add(stage.lower())
        if stage not in builds.builds:
            raise Rejected(f"builds.stages: {stage!r} is none of builds.builds")
        _check_build(f"builds.builds.{stage}", builds.builds[stage])
    if owner.user:
        _match("user", owner.user, _USER, "letters, digits, '_' and '-', no digit first")
    if not 0 <= owner.uid <= UID_MAX:
        raise Rejected(f"uid: {owner.uid} is not from 0 to {UID_MAX}")


def _check_build(where: str, build: Build) -> None:
    _match(f"{where}.base", build.base, _BASE, "the name of an image")
    for field in ("repo", "dir"):
        _line(f"{where}.{field}", getattr(build, field))
    if build.version:
        _match(f"{where}.version", build.version, _VERSION, "a branch, a tag or a commit")
    if ".." in build.version:
        raise Rejected(f"{where}.version: {build.version!r} is a range; give a branch, a tag or a commit")
    if build.stop_signal:
        _match(f"{where}.stop_signal", build.stop_signal, _SIGNAL, "a signal")
    for number, command in enumerate(build.commands):
        if not command.strip():
            raise Rejected(f"{where}.commands[{number}]: it is empty")
    for field, pattern in (("envs", _VARIABLE), ("args", _VARIABLE), ("labels", _LABEL)):
        for name, value in getattr(build, field).items():
            _match(f"{where}.{field}", name, pattern, "a name")
            _line(f"{where}.{field}.{name}", value)
    for source, target in build.cache.items():
        for path in (source, target):
            _line(f"{where}.cache", path)
            if not path:
                raise Rejected(f"{where}.cache: a path is empty")
    for name, address in build.artifacts.items():
        inside(f"{where}.artifacts", name)
        _line(f"{where}.artifacts.{name}", address)


def _match(field: str, value: str, pattern: re.Pattern[str], what: str) -> None:
    if not pattern.fullmatch(value):
        raise Rejected(f"{field}: {value[:200]!r} is not {what}")


def _line(field: str, value: str) -> None:
    if len(value) > _TEXT_MAX:
        raise Rejected(f"{field}: it is longer than {_TEXT_MAX} characters")
    if _CONTROL.search(value):
        raise Rejected(f"{field}: it must have no line breaks and no control characters")


def inside(field: str, name: str) -> PurePosixPath:
    """A path in a tree that it cannot leave; `Rejected` for any other."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or len(name) > 1024:
        raise Rejected(f"{field}: {name[:200]!r} must be a path without '..' that does not begin with '/'")
    _line(field, name)
    return path


# -- the Dockerfile ---------------------------------------------------------------------------------------------------


def directory_of(position: int) -> str:
    """Where in the context the sources of a stage are."""
    return f"source{position}"


def dockerfile(builds: Builds, owner: Owner = NO_OWNER) -> str:
    """The text for a specification that `check` has nothing against; the same for the same."""
    lines: list[str] = []
    before = ""
    for position, stage in enumerate(builds.stages):
        build = builds.builds[stage]
        cache = builds.builds[before].cache if before else {}
        lines += [f"FROM {build.base} AS {stage}", *_stage(build, directory_of(position), before, cache), ""]
        before = stage
    if owner.user and owner.uid:
        lines += _owner(owner)
    return "\n".join(lines) + "\n"


def _stage(build: Build, directory: str, before: str, cache: Mapping[str, str]) -> Iterator[str]:
    for word, values in (("ARG", build.args), ("ENV", build.envs), ("LABEL", build.labels)):
        yield from (f"{word} {name}={_quoted(value)}" for name, value in sorted(values.items()))
    if build.dir:
        yield f"WORKDIR {_quoted(build.dir)}"
    if build.has_source:
        yield f"COPY {json.dumps([directory, '.'])}"
    if build.stop_signal:
        yield f"STOPSIGNAL {build.stop_signal}"
    yield from (f"COPY --from={before} {json.dumps(list(pair))}" for pair in sorted(cache.items()))
    yield from (_run(command.strip()) for command in build.commands)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _run(command: str) -> str:
    if _CONTROL.search(command) or command.endswith("\\"):
        # On lines of its own the rest of it would be instructions; at its end a backslash would take the next one in.
        return f"RUN {json.dumps(['/bin/sh', '-c', command])}"
    return f"RUN {command}"


def _owner(owner: Owner) -> list[str]:
    name, uid = owner
    entries = {
        "/etc/passwd": f"{name}:x:{uid}:{uid}:{name}:/dev/null:/sbin/nologin",
        "/etc/group": f"{name}:x:{uid}:",
        "/etc/shadow": f"{name}:!::0:::::",
    }
    appended = " && ".join(f"echo '{entry}' >> {file}" for file, entry in entries.items())
    return [f"RUN {appended}", f"USER {name}"]
