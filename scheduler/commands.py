"""Commands: what the core wants done, in the imperative. Drivers carry them out and feed completions back.

Every command is idempotent: an engine that is told to start a generation that already runs answers again and starts
nothing. The core repeats a start or a stop whose answer has not come within the deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

StopReason = Literal["kill", "evict", "preempt", "hold", "fence", "replace"]
Outcome = Literal[
    "running", "stopped", "updated", "update_failed", "replaced", "rolled_back", "dissociated", "drained",
    "changed", "fixed", "reserved",
    "completed", "failed", "killed", "lost", "rejected", "refused", "done",
]  # fmt: skip


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag_field="type"):
    """Base of all commands; see the module for what they have in common."""


class StartWorkload(Command, frozen=True, tag="start_workload"):
    """Create the workload on the node if it is not there, and start it. Answered by started, or start failed.

    ``image`` and ``template`` are as they were submitted, or as the last replacement has it.
    """

    workload_id: str
    generation: int
    node_id: str
    image: str = ""
    template: str = ""
    engine_args: Mapping[str, Any] | None = None


class StopWorkload(Command, frozen=True, tag="stop_workload"):
    """Stop that generation, and remove what is left of it unless ``reason`` is "hold". Answered by stopped.

    ``reason``: the user removes it (kill), it moves elsewhere (evict), it makes
    way for work of higher priority (preempt), it is to be started again here as it is (hold)
    or with another image (replace), or it was superseded while its node was lost (fence).
    """

    workload_id: str
    generation: int
    node_id: str
    reason: StopReason


class UpdateWorkload(Command, frozen=True, tag="update_workload"):
    """Change what this generation may use, while it runs. Answered by updated, or update failed.

    ``revision`` numbers the updates of a workload; a later one stands for all before.
    """

    workload_id: str
    generation: int
    node_id: str
    revision: int
    engine_args: Mapping[str, Any] | None = None


class RemapWorkload(Command, frozen=True, tag="remap_workload"):
    """Change those engine arguments of this generation: what it shares with others became another. Not answered."""

    workload_id: str
    generation: int
    node_id: str
    engine_args: Mapping[str, Any]


class PublishResult(Command, frozen=True, tag="publish_result"):
    """Tell whoever asked how it went. ``subject`` is a workload or node id, or the operation itself for "done".

    ``detail`` is one line: a diagnosis for "rejected", the reason for "refused" and whatever failed, every difference
    for "fixed".
    """

    subject: str
    outcome: Outcome
    detail: str = ""
    operation_id: str = ""


AnyCommand = StartWorkload | StopWorkload | UpdateWorkload | RemapWorkload | PublishResult
