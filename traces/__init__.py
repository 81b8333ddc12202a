"""Cluster traces: the canonical schema, a reader per public format, synthetic generators and the Parquet form.

``open_trace("google2011:DIR?priority_min=9")`` gives a Trace with a stream of machine events and one of submissions.
"""

from traces.registry import convert, list_formats, manifest, open_trace
from traces.schema import SECOND_NS, Demand, MachineEvent, Submission, Trace, TraceError
from traces.source import Option, Progress, Reader, Source, split_source

__all__ = [
    "SECOND_NS",
    "Demand",
    "MachineEvent",
    "Option",
    "Progress",
    "Reader",
    "Source",
    "Submission",
    "Trace",
    "TraceError",
    "convert",
    "list_formats",
    "manifest",
    "open_trace",
    "split_source",
]
