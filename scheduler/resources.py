"""The plugins of a core together: what is asked of them, what a copy gets of each, and what the engine is told.

Calculates; `scheduler.ledger` keeps the books.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scheduler.assignment import Assignment
from scheduler.cluster import Cluster
from scheduler.ledger import Claim, Ledger
from scheduler.ports import NOTHING, Coupling, Dimension, ExactPlugin, Inventory, ResourcePlugin
from scheduler.request_classes import Asked, RequestClass
from scheduler.types import NodeIndex

Assignments = dict[str, Assignment]
"""By exact plugin, what one workload holds of it."""

_ASKED_MAX = 4096
_encode = msgspec.msgpack.Encoder().encode
_STRENGTH: tuple[Coupling, ...] = ("none", "cluster", "domain")


class PluginError(Exception):
    """A plugin broke its contract. The message names the plugin and what it did."""


class Resources:
    """All plugins of one core, in the order of its configuration."""

    def __init__(
        self, dimensions: tuple[Dimension, ...], plugins: Sequence[ResourcePlugin], ledger: Ledger, cluster: Cluster
    ) -> None:
        """ValueError where two plugins would give the engine the same argument, or one needs a dimension that is not
        counted.
        """
        _check_plugins(dimensions, plugins)
        self.dimensions = dimensions
        self.ledger = ledger
        self.cluster = cluster
        self.plugins = {plugin.name: plugin for plugin in plugins}
        self.exact = {plugin.name: plugin for plugin in plugins if isinstance(plugin, ExactPlugin)}
        self.sharing = tuple(name for name, plugin in self.exact.items() if _overrides(plugin, ExactPlugin, "shared"))
        """The exact plugins whose workloads share something on a node."""
        self.uses_images = any(plugin.uses_images for plugin in plugins)
        self._engine_keys = {plugin.name: frozenset(plugin.engine_keys) for plugin in plugins}
        self._asked: dict[bytes, Asked] = {}
        """What was parsed before, by the payloads as they were given: parsing is pure."""
        self.asks_everyone = any(plugin.is_universal for plugin in plugins)
        """Whether some plugin is asked also about workloads without payloads."""
        self._universal: dict[str, Any] = {plugin.name: {} for plugin in plugins if plugin.is_universal}

    def asked(self, given: Mapping[str, Any] | None) -> Asked | None:
        """What a submission's payloads ask of the plugins; ValueError names field, value and remedy."""
        if self._universal:
            given = {**self._universal, **(given or {})}
        if not given:
            return None
        try:
            key = _encode(given)
        except TypeError:
            return self._parsed(given)
        if key not in self._asked:
            if len(self._asked) >= _ASKED_MAX:
                self._asked.clear()
            self._asked[key] = self._parsed(given)
        return self._asked[key]

    def _parsed(self, given: Mapping[str, Any]) -> Asked:
        payloads: dict[str, Any] = {}
        for name in sorted(given):
            plugin = self.plugins.get(name)
            if plugin is None:
                known = ", ".join(self.plugins) or "none"
                raise ValueError(f"payloads.{name}: no such plugin is in use; there are: {known}")
            payloads[name] = plugin.parse(given[name])
        demand = [0] * len(self.dimensions)
        for name, payload in payloads.items():
            amounts = self.plugins[name].demand(payload)
            for place, dimension in enumerate(self.dimensions):
                demand[place] += amounts.get(dimension.name, 0)
        exact = tuple(name for name in payloads if name in self.exact)
        uniform = {name: self.exact[name].uniform(payloads[name]) for name in exact}
        couplings = {name: self.plugins[name].coupling_of(payload) for name, payload in payloads.items()}
        return Asked(
            payloads=payloads,
            demand=tuple(demand),
            exact=exact,
            uniform=None if None in uniform.values() else uniform,  # type: ignore[arg-type]
            coupling=max(couplings.values(), key=_STRENGTH.index),
            coupled=tuple(name for name, coupling in couplings.items() if coupling != "none"),
            marks=tuple(mark for n, p in payloads.items() for mark in self.plugins[n].marks(p)),
            scored=tuple(name for name in payloads if self.plugins[name].has_preferences(payloads[name])),
        )

    def inventories(
        self, stated: tuple[int, ...], resources: Mapping[str, Any], labels: Mapping[str, str]
    ) -> tuple[dict[str, Inventory | None], tuple[int, ...]]:
        """What a node has of particular things, by exact plugin, and its capacity with what these add to it.

        ``stated`` is what it says of its dimensions, ``resources`` its payloads by plugin. ValueError names field,
        value and remedy.
        """
        for name in resources:
            if name not in self.exact:
                known = ", ".join(self.exact) or "none"
                raise ValueError(f"resources.{name}: no such exact plugin is in use; there are: {known}")
        amounts = {dimension.name: amount for dimension, amount in zip(self.dimensions, stated, strict=True)}
        capacity = list(stated)
        inventories: dict[str, Inventory | None] = {}
        for name, plugin in self.exact.items():
            inventory = inventories[name] = plugin.inventory(resources.get(name), amounts, labels)
            for place, dimension in enumerate(self.dimensions if inventory is not None else ()):
                capacity[place] += inventory.capacity.get(dimension.name, 0) if inventory is not None else 0
        return inventories, tuple(capacity)

    def assign(self, request_class: RequestClass, row: NodeIndex, count: int) -> list[Assignments]:
        """What up to ``count`` copies on ``row`` get of the exact plugins that are asked; fewer where no more fit."""
        asked = request_class.asked
        if asked is None:
            return [{}] * count
        if asked.uniform is not None:
            return [asked.uniform] * count
        per_plugin: list[list[Assignment]] = []
        for name in asked.exact:
            found = self.exact[name].assign(asked.payloads[name], self.ledger.slots[name].node(row), count)
            per_plugin.append(found)
            count = min(count, len(found))
        return [dict(zip(asked.exact, copy, strict=True)) for copy in zip(*per_plugin, strict=False)]

    def assign_preferring(
        self, request_class: RequestClass, row: NodeIndex, preferred: Mapping[str, Sequence[str]]
    ) -> Assignments | None:
        """What one copy on ``row`` gets where a policy has an order of slots, by plugin; None where it does not fit."""
        asked = request_class.asked
        assert asked is not None
        result: Assignments = {}
        for name in asked.exact:
            plugin, payload, node = self.exact[name], asked.payloads[name], self.ledger.slots[name].node(row)
            if name in preferred:
                found = plugin.assign_preferring(payload, node, preferred[name])
            else:
                found = next(iter(plugin.assign(payload, node, 1)), None)
            if found is None:
                return None
            result[name] = found
        return result

    def reassign(
        self, row: NodeIndex, held: Mapping[str, Assignment], old: Asked | None, new: Asked | None
    ) -> Assignments | None:
        """What a workload on ``row`` gets in place of what it holds, or None where it does not fit."""
        result: Assignments = {}
        if new is None or old is None:
            return result
        for name in new.exact:
            node = self.ledger.slots[name].node(row, held[name].amounts)
            found = self.exact[name].reassign(new.payloads[name], node, held[name], old.payloads[name])
            if found is None:
                return None
            result[name] = found
        return result

    def claim(self, request_class: RequestClass, row: NodeIndex, assignments: Mapping[str, Assignment] | None) -> Claim:
        """Everything that a copy on ``row`` holds."""
        asked = request_class.asked
        if asked is None:
            return Claim(request_class.request)
        charges: dict[str, int] = {}
        for name, payload in asked.payloads.items():
            for pool, amount in self.plugins[name].charges(payload, row, self.cluster).items():
                charges[pool] = charges.get(pool, 0) + amount
        slots = {name: one.amounts for name, one in (assignments or {}).items() if one.amounts}
        return Claim(request_class.request, charges, asked.marks, slots)

    def uniform_claim(self, request_class: RequestClass) -> Claim | None:
        """Everything that a copy holds, if that does not depend on the row; None if it may."""
        asked = request_class.asked
        if asked is None:
            return Claim(request_class.request)
        charged = any(_overrides(self.plugins[name], ResourcePlugin, "charges") for name in asked.payloads)
        if charged or asked.uniform is None:
            return None
        return self.claim(request_class, -1, asked.uniform)

    def shared(self, name: str, row: NodeIndex) -> Any:
        """What an exact plugin's workloads share on ``row``; None where the node has nothing of the kind."""
        node = self.ledger.slots[name].node(row)
        return None if node.inventory is NOTHING else self.exact[name].shared(node)

    def engine_args(
        self, asked: Asked | None, assignments: Mapping[str, Assignment] | None, shared: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What the engine is told, by all plugins together; None for nothing."""
        if asked is None:
            return None
        merged: dict[str, Any] = {}
        for name, payload in asked.payloads.items():
            given = self.plugins[name].engine_args(payload, (assignments or {}).get(name), shared.get(name))
            if not given.keys() <= self._engine_keys[name]:
                unknown = next(key for key in given if key not in self._engine_keys[name])
                raise PluginError(f"plugin {name!r}: it gives {unknown!r}, which is not among its engine_keys")
            merged.update(given)
        return merged or None


def _check_plugins(dimensions: tuple[Dimension, ...], plugins: Sequence[ResourcePlugin]) -> None:
    giver: dict[str, str] = {}
    names = {dimension.name: dimension.unit for dimension in dimensions}
    for plugin in plugins:
        for key in plugin.engine_keys:
            if key in giver:
                raise ValueError(
                    f"engine argument {key!r} is given by both plugins {giver[key]!r} and {plugin.name!r}; use one"
                )
            giver[key] = plugin.name
        for dimension in plugin.dimensions:
            if names.get(dimension.name) != dimension.unit:
                raise ValueError(
                    f"plugin {plugin.name!r} counts {dimension.name} in {dimension.unit}; add that to the dimensions"
                )


def _overrides(plugin: ResourcePlugin, base: type, method: str) -> bool:
    return getattr(type(plugin), method) is not getattr(base, method)
