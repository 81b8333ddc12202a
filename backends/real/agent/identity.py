"""What an instance is called, and whose it is."""

from __future__ import annotations

import msgspec

from backends.real.engines.base import LABEL_CORE, LABEL_GENERATION, LABEL_NODE, LABEL_RECORD, Instance
from backends.real.meta import LABEL_CORE_ID

_HIDDEN_LABELS = frozenset((LABEL_RECORD,))


class Identity(msgspec.Struct, frozen=True):
    """A deployable, its command variant, and which copy it is."""

    app: str
    entrypoint: str
    ident: str


class _Spec(msgspec.Struct):
    app: str = ""
    entrypoint: str = ""


class _Record(msgspec.Struct):
    spec: _Spec


def identity_of(instance: Instance) -> Identity:
    """What its record says, or what its name does: ``app_entrypoint_ident``, where only the app may contain "_".

    A name of another form is that of an app without entrypoint.
    """
    name = instance.name.removeprefix("/").removesuffix(f".g{instance.generation}")
    app, entrypoint = _recorded(instance.labels.get(LABEL_RECORD, ""))
    if app:
        return Identity(app, entrypoint, name.removeprefix(f"{app}_{entrypoint}_"))
    parts = name.rsplit("_", 2)
    return Identity(*parts) if len(parts) == 3 and all(parts) else Identity(name, "", "")


def _recorded(record: str) -> tuple[str, str]:
    try:
        spec = msgspec.json.decode(record, type=_Record).spec
    except msgspec.DecodeError:
        return "", ""
    return spec.app, spec.entrypoint


def is_mine(instance: Instance, *, node: str, core_id: str) -> bool:
    """Whether its labels name both this node and this core. Without such labels it is nobody's."""
    core = instance.labels.get(LABEL_CORE_ID, instance.labels.get(LABEL_CORE))
    return instance.labels.get(LABEL_NODE) == node and core == core_id


def extension_of(instance: Instance) -> bytes:
    """The labels as JSON, with the present generation, and without the core's own record."""
    labels = {key: value for key, value in instance.labels.items() if key not in _HIDDEN_LABELS}
    labels[LABEL_GENERATION] = str(instance.generation)
    return msgspec.json.encode(labels, order="sorted")
