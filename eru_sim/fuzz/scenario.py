"""What a seed exercises: a random subset of features and faults, and a configuration. All of it follows from the seed.

Every action has a number and draws of its own, so leaving one out, or a feature, changes nothing about the others; that
is what `eru_sim.fuzz.shrinking` lives by.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eru_sim.errors import EruError
from scheduler.config import CPU, MEMORY, SECOND_NS, CoreConfig, PluginConfig, PolicyConfig, QueueConfig
from scheduler.ports import Dimension

PLUGINS = ("affinity", "cpu", "gpu", "images", "labels", "licences", "storage", "taints")
WORK = (
    "adoption", "budgets", "deadlines", "deployments", "dissociate", "estimates", "gangs", "gang_timeouts", "gates",
    "hold_on_exit", "impatience", "lose", "preemption", "priorities", "reallocs", "refusals", "removals",
    "repeats", "replacements", "retries", "stop_start", "tenants",
)  # fmt: skip
NODES = ("capacity", "cordons", "drains", "facts", "fix", "maintenance", "churn", "pools", "reservations")
DECISIONS = ("discipline", "event_pass", "no_cache", "overcommit", "policy", "policy_changes")
FAULTS = (
    "clock_jumps", "coarse_clock", "core_crashes", "duplicates", "error_exits", "flaps", "full_disk", "late", "lost",
    "node_loss", "partitions", "reboots", "reorder", "start_failures", "torn_journal", "update_failures",
)  # fmt: skip
FEATURES = (*PLUGINS, *WORK, *NODES, *DECISIONS, *FAULTS)

QUEUES = (
    QueueConfig("priority", {"aging_s": 20}),
    QueueConfig("fcfs"),
    QueueConfig("sjf"),
    QueueConfig("edf"),
    QueueConfig("easy"),
    QueueConfig("easy", {"order": "shortest"}),
    QueueConfig("conservative"),
    QueueConfig("conservative", {"depth": 2}),
    QueueConfig("fair", {"weights": {"a": 2}}),
    QueueConfig("drf", {"maximum": {"a": {"cpu": 9000}}, "minimum": {"b": {"memory": 40}}}),
)
POLICIES = ("best-fit", "first-fit", "worst-fit", "dot-product", "random")
LICENCES = {"matlab": 4, "spice": 2}
LEVELS = ("node", "rack")
DEADLINE_NS = 60 * SECOND_NS
BACKOFF_NS = (5 * SECOND_NS, 20 * SECOND_NS)


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a campaign draws from. ``always`` and ``never`` name features; ``queue`` and ``policy`` restrict the choice.

    ``actions`` is how many things happen to a world, ``nodes`` bounds how many it begins with.
    """

    actions: int = 110
    nodes: tuple[int, int] = (2, 6)
    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    queue: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()

    def check(self) -> None:
        """EruError names the field that makes no sense, its value and the remedy."""
        for field in ("always", "never"):
            check_features(field, getattr(self, field))
        if self.actions < 0:
            raise EruError(f"actions: {self.actions} must be at least 0")
        low, high = self.nodes
        if not 1 <= low <= high <= 1000:
            raise EruError(f"nodes: {low} to {high} must be from 1 to 1000, the lower one first")
        for field, known in (("queue", {q.name for q in QUEUES}), ("policy", set(POLICIES))):
            for name in getattr(self, field):
                if name not in known:
                    raise EruError(f"{field}: no {name!r} here; there are: {', '.join(sorted(known))}")


def check_features(field: str, names: Iterable[str]) -> None:
    """EruError where one is none."""
    for name in names:
        if name not in FEATURES:
            raise EruError(f"{field}: no feature {name!r}; there are: {', '.join(sorted(FEATURES))}")


def read_scenario(path: str | Path) -> Scenario:
    """Read a TOML file with the fields of `Scenario`. EruError where it is none."""
    try:
        scenario = msgspec.convert(tomllib.loads(Path(path).read_text(encoding="utf-8")), Scenario)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise EruError(f"{path}: {error}; docs/fuzzing.md has the keys") from None
    scenario.check()
    return scenario


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One seed, and what of it is left out: features, actions by number, and all actions after the first so many."""

    seed: int
    scenario: Scenario = Scenario()
    without: tuple[str, ...] = ()
    skip: tuple[int, ...] = ()
    actions: int | None = None

    @property
    def action_count(self) -> int:
        """How many actions there are, those that are skipped included."""
        return self.scenario.actions if self.actions is None else min(self.actions, self.scenario.actions)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The features that the seed has drawn."""
        draw = random.Random(f"features of {self.seed}")
        share = draw.choice((0.3, 0.5, 0.5, 0.7))
        chances = {name: draw.random() for name in FEATURES}
        wanted = {name for name, chance in chances.items() if chance < share} | set(self.scenario.always)
        return tuple(name for name in FEATURES if name in wanted - set(self.scenario.never))

    @property
    def features(self) -> frozenset[str]:
        """What is left of them."""
        return frozenset(self.drawn) - set(self.without)

    def config(self) -> CoreConfig:
        """What the core is made of."""
        features, draw = self.features, random.Random(f"configuration of {self.seed}")
        queues = [queue for queue in QUEUES if not self.scenario.queue or queue.name in self.scenario.queue]
        policies = self.scenario.policy or POLICIES
        queue, policy, cpu, cache = (
            draw.choice(queues),
            draw.choice(policies),
            draw.choice((1.5, 2.0)),
            draw.choice((0, 1200)),
        )
        dimensions = [CPU, MEMORY]
        if "storage" in features:
            dimensions.append(Dimension("storage", "bytes"))
        return CoreConfig(
            dimensions=tuple(dimensions),
            plugins=tuple(PluginConfig(name, params=_params(name)) for name in PLUGINS if name in features),
            policy=PolicyConfig(
                policy if "policy" in features else policies[-1] if self.scenario.policy else "first-fit"
            ),
            queue=queue if "discipline" in features or self.scenario.queue else QueueConfig(),
            overcommit={"cpu": cpu, "memory": 1.25} if "overcommit" in features else {},
            scheduling_pass="event" if "event_pass" in features else "instant",
            deadline_ns=DEADLINE_NS,
            backoff_base_ns=BACKOFF_NS[0],
            backoff_max_ns=BACKOFF_NS[1],
            cache_bytes=cache if "no_cache" in features else 1 << 20,
        )

    def command(self, scenario_file: str = "") -> str:
        """The command that runs this case and no other."""
        words = ["eru sim fuzz", f"--seeds 1 --seed-start {self.seed}"]
        words += [f"--scenario {scenario_file}"] if scenario_file else []
        words += [f"--without {','.join(self.without)}"] if self.without else []
        words += [f"--actions {self.actions}"] if self.actions is not None else []
        words += [f"--skip {ranges(self.skip)}"] if self.skip else []
        return " ".join(words)


def _params(plugin: str) -> dict[str, Any]:
    if plugin == "licences":
        return {"limits": LICENCES}
    return {"levels": list(LEVELS)} if plugin == "affinity" else {}


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in short: ``1,4-6``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in parts)


def numbers(text: str) -> tuple[int, ...]:
    """What `ranges` has written; EruError for anything else."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        if not (low.isdigit() and (high or low).isdigit()) or int(high or low) > 1_000_000:
            raise EruError(f"skip: {part!r} is not a number or a range, e.g. 3 or 5-9")
        found += range(int(low), int(high or low) + 1)
    return tuple(found)
