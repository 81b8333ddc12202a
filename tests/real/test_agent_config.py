"""Settings: where they come from, what counts more, and what is said of a wrong one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from backends.real.agent.config import SETTINGS, Config, ConfigError, address_of, load

ERU_FILE = """
pid: /run/eru/agent.pid
core:
  - 127.0.0.1:5001
  - 127.0.0.1:5002
heartbeat_interval: 120
check_only_mine: true
store: grpc
runtime: docker
auth:
  username: u
  password: p
docker:
  endpoint: unix:///run/d.sock
yavirt:
  endpoint: grpc://127.0.0.1:9697
  skip_guest_report_regexps: ["^test"]
metrics:
  step: 30
  transfers:
    - 127.0.0.1:8125
api:
  addr: 127.0.0.1:12345
log:
  forwards:
    - tcp://127.0.0.1:5144
    - journal://
  stdout: False
healthcheck:
  interval: 15
  timeout: 3
  cache_ttl: 100
global_connection_timeout: 7s
"""


@pytest.fixture(autouse=True)
def no_machine_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("backends.real.agent.config.DEFAULT_FILE", tmp_path / "agent.yaml")


def of_file(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    return load(file)


def test_eru_s_file_is_understood_whole(tmp_path: Path) -> None:
    config = of_file(ERU_FILE, tmp_path)
    assert config["pid"] == "/run/eru/agent.pid"
    assert config["core"] == ("127.0.0.1:5001", "127.0.0.1:5002")
    assert config["heartbeat_interval"] == 120
    assert config["check_only_mine"] is True
    assert (config["auth.username"], config["auth.password"]) == ("u", "p")
    assert config["docker.endpoint"] == "unix:///run/d.sock"
    assert config["yavirt.skip_guest_report_regexps"] == ("^test",)
    assert (config["metrics.step"], config["metrics.transfers"]) == (30, ("127.0.0.1:8125",))
    assert config["api.addr"] == "127.0.0.1:12345"
    assert (config["log.forwards"], config["log.stdout"]) == (("tcp://127.0.0.1:5144", "journal://"), False)
    assert [config[f"healthcheck.{key}"] for key in ("interval", "timeout", "cache_ttl")] == [15, 3, 100]
    assert config.nanoseconds("global_connection_timeout") == 7_000_000_000


def test_every_setting_of_eru_is_there_with_its_default() -> None:
    config = load(flags={"core": "127.0.0.1:5001"})
    assert config["hostname"] == socket.gethostname()
    wanted = {
        "pid": "/tmp/agent.pid", "heartbeat_interval": 60, "check_only_mine": False, "store": "grpc",
        "runtime": "docker", "docker.endpoint": "unix:///var/run/docker.sock",
        "yavirt.endpoint": "grpc://127.0.0.1:9697", "metrics.step": 10, "metrics.transfers": (), "api.addr": "",
        "log.forwards": (), "log.stdout": False, "healthcheck.interval": 60, "healthcheck.timeout": 10,
        "healthcheck.cache_ttl": 300, "global_connection_timeout": 5,
    }  # fmt: skip
    assert {key: config[key] for key in wanted} == wanted


def test_flags_count_more_than_variables_and_those_more_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("core: [c:1]\nmetrics: {step: 1}\nhealthcheck: {interval: 20}\nhostname: from-file\n")
    environment = {"ERU_AGENT_METRICS_STEP": "2", "ERU_HOSTNAME": "from-environment", "ERU_AGENT_API_ADDR": ""}
    config = load(file, environment=environment, flags={"hostname": "from-flag", "metrics.step": None})
    assert (config["healthcheck.interval"], config["metrics.step"], config["hostname"]) == (20, 2, "from-flag")


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("core: c:1\n")
    assert load(environment={"ERU_AGENT_CONFIG_PATH": str(tmp_path / "x.yaml")})["core"] == ("c:1",)


def test_eru_s_own_place_is_read_if_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("core: c:1\n")
    assert load()["core"] == ("c:1",)


def test_lists_may_be_written_in_one_text() -> None:
    config = load(flags={"core": ["a:1,b:2", " c:3 "], "metrics.transfers": ["d:4"]})
    assert (config["core"], config["metrics.transfers"]) == (("a:1", "b:2", "c:3"), ("d:4",))


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("0.5", 0.5), ("500ms", 0.5), ("5s", 5), ("2m", 120), ("1h", 3600), (".5s", 0.5)]
)
def test_times(text: str, seconds: float) -> None:
    assert load(flags={"core": "c:1", "metrics.step": text})["metrics.step"] == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cor: [a:1]", "cor: there is no such key; did you mean 'core'?"),
        ("metrics: {stp: 1}", "metrics.stp: there is no such key; did you mean 'metrics.step'?"),
        ("zzz: 1", "zzz: there is no such key; the keys are in 'eru agent --help'"),
        ("metrics: 10", "metrics: 10 is not a section; write 'metrics.step' as a key below it"),
        ("heartbeat_interval: often", "heartbeat_interval: 'often' is not a time; write seconds, such as 60"),
        ("heartbeat_interval: -1", "heartbeat_interval: -1 is not a time"),
        ("heartbeat_interval: true", "heartbeat_interval: True is not a time"),
        ("metrics: {step: 0}", "metrics.step: 0 is not a time that passes; write e.g. 10"),
        ("metrics: {transfers: [here]}", "metrics.transfers: 'here' is not an address; write HOST:PORT"),
        ("core: [':5001']", "core: ':5001' names no host; write HOST:PORT, e.g. 127.0.0.1:5001"),
        ("core: {a: 1}", "core: {'a': 1} is not a text; put it in quotes"),
        ("check_only_mine: maybe", "check_only_mine: 'maybe' is neither yes nor no; write true or false"),
        ("store: mocks", "store: 'mocks' is not supported: mocks are for the tests of Eru's own agent; write grpc"),
        ("runtime: yavirt", "runtime: 'yavirt' is not supported: there is no yavirtd to ask; write docker"),
        ("runtime: podman", "runtime: 'podman' is unknown; write docker"),
        ("docker: {endpoint: /run/d.sock}", "docker.endpoint: '/run/d.sock' is not an endpoint; begin it with unix://"),
        ("api: {addr: '12345'}", "api.addr: '12345' is not an address; write HOST:PORT"),
        ("log: {forwards: ['http://x']}", "log.forwards: 'http://x' is no sink; write tcp://HOST:PORT"),
        ("log: {spool: {bytes: much}}", "log.spool.bytes: 'much' is not a size; write bytes, such as 67108864"),
        ("log: {spool: {dir: here}}", "log.spool.dir: 'here' is not an absolute path; begin it with /"),
        ("pid: ''", "pid: '' is not a path; write e.g. /run/eru-agent.pid"),
        ("log_level: loud", "log_level: 'loud' is unknown; write debug or info or warning or error"),
        ("yavirt: {skip_guest_report_regexps: ['(']}", "skip_guest_report_regexps: '(' is not a regular expression"),
        ("core: [", "not YAML in line 1"),
        ("[a]", "['a'] is not a mapping; write e.g. 'heartbeat_interval: 60'"),
        ("", "core: no endpoint is set; write e.g. 'core: [127.0.0.1:5001]', or --core-endpoint"),
        ("core: a:1\nauth: {username: u}", "auth: username and password go together; set both or neither"),
        ("core: a:1\nauth: {token: t, username: u, password: p}", "auth: there are a token and a username; keep one"),
        ("core: a:1\ntls: {ca: /c, cert: /d}", "tls: cert and key go together, and need ca"),
        (
            "core: a:1\nhealthcheck: {interval: 5}",
            "healthcheck.timeout: 10 s is longer than healthcheck.interval (5 s)",
        ),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_key_value_and_remedy(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        of_file(text, tmp_path)
    message = str(refused.value)
    assert said in message
    assert "\n" not in message
    if not said.startswith(("core: no", "auth: ", "tls: ", "healthcheck.timeout: 10")):
        assert message.startswith(f"{tmp_path / 'given.yaml'}: ")


def test_a_wrong_flag_and_variable_are_named_by_their_own_names() -> None:
    with pytest.raises(ConfigError, match=r"^--metrics-step: 'x' is not a time"):
        load(flags={"metrics.step": "x"})
    with pytest.raises(ConfigError, match=r"^ERU_AGENT_METRICS_STEP: 'x' is not a time"):
        load(environment={"ERU_AGENT_METRICS_STEP": "x"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory; name another file with --config"):
        load(tmp_path / "none.yaml")


def test_a_section_that_is_empty_says_nothing(tmp_path: Path) -> None:
    assert of_file("core: a:1\nmetrics:\nlog:\n  stdout:\n", tmp_path)["log.stdout"] is False


@pytest.mark.parametrize(
    ("text", "address"),
    [(":12345", ("127.0.0.1", 12345)), ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:80", ("::1", 80)), ("x:9", ("x", 9))],
)
def test_an_address_without_a_host_is_loopback(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


def test_keys_flags_and_variables_are_unique() -> None:
    for names in ([s.key for s in SETTINGS], [s.flag for s in SETTINGS], [s.variable for s in SETTINGS]):
        assert len(set(names)) == len(names)


def test_defaults_are_values_of_their_setting() -> None:
    for setting in SETTINGS:
        if setting.key != "pid" and setting.default not in ("", ()):
            assert setting.parse(yaml.safe_load(yaml.safe_dump(setting.default))) == setting.default
