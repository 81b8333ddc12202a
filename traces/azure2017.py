"""Reader of the Azure 2017 VM arrivals and lifetimes, in 5-minute bins, by batches of one tenant's VMs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.azure2017_files import BIN_S, Arrivals, Integers, read_arrivals
from traces.base import TraceBase
from traces.fits import hashed_uniforms, lifetime_fit, lifetime_names, seconds_to_ns
from traces.schema import SECOND_NS, Submission
from traces.source import Option, Reader, Source, choice, integer

_CENSORED = -1
_CHUNK_ROWS = 50_000
_LIFETIMES = ["mid", "lo", "hi", "fit:dev", *lifetime_names()]

OPTIONS: tuple[Option, ...] = (
    choice("set", "dev", "days 21 to 24 with lifetimes, or days 0 to 21 without", ["dev", "train"]),
    choice("spread", "uniform", "where in its 5-minute bin a batch arrives", ["uniform", "bin-end"]),
    choice("lifetime", "mid", "point of the recorded interval, or a draw (fit:dev is from dev's VMs)", _LIFETIMES),
    integer("seed", 0, "seed of drawn arrival times and lifetimes"),
)


class Azure2017Trace(TraceBase):
    """The set is held as columns of numbers, some 60 bytes a VM, and streamed from there."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, ("cpu_millicores", "memory_bytes"), default_cluster="azure:5000")
        self._seed: int = source.options["seed"]
        arrivals = read_arrivals(source.path, source.options["set"])
        self._origin_s = int(arrivals.bin_end_s[0]) - BIN_S
        at_ns = self._arrival_ns(arrivals, source.options["spread"])
        service_ns = self._service_ns(arrivals, source)
        order = np.lexsort((arrivals.batch, at_ns))
        self._columns: list[Integers] = [
            column[order]
            for column in (at_ns, arrivals.batch, arrivals.cpu_millicores, arrivals.memory_bytes, service_ns)
        ]
        self.horizon_ns = (int(arrivals.bin_end_s[-1]) + BIN_S - self._origin_s) * SECOND_NS
        self.assumptions = self._assumptions(source, has_lifetimes=arrivals.life_lo_s is not None)
        self._zero_lifetimes = int((service_ns == 0).sum())

    def _arrival_ns(self, arrivals: Arrivals, spread: str) -> Integers:
        at_ns = (arrivals.bin_end_s - self._origin_s) * SECOND_NS
        if spread == "uniform":
            back_s = hashed_uniforms(self._seed, arrivals.batch, np.zeros_like(arrivals.batch)) * BIN_S
            at_ns = at_ns - seconds_to_ns(back_s)
        return np.asarray(at_ns)

    def _service_ns(self, arrivals: Arrivals, source: Source) -> Integers:
        lifetime: str = source.options["lifetime"]
        if lifetime == "fit:dev":
            dev = arrivals if arrivals.life_lo_s is not None else read_arrivals(source.path, "dev")
            return self._resampled_ns(arrivals, dev)
        if lifetime.startswith("fit:"):
            return seconds_to_ns(lifetime_fit(lifetime).quantile(self._uniforms(arrivals)))
        if arrivals.life_lo_s is None:
            return np.full_like(arrivals.batch, _CENSORED)
        return _recorded_ns(arrivals, lifetime)

    def _uniforms(self, arrivals: Arrivals) -> npt.NDArray[np.float64]:
        position = np.arange(len(arrivals.batch), dtype=np.int64)
        return hashed_uniforms(self._seed, position, np.ones_like(position))

    def _resampled_ns(self, arrivals: Arrivals, dev: Arrivals) -> Integers:
        """Give each VM the recorded lifetime of a random dev VM of its flavour (of any flavour if there is none)."""
        pool_ns = _recorded_ns(dev, "mid")
        pool_key, key = _flavor_key(dev), _flavor_key(arrivals)
        uniforms = self._uniforms(arrivals)
        drawn = pool_ns[(uniforms * len(pool_ns)).astype(np.int64)]
        for flavor in np.unique(pool_key):
            same = pool_ns[pool_key == flavor]
            wanted = key == flavor
            drawn[wanted] = same[(uniforms[wanted] * len(same)).astype(np.int64)]
        return np.asarray(drawn)

    def _assumptions(self, source: Source, *, has_lifetimes: bool) -> tuple[str, ...]:
        lifetime, spread = source.options["lifetime"], source.options["spread"]
        lines = [
            f"Times count from the start of the set's first bin, {self._origin_s} s of the publication.",
            "A recorded GB is 2^30 bytes; a batch is one job and arrives at one instant.",
        ]
        if spread == "uniform":
            lines.append(f"A batch arrives uniformly within its 5-minute bin, seed {self._seed} (spread=uniform).")
        else:
            lines.append("A batch arrives at the end of its 5-minute bin (spread=bin-end).")
        if lifetime == "fit:dev":
            lines.append(f"Every lifetime is that of a random dev VM of the same flavour, seed {self._seed}.")
        elif lifetime.startswith("fit:"):
            lines.append(f"Every lifetime is drawn from {lifetime}, seed {self._seed}.")
        elif has_lifetimes:
            lines.append(f"A lifetime is the {lifetime} point of its interval; censored VMs run past the horizon.")
        else:
            lines.append("The set has no lifetimes: every VM runs past the horizon (lifetime=fit:dev draws them).")
        return tuple(lines)

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per VM by (arrival, batch, position)."""
        total = len(self._columns[0])
        for start in range(0, total, _CHUNK_ROWS):
            rows = zip(*(column[start : start + _CHUNK_ROWS].tolist() for column in self._columns), strict=True)
            for number, (at_ns, batch, cpu, memory, service_ns) in enumerate(rows, start):
                yield Submission(
                    at_ns,
                    f"vm-{number}",
                    (cpu, memory),
                    job_id=f"batch-{batch}",
                    service_ns=None if service_ns < 0 else service_ns,
                )

    def _facts(self) -> dict[str, Any]:
        batch_sizes = np.unique_counts(self._columns[1]).counts
        cores, counts = np.unique(self._columns[2] // 1000, return_counts=True)
        return {
            "azure2017": {
                "batches": len(batch_sizes),
                "batch_size_mean": round(float(batch_sizes.mean()), 4),
                "batch_size_max": int(batch_sizes.max()),
                "vms_by_cores": dict(zip(map(str, cores.tolist()), counts.tolist(), strict=True)),
                "vms_gone_within_their_first_bin": self._zero_lifetimes,
            }
        }


def _flavor_key(arrivals: Arrivals) -> Integers:
    return np.asarray(arrivals.cpu_millicores * (1 << 40) // 1000 + arrivals.memory_bytes)


def _recorded_ns(arrivals: Arrivals, point: str) -> Integers:
    if arrivals.life_lo_s is None or arrivals.life_hi_s is None or arrivals.censored is None:
        raise ValueError("the set has no lifetimes")
    twice_s = {
        "lo": 2 * arrivals.life_lo_s,
        "mid": arrivals.life_lo_s + arrivals.life_hi_s,
        "hi": 2 * arrivals.life_hi_s,
    }[point]
    return np.where(arrivals.censored == 1, _CENSORED, twice_s * (SECOND_NS // 2))


READER = Reader(
    name="azure2017",
    summary="Azure 2017 VM arrivals and lifetimes: a directory with the raw v1.* files or the decoded ones",
    open=Azure2017Trace,
    options=OPTIONS,
)
