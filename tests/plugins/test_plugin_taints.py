"""Taints: tolerations as in Kubernetes; a node without taints costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from facts_kit import Row, RowFacts, columns
from hypothesis import given
from hypothesis import strategies as st

from scheduler.plugins.taints import Taint, TaintsPlugin, parse_taint
from scheduler.ports import UNLIMITED

KEYS, VALUES, EFFECTS = ["gpu", "spot"], ["", "yes", "no"], ["NoSchedule", "PreferNoSchedule"]
TAINTS = st.builds("{}={}:{}".format, st.sampled_from(KEYS), st.sampled_from(VALUES), st.sampled_from(EFFECTS))
EQUAL = st.fixed_dictionaries(
    {"key": st.sampled_from(KEYS)},
    optional={"value": st.sampled_from(VALUES), "effect": st.sampled_from(["", *EFFECTS])},
)
EXISTS = st.fixed_dictionaries(
    {"operator": st.just("Exists")},
    optional={"key": st.sampled_from(["", *KEYS]), "effect": st.sampled_from(["", *EFFECTS])},
)


def is_tolerated(taint: str, given_tolerations: list[dict[str, str]]) -> bool:
    """The table of the Kubernetes documentation, on what the user gave."""
    label, effect = taint.split(":")
    key, value = label.split("=")
    for toleration in given_tolerations:
        if toleration.get("effect") and toleration["effect"] != effect:
            continue
        if toleration.get("operator") == "Exists":
            if toleration.get("key", "") in ("", key):
                return True
        elif toleration["key"] == key and toleration.get("value", "") == value:
            return True
    return False


@given(
    taints=st.lists(st.lists(TAINTS, max_size=3), min_size=1, max_size=5),
    tolerations=st.lists(EQUAL | EXISTS, max_size=3),
    data=st.data(),
)
def test_capacity_and_score_follow_the_untolerated_taints(
    taints: list[list[str]], tolerations: list[dict[str, str]], data: st.DataObject
) -> None:
    plugin, facts = TaintsPlugin(), RowFacts([Row(taints=tuple(names)) for names in taints])
    request = plugin.parse({"tolerations": tolerations})
    asked = data.draw(st.permutations(range(len(taints))))
    left = [[name for name in taints[row] if not is_tolerated(name, tolerations)] for row in asked]
    capacity = plugin.capacity(request, columns(facts, asked), facts)
    expected = [0 if any(name.endswith(":NoSchedule") for name in names) else UNLIMITED for names in left]
    assert (capacity.tolist() if capacity is not None else [UNLIMITED] * len(asked)) == expected
    assert (capacity is None) == (0 not in expected)
    preferred = [sum(name.endswith(":PreferNoSchedule") for name in names) for names in left]
    assert plugin.score(request, columns(facts, asked), facts).tolist() == [1 / (1 + count) for count in preferred]


def test_workloads_without_a_payload_are_asked_about_and_tolerate_nothing() -> None:
    plugin = TaintsPlugin()
    assert plugin.is_universal
    facts = RowFacts([Row(), Row(taints=("gpu=yes:NoSchedule",))])
    capacity = plugin.capacity(plugin.parse({}), columns(facts), facts)
    assert capacity is not None
    assert capacity.tolist() == [UNLIMITED, 0]
    assert plugin.coupling_of(plugin.parse({})) == "none"


def test_a_payload_has_one_canonical_form() -> None:
    plugin = TaintsPlugin()
    gpu, spot = {"key": "gpu", "value": "yes"}, {"key": "spot", "operator": "Exists"}
    parsed = plugin.parse({"tolerations": [spot, gpu, spot]})
    assert parsed == plugin.parse({"tolerations": [{**gpu, "operator": "Equal", "effect": ""}, spot]})
    assert parsed == plugin.parse(parsed)
    assert len(parsed["tolerations"]) == 2


def test_the_text_of_a_taint() -> None:
    assert parse_taint("gpu=yes:NoSchedule") == Taint("gpu", "yes", "NoSchedule")
    assert parse_taint("a.io/spot:PreferNoSchedule") == Taint("a.io/spot", "", "PreferNoSchedule")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu=yes", "taints: 'gpu=yes' must be key=value:effect"),
        ("=yes:NoSchedule", "must be key=value:effect"),
        ("gpu=yes:NoExecute", "has the effect NoExecute; drain the node instead"),
        ("gpu=yes:Never", "has the effect 'Never'; use one of NoSchedule, PreferNoSchedule"),
    ],
)
def test_a_bad_taint_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_taint(text)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], r"taints: \[\] must be a mapping"),
        ({"toleration": []}, "taints.toleration: no such field"),
        ({"tolerations": "gpu"}, "taints.tolerations: 'gpu' must be a list"),
        ({"tolerations": ["gpu"]}, r"taints.tolerations\[0\]: 'gpu' must be a mapping"),
        ({"tolerations": [{"name": "gpu"}]}, r"tolerations\[0\].name: no such field"),
        ({"tolerations": [{"key": "gpu", "value": True}]}, r"tolerations\[0\].value: True must be a text"),
        ({"tolerations": [{"key": "gpu", "operator": "In"}]}, r"operator: 'In' must be one of Equal, Exists"),
        ({"tolerations": [{"key": "gpu", "effect": "NoExecute"}]}, "effect: 'NoExecute' must be one of NoSchedule"),
        ({"tolerations": [{"operator": "Exists", "value": "a"}]}, "value: 'a' must be left out"),
        ({"tolerations": [{"value": "yes"}]}, "key: it is empty; name one, or use the operator Exists"),
    ],
)
def test_bad_payloads_name_field_value_and_remedy(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaintsPlugin().parse(payload)
