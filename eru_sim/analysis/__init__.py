"""Metrics of finished runs, one definition each, and the statistics to compare policies with.

Pure functions over the frames of `eru_sim.outcomes` and of `eru_sim.ReplayResult`, and over plain arrays.
"""

from __future__ import annotations

from eru_sim.analysis.capacity import (
    allocation_by_demand,
    free_capacity,
    gpu_fragmentation,
    stranded_ratios,
    utilisation,
)
from eru_sim.analysis.statistics import (
    Interval,
    PairedComparison,
    bootstrap_interval,
    compare_to_baseline,
    paired_comparison,
    student_interval,
)
from eru_sim.analysis.work import (
    after_warm_up,
    bounded_slowdowns,
    completion_times_s,
    dominant_shares,
    fairness,
    jain_index,
    job_completion_times_s,
    makespan_s,
    pending_requests,
    queueing_delays_s,
    request_classes,
    work_metrics,
)

__all__ = [
    "Interval", "PairedComparison", "after_warm_up", "allocation_by_demand", "bootstrap_interval", "bounded_slowdowns",
    "compare_to_baseline", "completion_times_s", "dominant_shares", "fairness", "free_capacity", "gpu_fragmentation",
    "jain_index", "job_completion_times_s", "makespan_s", "paired_comparison", "pending_requests", "queueing_delays_s",
    "request_classes", "stranded_ratios", "student_interval", "utilisation", "work_metrics",
]  # fmt: skip
