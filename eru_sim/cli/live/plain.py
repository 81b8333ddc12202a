"""Messages as plain data, always with the same fields: what JSON and YAML show, and what tables are made of."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

_JSON_MAPS = ("resources", "assignments")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plain(message: Message) -> dict[str, Any]:
    """All fields by name: what is not given is None, enums are lower case, maps sorted, and JSON texts are read.

    A field ``x_json`` comes out as ``x``. Bytes that are no text are ``{"base64": ...}``.
    """
    return {field.name.removesuffix("_json"): _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        item = field.message_type.fields_by_name["value"]
        if field.name in _JSON_MAPS and item.message_type is None:
            return {str(key): _json(value[key]) for key in sorted(value)}
        return {str(key): _single(value[key], item) for key in sorted(value)}
    if field.is_repeated:
        return [_single(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(value, field)


def _single(value: Any, field: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        return _enum(field.enum_type.values_by_number.get(value), value)
    if isinstance(value, bytes):
        return _text(value)
    return _json(value) if field.name.endswith("_json") else value


def _enum(known: Any, value: int) -> str | None:
    if known is None:
        return str(value)
    prefix = _CAMEL.sub("_", known.type.name).upper() + "_"
    name = str(known.name).removeprefix(prefix).lower()
    return None if name == "unspecified" else name


def _json(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(data: bytes) -> str | Mapping[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
