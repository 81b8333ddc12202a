"""What tenants hold. A tenant's name is a path: the work of ``a/b`` counts for ``a/b`` and for ``a``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=65536)
def lineage(tenant: str) -> tuple[str, ...]:
    """The paths that a tenant's own work counts for, the topmost first: "a/b" gives ("a", "a/b", "a/b/").

    The last one stands for what is the tenant's own, beside its children.
    """
    parts = [*tenant.split("/"), ""]
    return tuple("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))


class TenantUsage:
    """By path, what is held, by dimension. What a superseded instance on a lost node holds counts for nobody."""

    def __init__(self, dimension_count: int) -> None:
        self.nothing = (0,) * dimension_count
        self.by_path: dict[str, tuple[int, ...]] = {}

    def add(self, tenant: str, request: Sequence[int], copies: int) -> None:
        """So many copies more; a negative number for less."""
        for path in lineage(tenant):
            held = self.by_path.get(path, self.nothing)
            held = tuple(amount + copies * more for amount, more in zip(held, request, strict=True))
            if any(held):
                self.by_path[path] = held
            else:
                self.by_path.pop(path, None)

    def of(self, path: str) -> tuple[int, ...]:
        """What is held, by dimension."""
        return self.by_path.get(path, self.nothing)
