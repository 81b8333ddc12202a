"""Policies given by name, as module:Class, as file.py:Class and as an object; and which of them a journal may load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulation_kit import up, work, written

from eru_sim import EruError, explain, replay, verify
from scheduler.policies import BestFit, LinearPolicy

OWN = '''
import numpy as np
from scheduler.policies import Policy

print("IMPORTED")

class Spread(Policy):
    """The node with the most free cpu."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def score(self, nodes, request):
        return self.sign * nodes.free[0]

class NoPolicy:
    pass
'''


class Tight(LinearPolicy):
    """Best fit under another name."""

    name = "tight"

    def weights(self, request: Any, reference: Any) -> Any:
        return BestFit().weights(request, reference)


@pytest.fixture
def source(tmp_path: Path) -> str:
    machines = [up("large"), up("small", cpu=50, memory=50)]
    return written(tmp_path, machines, [work(f"w{number}", number, 30, size=7) for number in range(12)])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my_spread_policy.py"
    path.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return path


def digest(source: str, policy: Any, **options: Any) -> str:
    return replay(source, policy=policy, check_every=1, **options).summary["decision_digest"]


def test_all_four_ways_to_give_a_policy(source: str, own: Path) -> None:
    by_file = digest(source, f"{own}:Spread")
    assert digest(source, "my_spread_policy:Spread") == by_file
    assert digest(source, f"{own}:Spread?sign=-1") != by_file
    assert digest(source, Tight()) == digest(source, "best-fit") != by_file
    assert digest(source, BestFit()) == digest(source, "best-fit")


def test_parameters_and_seeds_reach_the_policy_and_the_summary(source: str) -> None:
    summary = replay(source, policy="random?seed=5", seed=9).summary
    assert summary["policy_params"] == {"seed": 5}
    assert replay(source, policy="random", seed=5).summary["decision_digest"] == summary["decision_digest"]
    assert digest(source, "random", seed=6) != summary["decision_digest"]


def test_verify_and_explain_take_an_own_policy_by_name_only(
    source: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, journal = f"{own}:Spread", tmp_path / "j"
    replay(source, policy=f"{policy}?sign=-1", journal=journal)
    capsys.readouterr()
    for call in (lambda: verify(journal), lambda: explain("w1", journal=journal)):
        with pytest.raises(EruError, match=r"was decided by .*, which is not built in; give it with --policy"):
            call()
    assert "IMPORTED" not in capsys.readouterr().out
    with pytest.raises(EruError, match=r"was decided by .*, not by 'best-fit'"):
        verify(journal, policy="best-fit")
    found = verify(journal, policy=policy)
    assert found["ok"], found["first_difference"]
    assert explain("w1", journal=journal, policy=policy)["state"] == "completed"


def test_an_object_is_verified_with_an_object(source: str, tmp_path: Path) -> None:
    replay(source, policy=Tight(), journal=tmp_path / "j")
    with pytest.raises(EruError, match="'tight', which is not built in"):
        verify(tmp_path / "j")
    assert verify(tmp_path / "j", policy=Tight())["ok"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("best-fot", "no policy 'best-fot'; did you mean 'best-fit'"),
        ("random?sed=1", "policy 'random': no parameter 'sed'; it has: seed"),
        ("random?seed=abc", "seed"),
        ("no_such_module_at_all:Class", "importing no_such_module_at_all fails: ModuleNotFoundError"),
        ("nowhere.py:Class", "there is no file nowhere.py"),
        ("my_spread_policy.py:Missing", "has no class 'Missing' derived from scheduler.policies.Policy"),
        ("my_spread_policy.py:NoPolicy", "has no class 'NoPolicy' derived from scheduler.policies.Policy"),
        ("my_spread_policy.py:Spread?colour=1", "no parameter 'colour'; it has: sign"),
    ],
)
def test_a_policy_that_cannot_be_had_is_one_line(source: str, own: Path, policy: str, message: str) -> None:
    with pytest.raises(EruError) as caught:
        replay(source, policy=policy, journal="left-over")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("left-over").exists()
