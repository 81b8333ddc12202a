"""What a core can be made of, and how it says what makes no sense."""

from __future__ import annotations

import pytest

from scheduler.config import CPU, CoreConfig, PluginConfig, PolicyConfig
from scheduler.core import ContractError, Core
from scheduler.events import TimerFired
from scheduler.plugins.labels import LabelsPlugin
from scheduler.plugins.registry import make_plugin, plugin_names
from scheduler.ports import Dimension


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dimensions": ()}, r"dimensions: \[\] must be at least one"),
        ({"dimensions": (CPU, CPU)}, r"dimensions: \['cpu', 'cpu'\] must be at least one, and no name twice"),
        ({"overcommit": {"disk": 1.2}}, "overcommit.disk: no such dimension; there are: cpu, memory"),
        ({"overcommit": {"cpu": 0}}, "overcommit.cpu: 0 must be above 0"),
        ({"overcommit": {"cpu": float("nan")}}, "overcommit.cpu: nan must be above 0"),
        ({"overcommit": {"cpu": float("inf")}}, "overcommit.cpu: inf must be above 0"),
        ({"deadline_ns": 0}, "deadline_ns: 0 must be above 0"),
        ({"backoff_base_ns": -1}, "backoff_base_ns: -1 must be above 0"),
        ({"backoff_max_ns": 0}, "backoff_max_ns: 0 must be above 0"),
        ({"policy": PolicyConfig("best-fitt")}, "no policy 'best-fitt'; did you mean 'best-fit'?"),
        ({"policy": PolicyConfig("random", {"sed": 1})}, "policy 'random': no parameter 'sed'; it has: seed"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_field(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Core(CoreConfig(**fields))


def test_overcommit_is_exact_and_rounds_down() -> None:
    config = CoreConfig(overcommit={"cpu": 1.1, "memory": 0.5})
    assert config.overcommitted((10, 7)) == (11, 3)
    assert config.overcommitted((10**18, 10**18 + 1)) == (11 * 10**17, 5 * 10**17)
    assert CoreConfig().overcommitted((3, 4)) == (3, 4)


def test_the_plugins_must_be_those_of_the_configuration() -> None:
    with pytest.raises(ContractError, match="plugins"):
        Core(CoreConfig(plugins=(PluginConfig("labels"),)))
    with pytest.raises(ContractError, match="plugins"):
        Core(CoreConfig(), plugins=[LabelsPlugin()])


def test_time_never_goes_back() -> None:
    core = Core()
    core.step(5, [TimerFired()])
    core.step(5, [])
    with pytest.raises(ContractError, match="step at 4 ns after a step at 5 ns"):
        core.step(4, [])


def test_dimensions_are_named_after_their_unit() -> None:
    assert Dimension("gpu", "milli").column == "gpu_milli"


def test_plugins_are_found_by_name() -> None:
    assert {"labels", "licences"} <= set(plugin_names())
    assert make_plugin("licences", {"limits": {"a": 1}}).pools() == {"licences/a": 1}
    with pytest.raises(ValueError, match=r"no plugin 'label' is installed; did you mean 'labels'\?"):
        make_plugin("label")
    with pytest.raises(ValueError, match="plugin 'licences': its parameters do not suit it"):
        make_plugin("licences", {"limit": {}})
    with pytest.raises(ValueError, match=r"licences\.limits\.a: -1 must be at least 0"):
        make_plugin("licences", {"limits": {"a": -1}})
