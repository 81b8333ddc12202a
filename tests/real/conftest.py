"""The testbed's nodes for tests. Without a testbed they are skipped, but not where CI runs as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed_kit import BedNode, find_nodes, private_node_up


@pytest.fixture(scope="session")
def testbed_nodes() -> list[BedNode]:
    """The nodes that ``make testbed-up`` brought up; other tests use them at the same time."""
    found = find_nodes()
    if isinstance(found, str):
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(found)
        pytest.skip(found)
    return found


@pytest.fixture(scope="module")
def private_node(testbed_nodes: list[BedNode]) -> Iterator[BedNode]:
    """A node of the testbed that only this module's tests use."""
    with private_node_up() as node:
        yield node


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server and a client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    for name, subject in (("server", "localhost"), ("client", "alice")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-days", "2")
        openssl("x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.pem")
    return folder
