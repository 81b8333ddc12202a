"""Structured logs on stderr of the processes that last: the service and the agent."""

import contextlib
import logging
import sys
from typing import Any, Literal, TextIO, cast

import structlog

LogForm = Literal["text", "json", "logfmt"]


def set_up_logs(form: LogForm, level: str = "info") -> None:
    """One line an event on stderr, as it is now; `level` is one of logging's names, in any case.

    A line that stderr does not take is dropped: nothing may go wrong because nobody reads the log.
    """
    renderers: dict[LogForm, list[Any]] = {
        "text": [structlog.dev.ConsoleRenderer(colors=False)],
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        "logfmt": [
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
    }
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers[form],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Patient(sys.stderr))),
        cache_logger_on_first_use=False,
    )


class _Patient:
    """A stream that takes what it can and never complains."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, or not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
