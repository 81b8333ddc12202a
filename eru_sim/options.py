"""Options as people write them: durations, ratios, ``key=value`` lists, policies and engine models."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from eru_sim.errors import EruError

if TYPE_CHECKING:
    from backends.sim.engine import EngineModel
    from scheduler.events import ReservationSet
    from scheduler.policies import Policy

_UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


def parse_duration_ns(text: str | int | float, field: str) -> int:
    """Return nanoseconds for ``90s``, ``1.5h``, ``2d`` or a bare number of seconds; not negative."""
    text = str(text).strip()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :] or "s"
    try:
        amount = Decimal(digits) * _UNITS_NS[unit]
    except (InvalidOperation, KeyError):
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or amount >= 1 << 62:
        raise EruError(f"{field}: {text!r} is not a duration; write e.g. 90s, 15m, 2h or 1d")
    return int(amount)


def parse_reservations(text: str) -> list[ReservationSet]:
    """Return the reservations of ``TENANT:NODES@START-END``, one after the other with ``;``: ``a:8@1h-3h;b/x:2@0-90s``.

    They are called r1, r2, …; the core chooses the nodes.
    """
    from scheduler.events import ReservationSet

    found: list[ReservationSet] = []
    for item in filter(None, (part.strip() for part in text.split(";"))):
        whom, at, when = item.rpartition("@")
        tenant, _, nodes = whom.rpartition(":")
        start, dash, end = when.partition("-")
        if not (at and dash and tenant and nodes.isascii() and nodes.isdigit() and 1 <= int(nodes) < 1 << 31):
            raise EruError(f"reservations: {item!r} is not TENANT:NODES@START-END, e.g. physics:8@1h-3h")
        start_ns, end_ns = parse_duration_ns(start, "reservations"), parse_duration_ns(end, "reservations")
        if end_ns <= start_ns:
            raise EruError(f"reservations: {item!r} ends before it begins")
        name = f"r{len(found) + 1}"
        found.append(
            ReservationSet(reservation_id=name, tenant=tenant, node_count=int(nodes), start_ns=start_ns, end_ns=end_ns)
        )
    if not found:
        raise EruError(f"reservations: {text!r} names none; leave it out, or give e.g. physics:8@1h-3h")
    return found


def parse_pairs(text: str, field: str, separators: str = ",") -> dict[str, str]:
    """Return the pairs of ``a=1,b=2``, in order. Within brackets and quotation marks nothing separates."""
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in _split(text, separators))):
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise EruError(f"{field}: {item!r} is not key=value")
        if key in pairs:
            raise EruError(f"{field}: {key!r} is given twice; keep one")
        pairs[key] = value
    return pairs


def _split(text: str, separators: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        if not quoted:
            depth += (character in "[{") - (character in "]}")
        if character in separators and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def parse_overcommit(overcommit: str | Mapping[str, float] | None) -> dict[str, float]:
    """Return ratios by dimension from ``cpu=1.2,memory=1``."""
    if overcommit is None:
        return {}
    if not isinstance(overcommit, str):
        return {name: float(ratio) for name, ratio in overcommit.items()}
    ratios = {}
    for name, value in parse_pairs(overcommit, "overcommit").items():
        try:
            ratios[name] = float(value)
        except ValueError:
            raise EruError(f"overcommit.{name}: {value!r} is not a number, e.g. 1.2") from None
    return ratios


_ENGINE_DURATIONS = {"start": "start_ns", "stop": "stop_ns", "pull": "image_pull_ns", "report": "report_interval_ns"}
_ENGINE_RATIOS = {
    "jitter": "jitter_ratio",
    "start_failure": "start_failure_ratio",
    "lost": "lost_completion_ratio",
    "duplicate": "duplicate_completion_ratio",
    "slow_nodes": "slow_node_ratio",
}


def parse_engine(engine: str | EngineModel | None, seed: int) -> EngineModel:
    """Return an engine model from ``start=2s,stop=1s,pull=10s,jitter=0.2,start_failure=0.01,…``."""
    from backends.sim.engine import EngineModel

    if isinstance(engine, EngineModel):
        return engine
    fields: dict[str, Any] = {"seed": seed}
    for name, value in parse_pairs(engine or "", "engine").items():
        if name in _ENGINE_DURATIONS:
            fields[_ENGINE_DURATIONS[name]] = parse_duration_ns(value, f"engine.{name}")
        elif name in _ENGINE_RATIOS:
            fields[_ENGINE_RATIOS[name]] = _number(value, f"engine.{name}", 0, 1)
        elif name == "slow_factor":
            fields["slow_node_factor"] = _number(value, "engine.slow_factor", 1, 1000)
        else:
            known = [*_ENGINE_DURATIONS, *_ENGINE_RATIOS, "slow_factor"]
            raise EruError(f"engine: no option {name!r}; {_closest(name, known)}")
    return EngineModel(**fields)


def _number(text: str, field: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise EruError(f"{field}: {text!r} is not a number from {least} to {most}")
    return value


def _closest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there are: {', '.join(known)}"


class PolicyChoice(msgspec.Struct, frozen=True):
    """A policy as configured: the name and parameters that go into the journal, and how to make it."""

    name: str
    params: dict[str, Any]
    factory: Callable[[str, Mapping[str, Any]], Any]


def choose_policy(policy: str | Policy, seed: int = 0) -> PolicyChoice:
    """Return the policy for ``name``, ``name?key=value&…``, ``module:Class``, ``file.py:Class`` or an object.

    The parameter ``seed`` of a policy that has one is set to ``seed`` unless it is given.
    """
    from scheduler.policies import Policy, make_policy

    if isinstance(policy, Policy):
        return _custom(policy.name or type(policy).__name__, type(policy), policy.get_params())
    spec, _, query = policy.partition("?")
    params = {key: _literal(value) for key, value in parse_pairs(query, f"policy {spec!r}", separators=",&").items()}
    if ":" not in spec:
        made = _checked(lambda: make_policy(spec, params))
        if "seed" in made.get_params():
            params.setdefault("seed", seed)
        return PolicyChoice(spec, params, make_policy)
    return _custom(spec, _load_class(spec), params)


class QueueChoice(msgspec.Struct, frozen=True):
    """A queue discipline as configured, and how often it schedules."""

    name: str
    params: dict[str, Any]
    scheduling_pass: Literal["instant", "event"]

    def __str__(self) -> str:
        given = {**self.params, **({"pass": self.scheduling_pass} if self.scheduling_pass != "instant" else {})}
        texts = (f"{key}={value if isinstance(value, str) else json_text(value)}" for key, value in given.items())
        return self.name + ("?" if given else "") + "&".join(texts)


def choose_queue(queue: str) -> QueueChoice:
    """Return the discipline for ``name`` or ``name?key=value&…``; a value is JSON, or a text.

    ``pass=instant`` (default) or ``pass=event`` is one scheduling pass for all that happens at an instant, or one after
    every event.
    """
    from scheduler.disciplines import DISCIPLINES

    name, _, query = queue.partition("?")
    if name not in DISCIPLINES:
        raise EruError(f"queue: no discipline {name!r}; {_closest(name, list(DISCIPLINES))}")
    params: dict[str, Any] = {}
    for item in filter(None, query.split("&")):
        key, equals, value = item.partition("=")
        if not equals or not key or not value or key in params:
            raise EruError(f"queue {name!r}: {item!r} is not key=value, or is there twice")
        params[key] = _literal(value)
    scheduling_pass = params.pop("pass", "instant")
    if scheduling_pass not in ("instant", "event"):
        raise EruError(f"queue {name!r}: pass={scheduling_pass} is neither 'instant' nor 'event'")
    return QueueChoice(name, params, scheduling_pass)


def json_text(value: Any) -> str:
    """A value as JSON."""
    return msgspec.json.encode(value).decode()


def _custom(name: str, policy_class: type[Policy], params: dict[str, Any]) -> PolicyChoice:
    from scheduler.policies import make_policy

    def factory(asked: str, asked_params: Mapping[str, Any]) -> Policy:
        if asked != name:
            return make_policy(asked, asked_params)
        made = policy_class()
        made.set_params(**dict(asked_params))
        return made

    _checked(lambda: factory(name, params))
    try:
        msgspec.json.encode(params)
    except TypeError as error:
        raise EruError(f"policy {name!r}: a parameter cannot be written to a journal ({error})") from None
    return PolicyChoice(name, params, factory)


def _checked(make: Callable[[], Policy]) -> Policy:
    try:
        return make()
    except (ValueError, TypeError) as error:
        raise EruError(str(error)) from None


def _load_class(spec: str) -> type[Policy]:
    """Import ``module:Class`` or ``file.py:Class``. Runs that code, so only what the user named is."""
    from scheduler.policies import Policy

    place, _, class_name = spec.rpartition(":")
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise EruError(f"policy {spec!r}: there is no file {place}")
            module_spec = importlib.util.spec_from_file_location(f"eru_policy_{path.stem}", path)
            assert module_spec is not None
            assert module_spec.loader is not None
            module = importlib.util.module_from_spec(module_spec)
            sys.modules[module_spec.name] = module
            module_spec.loader.exec_module(module)
        else:
            sys.path.insert(0, "")
            try:
                module = importlib.import_module(place)
            finally:
                sys.path.remove("")
    except EruError:
        raise
    except Exception as error:
        raise EruError(f"policy {spec!r}: importing {place} fails: {type(error).__name__}: {error}") from None
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise EruError(f"policy {spec!r}: {place} has no class {class_name!r} derived from scheduler.policies.Policy")
    return found


def _literal(text: str) -> Any:
    """A JSON value where the text is one, else the text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
