"""The slots of one exact plugin over all rows: what each node has, and how much of it is free.

Free amounts are one int64 matrix, rows by slots. Nodes that have the same share one `Inventory`; a slot's column is its
place in the inventory.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from scheduler.ports import NOTHING, Inventory, NodeSlots, SlotColumns
from scheduler.types import Int64Array, NodeIndex

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class SlotTable:
    """Bookkeeping only: `Ledger` says when, and undoes."""

    def __init__(self) -> None:
        self.inventories: list[Inventory] = []
        self.inventory_ids: Int64Array = np.full(64, -1, dtype=np.int64)
        self.free: Int64Array = np.zeros((64, 1), dtype=np.int64)
        self._known: dict[bytes, int] = {}
        self._places: list[dict[str, int]] = []
        self._counted: list[frozenset[str]] = []
        self._view = self.free.data

    def inventory(self, row: NodeIndex) -> Inventory | None:
        """What the node has; None for nothing."""
        inventory_id = int(self.inventory_ids[row])
        return self.inventories[inventory_id] if inventory_id >= 0 else None

    def add_row(self, row: NodeIndex) -> None:
        """Make room for a row, which has nothing yet."""
        if row == len(self.inventory_ids):
            self.inventory_ids = np.concatenate([self.inventory_ids, np.full(row, -1, dtype=np.int64)])
            self._resize(2 * row, self.free.shape[1])

    def set_inventory(self, row: NodeIndex, inventory: Inventory | None) -> None:
        """Change what a node has; what is held stays held.

        Free amounts follow the totals and may go below zero. Whether it may be changed has been checked before.
        """
        held = self.held(row)
        self.inventory_ids[row] = self._intern(inventory) if inventory is not None else -1
        self.free[row] = 0
        if inventory is None:
            return
        for place, (name, total) in enumerate(zip(inventory.slots, inventory.total, strict=True)):
            self.free[row, place] = total - held.get(name, 0)

    def check(self, row: NodeIndex, inventory: Inventory | None) -> None:
        """ValueError where a slot of which something is held would vanish."""
        slots = inventory.slots if inventory is not None else ()
        for name, amount in self.held(row).items():
            if name not in slots:
                raise ValueError(f"{name}: it would go, but {amount} of it are in use; move the work first")

    def _intern(self, inventory: Inventory) -> int:
        key = _encode(inventory)
        known = self._known.get(key)
        if known is not None:
            return known
        if len(inventory.slots) > self.free.shape[1]:
            self._resize(self.free.shape[0], len(inventory.slots))
        self._known[key] = created = len(self.inventories)
        self.inventories.append(inventory)
        self._places.append({name: place for place, name in enumerate(inventory.slots)})
        self._counted.append(frozenset(inventory.counted))
        return created

    def _resize(self, rows: int, width: int) -> None:
        grown = np.zeros((rows, width), dtype=np.int64)
        grown[: self.free.shape[0], : self.free.shape[1]] = self.free
        self.free = grown
        self._view = grown.data

    def held(self, row: NodeIndex) -> dict[str, int]:
        """What is taken, by slot; slots of which nothing is taken are left out."""
        inventory = self.inventory(row)
        if inventory is None:
            return {}
        free = self.free[row].tolist()
        return {
            name: total - free[place]
            for place, (name, total) in enumerate(zip(inventory.slots, inventory.total, strict=True))
            if total != free[place]
        }

    def shortage(self, row: NodeIndex, amounts: Mapping[str, int]) -> str:
        """The first slot of which there is less than asked, with both figures; "" where all fits."""
        inventory_id = int(self.inventory_ids[row])
        places = self._places[inventory_id] if inventory_id >= 0 else {}
        counted = self._counted[inventory_id] if inventory_id >= 0 else frozenset()
        view = self._view
        for name, amount in amounts.items():
            place = places.get(name)
            if place is None:
                return f"there is no {name}"
            if view[row, place] < amount and name not in counted:
                return f"{view[row, place]} of {name} are free of which {amount} are asked"
        return ""

    def is_limited(self, row: NodeIndex, amounts: Mapping[str, int]) -> bool:
        """Whether anything among the amounts, which are not none, is more than just counted."""
        counted = self._counted[int(self.inventory_ids[row])]
        return any(name not in counted for name in amounts)

    def limited_rows(self, rows: Int64Array, amounts: Mapping[str, int]) -> Int64Array:
        """Those of the rows on which anything among the amounts is more than just counted."""
        limited = np.array([any(name not in counted for name in amounts) for counted in self._counted], dtype=np.bool_)
        return rows[limited[self.inventory_ids[rows]]]

    def take(self, row: NodeIndex, amounts: Mapping[str, int], sign: int = 1) -> None:
        """Take amounts away, or with ``sign`` -1 give them back. Whether they fit has been checked before."""
        places = self._places[int(self.inventory_ids[row])]
        view = self._view
        for name, amount in amounts.items():
            view[row, places[name]] -= sign * amount

    def _columns_of(self, rows: Int64Array, slot: str) -> Int64Array:
        """By row, the place of a slot, which every one of the rows has."""
        places = np.array([known.get(slot, -1) for known in self._places], dtype=np.int64)
        result: Int64Array = places[self.inventory_ids[rows]]
        return result

    def fits_many(self, rows: Int64Array, counts: Int64Array, amounts: Mapping[str, int]) -> bool:
        """Whether so many times the amounts are free on every row, what is only counted apart."""
        for slot, amount in amounts.items():
            limited = np.array([slot not in counted for counted in self._counted])[self.inventory_ids[rows]]
            places = self._columns_of(rows, slot)
            if (places < 0).any() or (limited & (self.free[rows, places] < counts * amount)).any():
                return False
        return True

    def take_many(self, rows: Int64Array, counts: Int64Array, amounts: Mapping[str, int]) -> None:
        """Take so many times the amounts on every row."""
        for slot, amount in amounts.items():
            self.free[rows, self._columns_of(rows, slot)] -= counts * amount

    def node(self, row: NodeIndex, given_back: Mapping[str, int] | None = None) -> NodeSlots:
        """One node for an exact plugin, as if ``given_back`` were free too."""
        inventory = self.inventory(row)
        if inventory is None:
            return NodeSlots(NOTHING, [])
        free = self.free[row, : len(inventory.slots)].tolist()
        if given_back:
            places = self._places[int(self.inventory_ids[row])]
            for name, amount in given_back.items():
                free[places[name]] += amount
        return NodeSlots(inventory, free)

    def columns(self, rows: Int64Array) -> SlotColumns:
        """Read-only columns over some rows."""
        ids, free = self.inventory_ids.take(rows), self.free.take(rows, axis=0)
        ids.flags.writeable = free.flags.writeable = False
        return SlotColumns(self.inventories, ids, free)
