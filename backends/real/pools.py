"""Pools: named sets of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from backends.real.driver import LiveDriver, Overloaded
from backends.real.errors import Conflict, Exists, Missing
from backends.real.names import check_name
from backends.real.shielding import shielded
from backends.real.stores.base import Record

TABLE = "pools"


class Pools(Mapping[str, str]):
    """The descriptions of all pools by name, as they were added."""

    def __init__(self, driver: LiveDriver, stored: Mapping[str, bytes]) -> None:
        self._driver = driver
        self._descriptions = {name: data.decode() for name, data in stored.items()}

    def __getitem__(self, name: str) -> str:
        return self._descriptions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._descriptions)

    def __len__(self) -> int:
        return len(self._descriptions)

    def check(self, name: str) -> None:
        """`Missing` where there is no such pool."""
        if name not in self._descriptions:
            raise Missing(f"pool {name!r}: there is none of that name")

    @shielded
    async def add(self, name: str, description: str = "", *, records: Sequence[Record] = ()) -> None:
        """Add a pool; `Exists` where there is one of the name."""
        check_name("pool", name)
        if name in self._descriptions:
            raise Exists(f"pool {name}: there is one already")
        self._descriptions[name] = description
        try:
            await self._driver.submit(records=[Record(TABLE, name, description.encode()), *records])
        except Overloaded:
            del self._descriptions[name]
            raise

    @shielded
    async def remove(self, name: str, *, records: Sequence[Record] = ()) -> None:
        """Remove a pool; `Conflict` while it has nodes."""
        self.check(name)
        nodes = [node.node_id for node in self._driver.core.cluster.by_id.values() if node.pool == name]
        if nodes:
            raise Conflict(f"pool {name}: it has {len(nodes)} nodes, {nodes[0]} among them; remove these first")
        description = self._descriptions.pop(name)
        try:
            await self._driver.submit(records=[Record(TABLE, name, None), *records])
        except Overloaded:
            self._descriptions[name] = description
            raise
