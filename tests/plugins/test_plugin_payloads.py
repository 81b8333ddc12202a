"""What all plugins read alike: sizes, whole numbers, mappings; and messages that stay short whatever is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scheduler.plugins import payloads
from scheduler.plugins.cpu import CpuPlugin
from scheduler.plugins.gpu import GpuPlugin
from scheduler.plugins.labels import LabelsPlugin
from scheduler.plugins.licences import LicencesPlugin
from scheduler.plugins.storage import StoragePlugin
from scheduler.plugins.taints import TaintsPlugin

SIZES = [
    (7, 7), ("7", 7), ("512M", 512 << 20), ("8GiB", 8 << 30), ("8g", 8 << 30), ("1.5G", 3 << 29), ("8GB", 8 << 30),
    ("2P", 2 << 50), ("1.5 gib", 3 << 29), ("0.5k", 512), ("2.0", 2), ("2kb", 2048),
]  # fmt: skip
NO_SIZES: list[Any] = [
    "", "G", "1.5", "1.3K", "1,5G", "8GiBs", "8 B", "8iB", "1e3", "1_000", " 8G", "8  G", ".5G", "\u0665", "-1", -1,
    1.0, True, None, [8], "9" * 41, "9" * 5000,
]  # fmt: skip
READERS: list[Callable[[Any], int]] = [
    lambda value: payloads.size("x.size", value),
    lambda value: CpuPlugin().parse({"memory_request": value})["memory_request"],
    lambda value: StoragePlugin().parse({"storage": value})["storage"],
    lambda value: GpuPlugin().parse({"memory": value})["groups"][0]["memory"],
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("given", "amount"), SIZES)
def test_defect_all_plugins_read_the_same_sizes(read: Callable[[Any], int], given: Any, amount: int) -> None:
    assert read(given) == amount


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("given", NO_SIZES)
def test_all_plugins_refuse_the_same_sizes(read: Callable[[Any], int], given: Any) -> None:
    if given is None and read is READERS[2]:
        pytest.skip("storage takes None for what is left out")
    with pytest.raises(ValueError, match=r"^(x|cpu|storage|gpu)\.\S+: ") as refusal:
        read(given)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("read", READERS)
def test_defect_numbers_of_thousands_of_digits_are_refused_in_our_words(read: Callable[[Any], int]) -> None:
    with pytest.raises(ValueError, match=r"^(x|cpu|storage|gpu)\.\S+: a number of thousands of digits must be at most"):
        read(10**5000)
    with pytest.raises(
        ValueError, match=r"^(x|cpu|storage|gpu)\.\S+: a number of thousands of digits must be at least"
    ):
        read(-(10**5000))


def test_a_size_may_be_negative_where_it_may() -> None:
    assert payloads.size("x", "-1.5K", least=-2000) == -1536
    with pytest.raises(ValueError, match=r"^x: -2048 must be at least -2000"):
        payloads.size("x", "-2K", least=-2000)


LONG = "a" * 10_000
REFUSED: list[tuple[str, Callable[[], Any]]] = [
    ("labels: 1 must be a text", lambda: LabelsPlugin().parse({1: ["a"], "x": ["a"]})),
    ("labels: None must be a text", lambda: LabelsPlugin().parse({None: ["a"]})),
    ("labels.x: None must be a text", lambda: LabelsPlugin().parse({"x": ["a", None]})),
    ("labels.x: 7 must be a list", lambda: LabelsPlugin().parse({"x": 7})),
    (r"labels.x: \[\] is empty", lambda: LabelsPlugin().parse({"x": []})),
    (r"labels\['aaa", lambda: LabelsPlugin().parse({LONG: 1})),
    (r"labels\['a\\nb'\]: 1", lambda: LabelsPlugin().parse({"a\nb": 1})),
    ("licences: 1 must be a text", lambda: LicencesPlugin({"x": 1}).parse({1: 1, "x": 1})),
    ("licences.x: True must be a whole", lambda: LicencesPlugin({"x": 1}).parse({"x": True})),
    ("licences.x: 0 must be at least 1", lambda: LicencesPlugin({"x": 1}).parse({"x": 0})),
    ("licences.y: no such licence; the cluster has", lambda: LicencesPlugin({"x": 1}).parse({"y": 1})),
    ("licences.limits.x: True must be a whole number", lambda: LicencesPlugin({"x": True})),
    ("licences.limits.x: -1 must be at least 0", lambda: LicencesPlugin({"x": -1})),
    ("licences.limits.x: 4611686018427387904 must be at most", lambda: LicencesPlugin({"x": 1 << 62})),
    ("licences.limits: 3 must be a mapping", lambda: LicencesPlugin(3)),  # type: ignore[arg-type]
    ("licences.limits: 3 must be a text", lambda: LicencesPlugin({3: 1, "x": 1})),  # type: ignore[dict-item]
    ("taints: 5 must be key=value:effect", lambda: TaintsPlugin().check_taints([5])),  # type: ignore[list-item]
    ("taints: None must be key=value:effect", lambda: TaintsPlugin().check_taints(["a:NoSchedule", None])),  # type: ignore[list-item]
    ("taints: 5 must be a list", lambda: TaintsPlugin().check_taints(5)),  # type: ignore[arg-type]
    ("taints: 'aaa", lambda: TaintsPlugin().check_taints([LONG])),
    ("taints: 1 must be a text", lambda: TaintsPlugin().parse({1: 1, "tolerations": []})),
    ("gpu.prod_count_map: 1 must be a text", lambda: GpuPlugin().parse({"prod_count_map": {1: 1, "T4": 1}})),
    ("storage: 1 must be a text", lambda: StoragePlugin().parse({1: 1, "storage": 1})),
    (r"storage.volumes\[0\]: 'aaa", lambda: StoragePlugin().parse({"volumes": [LONG]})),
    ("cpu.cores: 'aaa", lambda: CpuPlugin().inventory({"cores": {LONG: 1}}, {}, {})),
    ("cpu.cores: a number of thousands", lambda: CpuPlugin().inventory({"cores": {10**5000: 1}}, {}, {})),
    ("cpu.numa.0: a number of thousands", lambda: CpuPlugin().inventory({"cores": 1, "numa": [[10**5000]]}, {}, {})),
]


@pytest.mark.parametrize(("message", "ask"), REFUSED)
def test_defect_what_makes_no_sense_is_refused_in_one_short_line(message: str, ask: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        ask()
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_the_largest_limit_of_licences_is_taken() -> None:
    limit = (1 << 62) - 1
    assert LicencesPlugin({"x": limit}).parse({"x": limit}) == {"x": limit}


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ({"a": [1, 2]}, {"a": (1, 2)}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1.0}, {"a": 1}, False),
        ({"a": 1, "b": 1}, {"a": 1}, False),
        ([1], [1, 2], False),
        (None, None, True),
        ("1", ["1"], False),
        ([["x"]], [["x"]], True),
    ],
)
def test_plain_data_is_the_same_in_kind_and_value(value: Any, expected: Any, same: bool) -> None:
    assert payloads.is_same(value, expected) is same
