"""A progress bar on stderr, for people who wait: only on a terminal, and only after two seconds."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

from eru_sim.output import one_line

DELAY_S = 2.0


class ProgressBar:
    """Call it with the share that is done (0 to 1) and what is being done; use it as a context manager.

    Nothing is shown when ``is_wanted`` is False, when stderr is no terminal, or when all is done within `DELAY_S`.
    """

    def __init__(self, is_wanted: bool = True) -> None:
        self._is_wanted = is_wanted and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._bar: Any = None
        self._task: Any = None
        self._state = (0.0, "working")

    def __call__(self, fraction: float, text: str = "working") -> None:
        """Remember how far things are, and show it when there is a bar."""
        self._state = (fraction, text)
        if self._bar is not None:
            self._update()

    def __enter__(self) -> ProgressBar:
        if self._is_wanted:
            self._timer = threading.Timer(DELAY_S, self._start)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_wanted = False
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if not self._is_wanted:
                return
            console = Console(stderr=True, highlight=False, emoji=False)
            columns = (
                BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
            )  # fmt: skip
            bar = Progress(*columns, console=console, transient=True, refresh_per_second=4)
            self._task = bar.add_task("", total=1.0)
            bar.start()
            self._bar = bar
            self._update()

    def _update(self) -> None:
        fraction, text = self._state
        bar = self._bar
        if bar is not None:
            bar.update(self._task, completed=fraction, description=one_line(text))
