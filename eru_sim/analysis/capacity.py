"""Metrics of capacity: utilisation, what is stranded, fragmentation of GPUs, allocation against demand.

Arrays of nodes have a row a node. Amounts are base units; what is free may be below 0 on overcommitted nodes, and then
counts as nothing free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

_AWAY = ("lost", "removed")


def utilisation(at_s: ArrayLike, allocated: ArrayLike, capacity: ArrayLike, *, start_s: float, end_s: float) -> float:
    """The integral of ``allocated`` over that of ``capacity`` from ``start_s`` to ``end_s``.

    Both are step functions: the value at ``at_s[i]`` holds until ``at_s[i + 1]``, the last one to ``end_s``, and before
    the first there is nothing. ``at_s`` must not fall. NaN where there is no capacity. ValueError for an empty span.
    """
    if not end_s > start_s:
        raise ValueError(f"end_s: {end_s} must be after start_s, which is {start_s}")
    times = np.clip(np.asarray(at_s, dtype=np.float64), start_s, end_s)
    spans = np.diff(np.append(times, end_s))
    if (spans < 0).any():
        raise ValueError("at_s: it falls; sort the samples by time")
    total = float(np.dot(np.asarray(capacity, dtype=np.float64), spans))
    return float(np.dot(np.asarray(allocated, dtype=np.float64), spans)) / total if total > 0 else float("nan")


def free_capacity(
    nodes: pd.DataFrame, dimensions: Sequence[str], overcommit: Mapping[str, float] | None = None
) -> NDArray[np.int64]:
    """What is free by node and dimension, 0 on nodes that are lost or removed.

    ``nodes`` is `ReplayResult.nodes`. ``overcommit`` is the ratio by dimension of what may be handed out.
    """
    ratios = overcommit or {}
    columns = [
        np.floor(nodes[f"{name}_capacity"].to_numpy() * ratios[name]).astype(np.int64)
        if ratios.get(name, 1.0) != 1.0
        else nodes[f"{name}_capacity"].to_numpy(dtype=np.int64)
        for name in dimensions
    ]
    allocated = [nodes[f"{name}_allocated"].to_numpy(dtype=np.int64) for name in dimensions]
    free: NDArray[np.int64] = np.maximum(np.stack(columns, axis=1) - np.stack(allocated, axis=1), 0)
    if "state" in nodes:
        free[nodes["state"].astype(str).isin(_AWAY).to_numpy()] = 0
    return free


def stranded_ratios(free: ArrayLike, requests: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """The share of the free capacity that is *stranded*, by dimension, from 0 to 1.

    Free capacity of a node is stranded for a request that does not fit there, one that exceeds what is free in some
    dimension; all of it is, in every dimension. The result is the mean over ``requests`` by ``weights`` (equal ones by
    default; they need not add up to 1). 0 in a dimension of which nothing is free, NaN without requests.

    ``free`` is nodes by dimensions, ``requests`` classes by dimensions, in the same order: the typical requests of a
    run, or those that are pending. Where nothing but quantities decides what fits; a request that pools, labels or
    particular devices keep off a node counts as fitting there.
    """
    left = np.maximum(np.asarray(free, dtype=np.float64), 0.0)
    asked = np.asarray(requests, dtype=np.float64).reshape(-1, left.shape[1])
    share = np.ones(len(asked)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(share) != len(asked) or (share < 0).any():
        raise ValueError(f"weights: {len(share)} of them for {len(asked)} requests, none below 0")
    total = share.sum()
    if not total > 0:
        return np.full(left.shape[1], np.nan)
    all_free = left.sum(axis=0)
    lost = np.zeros(left.shape[1])
    for request, weight in zip(asked, share, strict=True):
        lost += weight * left[(left < request).any(axis=1)].sum(axis=0)
    ratios: NDArray[np.float64] = np.divide(lost / total, all_free, out=np.zeros_like(all_free), where=all_free > 0)
    return ratios


def gpu_fragmentation(
    device_free_milli: ArrayLike,
    cpu_free: ArrayLike,
    requests: ArrayLike,
    weights: ArrayLike,
    *,
    allowed: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """The expected GPU capacity of every node, in milli, that a typical request cannot use: F of FGD.

    ``F(node) = sum over classes c of weight_c * f_c(node)``. Where the class cannot run on the node, or asks for no
    GPU, f is all that is free on its devices; where it can, f is the sum of what is free on devices that have less than
    it asks of one. It can run where it is allowed, enough CPU is free, and enough devices have that much free.
    Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent",
    ATC 2023, section 4.

    ``device_free_milli`` is nodes by devices (0 where a node has fewer), ``cpu_free`` by node, ``requests`` classes by
    (cpu, milli of each device, number of devices), ``allowed`` classes by nodes: which models the class may use, all
    by default. Summed class by class in the given order.
    """
    devices = np.maximum(np.asarray(device_free_milli, dtype=np.int64), 0)
    cpu = np.asarray(cpu_free, dtype=np.int64)
    asked = np.asarray(requests, dtype=np.int64).reshape(-1, 3)
    share = np.asarray(weights, dtype=np.float64)
    may = np.ones((len(asked), len(cpu)), dtype=np.bool_) if allowed is None else np.asarray(allowed, dtype=np.bool_)
    total = devices.sum(axis=1)
    found = np.zeros(len(cpu), dtype=np.float64)
    for (cpu_asked, milli, count), weight, allowed_rows in zip(asked, share, may, strict=True):
        fits = devices >= milli
        runs = allowed_rows & (cpu >= cpu_asked) & (fits.sum(axis=1) >= count) & bool(count > 0)
        found += weight * np.where(runs, np.where(fits, 0, devices).sum(axis=1), total)
    return found


def allocation_by_demand(arrived: ArrayLike, placed: ArrayLike, capacity: float) -> pd.DataFrame:
    """The curve of an inflation run: the share of ``capacity`` that is allocated against the share that has arrived.

    ``arrived`` is what each workload asks of one dimension, in order of arrival; ``placed`` tells which of them hold
    it. Columns ``arrived_ratio`` and ``allocated_ratio``, one row a workload, both cumulative, after a row of zeros.
    Nothing leaves in such a run. ValueError for a capacity that is not positive.
    """
    import pandas as pd

    if not capacity > 0:
        raise ValueError(f"capacity: {capacity} must be above 0")
    amounts = np.asarray(arrived, dtype=np.float64)
    held = np.where(np.asarray(placed, dtype=np.bool_), amounts, 0.0)
    columns = {"arrived_ratio": amounts, "allocated_ratio": held}
    return pd.DataFrame({name: np.append(0.0, np.cumsum(column)) / capacity for name, column in columns.items()})
