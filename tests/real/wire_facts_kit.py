"""Eru's wire facts as data: read from the reference beside the repository, or from our descriptors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "corerpc-wire.md"

_SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name for name in ("string", "bytes", "bool", "int32", "int64")
}


class Method(NamedTuple):
    """One row of the table of methods."""

    request: str
    is_client_stream: bool
    reply: str
    is_server_stream: bool


class Facts(NamedTuple):
    """All there is: methods by name, enums by dotted name, fields by message and number as (name, type)."""

    methods: dict[str, Method]
    enums: dict[str, dict[str, int]]
    messages: dict[str, dict[int, tuple[str, str]]]


def read_reference(text: str) -> Facts:
    """The facts of the reference."""
    rows = re.findall(r"^\| (\w+) \| (stream )?(\w+) \| (stream )?(\w+) \|$", text, re.MULTILINE)
    methods = {name: Method(ask, bool(many), reply, bool(back)) for name, many, ask, back, reply in rows}
    del methods["method"]
    enums = {
        name: {key: int(number) for key, number in re.findall(r"(\w+)=(-?\d+)", values)}
        for name, values in re.findall(r"^- ([\w.]+): (\w+=.*)$", text, re.MULTILINE)
    }
    messages = {
        name: {int(number): (field, kind) for number, field, kind in re.findall(r"(\d+) (\w+): ([^;]+)", fields)}
        for name, fields in re.findall(r"^- \*\*(\w+)\*\*: (.*)$", text, re.MULTILINE)
    }
    return Facts(methods, enums, messages)


def read_descriptor(file: FileDescriptor) -> Facts:
    """The facts of a compiled file with one service."""
    (service,) = file.services_by_name.values()
    methods = {
        method.name: Method(
            method.input_type.name, method.client_streaming, method.output_type.name, method.server_streaming
        )
        for method in service.methods
    }
    enums = {name: _numbers(enum) for name, enum in file.enum_types_by_name.items()}
    messages: dict[str, dict[int, tuple[str, str]]] = {}
    for name, message in file.message_types_by_name.items():
        messages[name] = {field.number: (field.name, _type(field)) for field in message.fields}
        enums |= {f"{name}.{enum}": _numbers(one) for enum, one in message.enum_types_by_name.items()}
    return Facts(methods, enums, messages)


def read_protobufjs(root: dict[str, Any]) -> Facts:
    """The facts of the Node client's own copy."""
    methods: dict[str, Method] = {}
    enums: dict[str, dict[str, int]] = {}
    messages: dict[str, dict[int, tuple[str, str]]] = {}
    for name, node in root["nested"]["pb"]["nested"].items():
        if "methods" in node:
            for method, row in node["methods"].items():
                streams = row.get("requestStream", False), row.get("responseStream", False)
                methods[method] = Method(row["requestType"], streams[0], row["responseType"], streams[1])
        elif "values" in node:
            enums[name] = node["values"]
        else:
            own = node.get("nested", {})
            enums |= {f"{name}.{enum}": one["values"] for enum, one in own.items()}
            messages[name] = {row["id"]: (field, _js_type(name, own, row)) for field, row in node["fields"].items()}
    return Facts(methods, enums, messages)


def _numbers(enum: Any) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def _type(field: FieldDescriptor) -> str:
    message: Descriptor | None = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return f"map<{_type(message.fields_by_name['key'])},{_type(message.fields_by_name['value'])}>"
    if message is not None:
        kind = message.full_name.removeprefix("pb.")
    elif field.enum_type is not None:
        kind = field.enum_type.full_name.removeprefix("pb.")
    else:
        kind = _SCALARS[field.type]
    return f"repeated {kind}" if field.is_repeated else kind


def _js_type(message: str, own: dict[str, Any], row: dict[str, Any]) -> str:
    kind = f"{message}.{row['type']}" if row["type"] in own else row["type"]
    if "keyType" in row:
        return f"map<{row['keyType']},{kind}>"
    return f"repeated {kind}" if row.get("rule") == "repeated" else kind
