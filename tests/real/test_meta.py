"""Eru's label, both ways: what Eru wrote is read, and what is written Eru reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.real.meta import Meta, decode_meta, encode_meta, environment_of, labels_of, meta_of
from backends.real.template import HealthCheck, Template

PORTS = st.integers(1, 65535)
CHECKS = st.builds(
    HealthCheck,
    tcp_ports=st.lists(PORTS, max_size=3).map(tuple),
    http_port=PORTS,
    http_path=st.text(max_size=10).map(lambda text: f"/{text}"),
    http_code=st.sampled_from([0, 200, 204]),
    command=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    failure_threshold=st.integers(1, 5),
    success_threshold=st.integers(1, 5),
)


@given(st.builds(Meta, publish=st.lists(st.text(max_size=5)).map(tuple), health=st.none() | CHECKS))
def test_what_is_written_is_read_again(meta: Meta) -> None:
    assert decode_meta(encode_meta(meta)) == meta


def test_without_extensions_it_is_eru_s_own_text() -> None:
    check = HealthCheck(tcp_ports=(80,), http_port=8080, http_path="/health", http_code=200)
    assert json.loads(encode_meta(Meta(publish=("80",), health=check))) == {
        "Publish": ["80"],
        "HealthCheck": {"TCPPorts": ["80"], "HTTPPort": "8080", "HTTPURL": "/health", "HTTPCode": 200},
    }
    assert json.loads(encode_meta(Meta())) == {"Publish": [], "HealthCheck": None}


def test_extensions_are_keys_of_their_own() -> None:
    check = HealthCheck(command=("true",), failure_threshold=3, success_threshold=2)
    assert json.loads(encode_meta(Meta(health=check)))["HealthCheck"] == {
        "TCPPorts": [], "HTTPPort": "", "HTTPURL": "", "HTTPCode": 0,
        "Command": ["true"], "FailureThreshold": 3, "SuccessThreshold": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "meta"),
    [
        ('{"Publish":null,"HealthCheck":null}', Meta()),
        ("{}", Meta()),
        (
            '{"Publish":["80"],"HealthCheck":{"TCPPorts":null,"HTTPPort":"","HTTPURL":"","HTTPCode":0}}',
            Meta(publish=("80",)),
        ),
        ('{"HealthCheck":{"TCPPorts":["80/tcp"]}}', Meta(health=HealthCheck(tcp_ports=(80,)))),
        (
            '{"HealthCheck":{"HTTPPort":"80","HTTPURL":"up"},"More":1}',
            Meta(health=HealthCheck(http_port=80, http_path="/up")),
        ),
    ],
)
def test_what_eru_writes_is_read(text: str, meta: Meta) -> None:
    assert decode_meta(text) == meta


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "ERU_META: not JSON"),
        ("[]", "ERU_META: not an object"),
        ('{"Publish": 80}', r"ERU_META: .*array"),
        ('{"HealthCheck":{"HTTPPort":"http"}}', "ERU_META: HTTPPort: 'http' is not a port"),
        ('{"HealthCheck":{"TCPPorts":["0"]}}', "ERU_META: TCPPorts: '0' is not a port"),
        ('{"HealthCheck":{"HTTPPort":"80","FailureThreshold":0}}', "FailureThreshold: 0 is less than 1"),
        ('{"HealthCheck":{"HTTPCode":"200"}}', "HTTPCode"),
    ],
)
def test_a_wrong_label_is_refused_by_field(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode_meta(text)


def test_labels_of_a_template_tell_its_meta() -> None:
    template = Template(publish=("80",), health=HealthCheck(tcp_ports=(80,)))
    labels = labels_of(template, node="n1", core_id="c1")
    assert {key: labels[key] for key in ("ERU", "eru.nodename", "eru.coreid")} == {
        "ERU": "1", "eru.nodename": "n1", "eru.coreid": "c1",
    }  # fmt: skip
    assert meta_of(labels) == Meta(publish=template.publish, health=template.health)
    assert meta_of({}) == Meta()


def test_work_knows_its_node_and_its_number():
    assert environment_of("app_web_x/12", node="n0") == ("ERU_NODE_NAME=n0", "ERU_WORKLOAD_SEQ=12")
    assert environment_of("batch", node="n0") == ("ERU_NODE_NAME=n0", "ERU_WORKLOAD_SEQ=0")
    assert environment_of("7", node="n0")[1] == "ERU_WORKLOAD_SEQ=0"
