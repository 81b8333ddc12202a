"""Eru's spec: what is accepted, what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from eru_command import Eru
from hypothesis import given
from hypothesis import strategies as st

from eru_sim.cli.live.spec import is_builds, parse, read_builds, schema
from eru_sim.errors import EruError

WHOLE = """
appname: shop
entrypoints:
  web:
    cmd: serve --title 'a b' -v
    restart: on-failure:3
    dir: /srv
    privileged: false
    publish: [80, "443"]
    log: {type: json-file, config: {max-size: 10m, max-file: 3}}
    healthcheck: {tcp_ports: [80], http_port: 80, url: /healthz, code: 200}
    hook: {after_start: ["echo hi"], before_stop: ["echo bye"], force: true}
    sysctls: {net.core.somaxconn: 1024}
  job:
    commands: [sh, -c, "echo $HOME"]
volumes: ["AUTO:/data:rw:10G"]
volumes_request: ["AUTO:/data:rw:5G"]
labels: {tier: gold}
dns: [10.0.0.1]
extra_hosts: ["db:10.0.0.2"]
"""


def test_everything_that_a_spec_may_say() -> None:
    spec = parse(WHOLE)
    web = spec.entrypoints["web"]
    assert web.command() == ["serve", "--title", "a b", "-v"]
    assert spec.entrypoints["job"].command() == ["sh", "-c", "echo $HOME"]
    assert web.publish == ["80", "443"]
    assert web.sysctls == {"net.core.somaxconn": "1024"}
    assert web.healthcheck is not None
    assert web.healthcheck.http_port == "80"
    assert web.log is not None
    assert web.log.config == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize("line", ["serve", "serve -v --port 80", "a  b", " a", ""])
def test_a_command_without_quotes_is_what_single_spaces_give(line: str) -> None:
    spec = parse(yaml.safe_dump({"appname": "a", "entrypoints": {"x": {"cmd": line}}}))
    assert spec.entrypoints["x"].command() == [word for word in line.split(" ") if word]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"appname": None}, "appname: it is missing"),
        ({"appname": "a b"}, "appname: 'a b' must be 1 to 100 letters"),
        ({"entrypoint": {}}, "entrypoint: there is no such field; did you mean entrypoints?"),
        ({"entrypoints": {}}, "entrypoints: there are none"),
        ({"entrypoints": []}, "entrypoints: [] must be a mapping"),
        ({"entrypoints": {"a_b": {}}}, "entrypoints: 'a_b' is no name"),
        ({"entrypoints": {"web": {"comand": "x"}}}, "entrypoints.web.comand: there is no such field; did you mean"),
        ({"entrypoints": {"web": {"cmd": "echo it's"}}}, "entrypoints.web.cmd: \"echo it's\" cannot be split"),
        ({"entrypoints": {"web": {"cmd": "a", "commands": ["a"]}}}, "entrypoints.web: it has both cmd and commands"),
        ({"entrypoints": {"web": {"commands": "a b"}}}, "entrypoints.web.commands: 'a b' must be a list"),
        ({"entrypoints": {"web": {"commands": [["a"]]}}}, "entrypoints.web.commands[0]: ['a'] must be a text"),
        ({"entrypoints": {"web": {"privileged": "yes"}}}, "entrypoints.web.privileged: 'yes' must be true or false"),
        ({"entrypoints": {"web": {"restart": "sometimes"}}}, "entrypoints.web.restart: 'sometimes' must be no, always"),
        ({"entrypoints": {"web": {"publish": [0]}}}, "entrypoints.web.publish: 0 is no port"),
        ({"entrypoints": {"web": {"publish": [99999]}}}, "entrypoints.web.publish: 99999 is no port"),
        ({"entrypoints": {"web": {"publish": ["http"]}}}, "entrypoints.web.publish[0]: 'http' must be a port"),
        ({"entrypoints": {"web": {"healthcheck": {"code": 99}}}}, "entrypoints.web.healthcheck.code: 99 is no"),
        ({"entrypoints": {"web": {"healthcheck": {"code": 700}}}}, "entrypoints.web.healthcheck.code: 700 must be"),
        ({"entrypoints": {"web": {"sysctls": {"a": 1.5}}}}, "entrypoints.web.sysctls.a: 1.5 must be a text; put"),
        ({"labels": {"a": True}}, "labels.a: True must be a text; put it in quotes"),
        ({"volumes": "AUTO:/data"}, "volumes: 'AUTO:/data' must be a list"),
        ({"dns": [None]}, "dns[0]: None must be an IP address"),
    ],
)  # fmt: skip
def test_an_error_names_field_value_and_remedy(change: dict[str, Any], message: str) -> None:
    data = {"appname": "shop", "entrypoints": {"web": {"cmd": "serve"}}} | change
    with pytest.raises(EruError) as error:
        parse(yaml.safe_dump(data), "shop.yaml")
    assert str(error.value).startswith(f"shop.yaml: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "a", "[]", "a: [", "\x00", "!!python/object:os.x {}", "&a [*a]", "[" * 4000, "1: 2"]
)
def test_what_is_no_spec_at_all(text: str) -> None:
    with pytest.raises(EruError, match="spec: "):
        parse(text)


BUILDS = """
stages: [compile, final]
builds:
  compile:
    base: golang:1.22
    repo: git@host:shop/web.git
    version: 7
    dir: /src
    submodule: true
    commands: [make]
    envs: {A: 1}
    cache: {/src/web: /bin/web}
    security: true
  final: {base: scratch, stop_signal: SIGINT, labels: {x: y}, args: {}, artifacts:}
"""


def test_a_build_spec(tmp_path: Path) -> None:
    file = tmp_path / "build.yaml"
    file.write_text(BUILDS)
    assert is_builds(str(file))
    assert not is_builds(str(tmp_path))
    found = read_builds(str(file))
    compiled, final = (found.builds[stage] for stage in found.stages)
    assert (compiled.version, compiled.envs, compiled.cache) == ("7", {"A": "1"}, {"/src/web": "/bin/web"})
    assert (compiled.submodule, compiled.security, compiled.commands) == (True, True, ["make"])
    assert (final.stop_signal, final.labels, final.artifacts) == ("SIGINT", {"x": "y"}, {})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stages:", "stage:", "stage: there is no such field; did you mean stages?"),
        ("base: golang:1.22", "", "builds.compile.base: it is missing"),
        ("commands: [make]", "commands: make", "builds.compile.commands: 'make' must be a list"),
        ("A: 1", "A: true", "builds.compile.envs.A: True must be a text; put it in quotes"),
        ("submodule: true", "submodule: 'yes'", "builds.compile.submodule: 'yes' must be true or false"),
    ],
)
def test_what_is_no_build_spec(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "build.yaml"
    file.write_text(BUILDS.replace(old, new))
    with pytest.raises(EruError) as error:
        read_builds(str(file))
    assert str(error.value).startswith(f"{file}: {message}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["cmd", "commands", "privileged", "dir", "restart", "log", "publish", "healthcheck", "hook", "sysctls"]


@given(
    st.dictionaries(st.sampled_from(["appname", "volumes", "labels", "dns", "extra_hosts", "x"]), JSON),
    st.dictionaries(st.text(max_size=3) | st.just("web"), st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON),
)
def test_garbage_gives_errors_and_never_tracebacks(top: dict[str, Any], entrypoints: dict[str, Any]) -> None:
    said = ""
    try:
        parse(yaml.safe_dump({"appname": "shop", "entrypoints": entrypoints} | top))
    except EruError as error:
        said = str(error)
    assert not said or said.isprintable()


@given(st.text())
def test_any_text_gives_an_error_or_a_spec(text: str) -> None:
    with pytest.raises(EruError):
        parse(text)


def test_the_schema_is_of_json_schema_and_has_every_field(eru: Eru) -> None:
    printed = json.loads(eru("spec", "schema").out)
    assert printed == schema() == json.loads(eru("spec", "schema", "-o", "json").out)
    assert set(printed["$defs"]["Entrypoint"]["properties"]) == set(FIELDS)
    assert printed["$defs"]["Entrypoint"]["additionalProperties"] is False


def test_check_shows_the_entrypoints(eru: Eru, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(WHOLE)
    assert eru("spec", "check", str(file), "-o", "name").out == "web\njob\n"
    assert json.loads(eru("spec", "check", str(file), "-o", "json").out)[0]["command"][0] == "serve"
    file.write_text("appname: [")
    ran = eru("spec", "check", str(file))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert eru("spec", "check", "http://127.0.0.1:1/x.yaml").code == 2
    assert eru("spec", "check", "nowhere.yaml").code == 2
