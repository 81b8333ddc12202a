"""The same calls on one process, on processes of this machine (joblib), or on a Ray or Dask cluster."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from eru_sim.errors import EruError

Task = TypeVar("Task")
Result = TypeVar("Result")

BACKENDS = ("joblib", "ray", "dask")
_EXTRA = "pip install 'eru-sim[sweep]'"


def check_backend(backend: str) -> str:
    """Return the name of a backend whose package is installed; EruError otherwise."""
    if backend not in BACKENDS:
        close = difflib.get_close_matches(backend, BACKENDS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise EruError(f"backend: no backend {backend!r}; {hint}there are: {', '.join(BACKENDS)}")
    package = {"dask": "distributed"}.get(backend, backend)
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise EruError(f"backend: {backend} needs the package {package!r}; install it: {_EXTRA}")
    return backend


def results_of(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int, backend: str
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task, as they are done, with at most ``jobs`` at a time.

    ``function`` and tasks are picklable. joblib with one job calls in this process. Ray and Dask use the cluster that
    ``RAY_ADDRESS`` or ``DASK_SCHEDULER_ADDRESS`` names, where ``jobs`` has no say over its size, and without one they
    start a local one of ``jobs`` workers and stop it at the end. What a call raises is raised here, and ends it all.
    """
    if backend == "ray":
        yield from _on_ray(function, tasks, jobs)
    elif backend == "dask":
        yield from _on_dask(function, tasks, jobs)
    elif jobs == 1:
        yield from map(function, tasks)
    else:
        yield from _on_processes(function, tasks, jobs)


def _on_processes(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    from joblib import Parallel, delayed

    parallel = Parallel(
        n_jobs=min(jobs, len(tasks) or 1), return_as="generator_unordered", batch_size=1, pre_dispatch=jobs
    )
    yield from parallel(delayed(function)(task) for task in tasks)


def _on_ray(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    import logging
    import os

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    local: dict[str, Any] = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        remote = ray.remote(num_cpus=1, max_retries=0)(function)
        waiting = [remote.remote(task) for task in tasks]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    finally:
        ray.shutdown()


def _on_dask(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    import contextlib
    import logging

    import dask
    import distributed

    cluster: Any = dask.config.get("scheduler-address", None)
    package: Any = distributed  # which has no types
    with contextlib.ExitStack() as stack:
        if cluster is None:
            local = package.LocalCluster(
                n_workers=jobs, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
            )
            cluster = stack.enter_context(local)
        client = stack.enter_context(package.Client(cluster))
        futures = client.map(function, tasks, pure=False)
        for future in package.as_completed(futures):
            yield future.result()
