"""The committed stubs, and the Node client's own copy, hold exactly Eru's wire facts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wire_facts_kit import REFERENCE, Facts, read_descriptor, read_protobufjs, read_reference

from backends.real.service.pb import corerpc_pb2

NODE_COPY = Path(__file__).parent / "node_client" / "wire.json"


def stubs() -> Facts:
    return read_descriptor(corerpc_pb2.DESCRIPTOR)


def node_copy() -> Facts:
    return read_protobufjs(json.loads(NODE_COPY.read_text()))


@pytest.mark.skipif(not REFERENCE.exists(), reason="../shared with the wire facts is not there")
@pytest.mark.parametrize("copy", [stubs, node_copy])
def test_every_number_name_and_type_is_eru_s(copy):
    facts = read_reference(REFERENCE.read_text())
    assert (len(facts.methods), len(facts.enums), len(facts.messages)) == (45, 4, 81)
    ours = copy()
    assert ours.methods == facts.methods
    assert ours.enums == facts.enums
    assert ours.messages == facts.messages


def test_the_stubs_and_the_node_copy_agree():
    assert stubs() == node_copy()


def test_the_service_has_eru_s_name():
    assert corerpc_pb2.DESCRIPTOR.services_by_name["CoreRPC"].full_name == "pb.CoreRPC"
