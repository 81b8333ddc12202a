"""The counts by which an import of Google 2011 is checked: machines, rows, the state and placement at time 0."""

from __future__ import annotations

from typing import Any

from traces.scratch import ScratchDatabase

_EVENT_NAMES = (
    "submit",
    "schedule",
    "evict",
    "fail",
    "finish",
    "kill",
    "lost",
    "update_pending",
    "update_running",
)
_DECIMALS = 6


def google2011_facts(database: ScratchDatabase, cpu_scale: int, memory_scale: int) -> dict[str, Any]:
    """Return the facts of the whole trace, whatever ``priority_min`` is; ratios are shares of 1, amounts normalised."""
    return {
        "machines": _machine_facts(database, cpu_scale, memory_scale),
        "task_rows": _row_facts(database),
        "at_start": _start_facts(database),
        "recorded_placement": _placement_facts(database, cpu_scale, memory_scale),
    }


def _machine_facts(database: ScratchDatabase, cpu_scale: int, memory_scale: int) -> dict[str, Any]:
    added, removed, updated, without_capacity = database.row(
        "SELECT count(*) FILTER (event_type = 0), count(*) FILTER (event_type = 1), count(*) FILTER (event_type = 2),"
        " count(*) FILTER (event_type = 0 AND cpu IS NULL) FROM machine_events"
    )
    shapes = database.rows(
        "SELECT cpu, memory, count(*) FROM machine_events WHERE time_us = 0 AND event_type = 0"
        " GROUP BY platform, cpu, memory ORDER BY count(*) DESC, cpu, memory"
    )
    return {
        "at_start": sum(count for _, _, count in shapes),
        "shapes_at_start": [
            {"cpu": (cpu or 0) / cpu_scale, "memory": (memory or 0) / memory_scale, "machines": count}
            for cpu, memory, count in shapes
        ],
        "distinct": database.value("SELECT count(DISTINCT machine_id) FROM machine_events"),
        "add_rows": added,
        "remove_rows": removed,
        "update_rows": updated,
        "update_rows_that_change_capacity": database.value(_CHANGING_UPDATES_SQL),
        "add_rows_without_capacity": without_capacity,
        "distinct_removed": database.value(
            "SELECT count(DISTINCT machine_id) FROM machine_events WHERE event_type = 1"
        ),
    }


_CHANGING_UPDATES_SQL = """
SELECT count(*) FROM (
    SELECT event_type, cpu, memory,
           lag(cpu) OVER machine AS cpu_before, lag(memory) OVER machine AS memory_before
    FROM machine_events WHERE event_type <> 1
    WINDOW machine AS (PARTITION BY machine_id ORDER BY time_us, seq)
) WHERE event_type = 2 AND (cpu IS DISTINCT FROM cpu_before OR memory IS DISTINCT FROM memory_before)
"""


def _row_facts(database: ScratchDatabase) -> dict[str, Any]:
    by_type = dict(database.rows("SELECT event_type, count(*) FROM task_events GROUP BY event_type"))
    tasks, ended, serviced, killed, resubmitted = database.row(
        "SELECT count(*), count(*) FILTER (end_us IS NOT NULL OR kill_us IS NOT NULL),"
        " count(end_us), count(kill_us), (SELECT count(*) FROM task_events WHERE event_type = 0)"
        " - count(submit_seq) FROM tasks"
    )
    last_us = database.value("SELECT max(time_us) FROM task_events WHERE time_us < 9223372036854775807")
    first_us = database.value("SELECT min(time_us) FROM task_events WHERE time_us > 0")
    return {
        "rows": sum(by_type.values()),
        "by_type": {name: by_type.get(index, 0) for index, name in enumerate(_EVENT_NAMES)},
        "span_minutes": 0.0 if first_us is None else round((last_us - first_us) / 60e6, 3),
        "tasks": tasks,
        "tasks_with_recorded_end": ended,
        "tasks_with_finish_or_fail": serviced,
        "tasks_with_kill": killed,
        "later_submissions_not_replayed": resubmitted,
        "evictions_not_replayed": by_type.get(2, 0),
        "rows_without_request": database.value(
            "SELECT count(*) FROM task_events WHERE cpu_request IS NULL OR memory_request IS NULL"
        ),
    }


_START_SQL = """
CREATE OR REPLACE TABLE at_start AS
SELECT s.job_id, s.task_index, s.cpu_request AS submit_cpu, s.memory_request AS submit_memory,
       s.different_machine AS submit_different, r.cpu_request AS schedule_cpu, r.memory_request AS schedule_memory,
       r.different_machine AS schedule_different, r.machine_id, r.seq AS schedule_seq, t.cpu_request, t.memory_request
FROM (SELECT * FROM task_events WHERE time_us = 0 AND event_type = 0) s
LEFT JOIN (SELECT * FROM task_events WHERE time_us = 0 AND event_type = 1) r USING (job_id, task_index)
JOIN tasks t USING (job_id, task_index)
"""


def _start_facts(database: ScratchDatabase) -> dict[str, Any]:
    database.execute(_START_SQL)
    tasks, jobs, scheduled, cpu_differs, memory_differs, flag_differs, cpu, memory = database.row(
        "SELECT count(*), count(DISTINCT job_id), count(schedule_seq),"
        " count(*) FILTER (schedule_seq IS NOT NULL AND submit_cpu IS DISTINCT FROM schedule_cpu),"
        " count(*) FILTER (schedule_seq IS NOT NULL AND submit_memory IS DISTINCT FROM schedule_memory),"
        " count(*) FILTER (schedule_seq IS NOT NULL AND submit_different IS DISTINCT FROM schedule_different),"
        " coalesce(sum(cpu_request), 0), coalesce(sum(memory_request), 0) FROM at_start"
    )
    cpu_capacity, memory_capacity = database.row(
        "SELECT sum(cpu), sum(memory) FROM machine_events WHERE time_us = 0 AND event_type = 0"
    )
    return {
        "submitted_tasks": tasks,
        "submitted_jobs": jobs,
        "scheduled_tasks": scheduled,
        "submit_and_schedule_disagree": {
            "cpu_request": cpu_differs,
            "memory_request": memory_differs,
            "different_machine": flag_differs,
        },
        "demand_ratio": {"cpu": _ratio(cpu, cpu_capacity), "memory": _ratio(memory, memory_capacity)},
        "production_demand_ratio": _production_demand(database, cpu_capacity, memory_capacity),
    }


def _production_demand(database: ScratchDatabase, cpu_capacity: Any, memory_capacity: Any) -> dict[str, Any]:
    tasks, cpu, memory = database.row(
        "SELECT count(*), coalesce(sum(cpu_request), 0), coalesce(sum(memory_request), 0) FROM task_events"
        " WHERE time_us = 0 AND event_type = 1 AND priority >= 9"
    )
    return {"tasks": tasks, "cpu": _ratio(cpu, cpu_capacity), "memory": _ratio(memory, memory_capacity)}


_PLACEMENT_SQL = """
CREATE OR REPLACE TABLE placement AS
SELECT machine_id, sum(schedule_cpu) AS cpu, sum(schedule_memory) AS memory, any_value(m.cpu) AS cpu_capacity,
       any_value(m.memory) AS memory_capacity, any_value(m.machine_id_known) AS known
FROM at_start LEFT JOIN (
    SELECT machine_id, cpu, memory, true AS machine_id_known FROM machine_events WHERE time_us = 0 AND event_type = 0
) m USING (machine_id)
WHERE schedule_seq IS NOT NULL GROUP BY machine_id
"""


def _placement_facts(database: ScratchDatabase, cpu_scale: int, memory_scale: int) -> dict[str, Any]:
    database.execute(_PLACEMENT_SQL)
    machines, unknown, cpu, memory = database.row(
        "SELECT count(*), count(*) FILTER (known IS NULL), coalesce(sum(cpu), 0), coalesce(sum(memory), 0)"
        " FROM placement"
    )
    return {
        "machines_used": machines,
        "machine_ids_not_in_inventory": unknown,
        "machine_ids_never_in_machine_events": database.value(
            "SELECT count(*) FROM placement WHERE machine_id NOT IN (SELECT machine_id FROM machine_events)"
        ),
        "requested": {"cpu": round(float(cpu) / cpu_scale, 4), "memory": round(float(memory) / memory_scale, 4)},
        "cpu_requested_over_capacity": _over_requested(database, "cpu"),
        "memory_requested_over_capacity": _over_requested(database, "memory"),
        "different_machine_violations": database.value(_VIOLATIONS_SQL),
    }


_VIOLATIONS_SQL = """
SELECT count(*) FROM (
    SELECT job_id, machine_id FROM at_start WHERE schedule_seq IS NOT NULL
    GROUP BY job_id, machine_id HAVING count(*) > 1 AND max(coalesce(schedule_different, 0)) = 1
)
"""


def _over_requested(database: ScratchDatabase, column: str) -> dict[str, Any]:
    share, median, ninetieth, largest = database.row(
        f"SELECT avg(CASE WHEN {column} > {column}_capacity THEN 1.0 ELSE 0.0 END),"
        f" quantile_cont({column} / {column}_capacity, 0.5), quantile_cont({column} / {column}_capacity, 0.9),"
        f" max({column} / {column}_capacity) FROM placement WHERE {column}_capacity > 0"
    )
    return {
        "share_of_machines": _rounded(share),
        "median_ratio": _rounded(median),
        "p90_ratio": _rounded(ninetieth),
        "max_ratio": _rounded(largest),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DECIMALS)


def _ratio(part: Any, whole: Any) -> float | None:
    return round(float(part) / float(whole), _DECIMALS) if whole else None
