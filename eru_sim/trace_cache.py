"""Traces that several runs of one process replay: read once, as far as they are small enough to keep."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from traces import Option, Reader, Source, Trace, open_trace, split_source

MOST_TRACES = 4
MOST_ITEMS = 250_000
"""Machine events, and submissions, of a trace that is kept: about 100 MB. A longer one is read anew each time."""

_Identity = tuple[str, str, tuple[tuple[str, str], ...]]
_kept: OrderedDict[_Identity, Trace] = OrderedDict()


@contextmanager
def kept_traces(source: str, inputs: Mapping[str, str]) -> Iterator[None]:
    """Within this context, opening ``source`` gives the trace that it gave before in this process.

    ``inputs`` are the files that it reads, with their state; a trace whose files have changed is opened anew. The
    `MOST_TRACES` that were used last are kept.
    """
    from eru_sim.recording import READERS

    others = dict(READERS)
    name, _, given = split_source(source)

    def open_kept(asked: Source) -> Trace:
        if asked.text != source:
            return open_trace(asked.text, readers=others, progress=asked.progress)
        identity = (os.getcwd(), source, tuple(sorted(inputs.items())))
        if identity not in _kept:
            _kept[identity] = _Kept(open_trace(source, readers=others, progress=asked.progress))
            while len(_kept) > MOST_TRACES:
                _kept.popitem(last=False)
        _kept.move_to_end(identity)
        return _kept[identity]

    # The options are checked by the reader in whose place this one stands.
    options = tuple(Option(name=option, default="", meaning="", parse=str) for option in given)
    READERS[name] = Reader(name=name, summary="", open=open_kept, options=options)
    try:
        yield
    finally:
        READERS.clear()
        READERS.update(others)


class _Kept:
    """A trace whose streams are remembered as they are read; everything else is the trace's own."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._machine_events = _Stream(trace.machine_events)
        self._submissions = _Stream(trace.submissions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trace, name)

    def machine_events(self) -> Iterator[Any]:
        return self._machine_events.read()

    def submissions(self) -> Iterator[Any]:
        return self._submissions.read()


class _Stream:
    """What a generator function yields, remembered up to `MOST_ITEMS`. Readings may overlap, in one thread."""

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        self._start = start
        self._rest: Iterator[Any] | None = None
        self._items: list[Any] = []
        self._is_long = False

    def read(self) -> Iterator[Any]:
        return self._start() if self._is_long else self._remembering()

    def _remembering(self) -> Iterator[Any]:
        if self._rest is None:
            self._rest = self._start()
        items, rest, position = self._items, self._rest, 0
        while position < MOST_ITEMS:
            if position == len(items):
                try:
                    items.append(next(rest))
                except StopIteration:
                    return
                except BaseException:
                    self._rest, self._items = None, []
                    raise
            yield items[position]
            position += 1
        self._is_long, self._items, self._rest = True, [], None
        yield from islice(self._start(), position, None)
