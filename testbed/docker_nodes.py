"""The Docker daemon of a node: on a socket of its own, and with TLS on the node's address."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import certificates, images, registry
from testbed.system import BedError, is_alive, pid_of, spawn, tracking_group, wait_until

if TYPE_CHECKING:
    from testbed.beds import Bed, Node

TLS_PORT = 2376
_START_SECONDS = 30.0
_CAP_SYS_RESOURCE = 24


def ensure_daemon(node: Node) -> None:
    """Start the daemon where it does not run; it may not answer yet. What it ran before runs on."""
    certificates.ensure_node(node)
    if pid_of(_pid_file(node)) is not None:
        return
    # Docker and its containerd do not start while an old pid file names a process, were it one nobody waited for.
    for pid_file in (_pid_file(node), node.directory / "exec" / "containerd" / "containerd.pid"):
        if pid_of(pid_file) is None:
            pid_file.unlink(missing_ok=True)
    socket_path(node).unlink(missing_ok=True)
    configuration = node.directory / "daemon.json"
    configuration.write_text(json.dumps(_configuration(node), indent=2) + "\n", encoding="utf-8")
    group = tracking_group(node.group) / "daemons"
    spawn([*node.inside(), "dockerd", "--config-file", configuration], _log(node), group)


def stop_daemon(node: Node) -> None:
    """Kill the daemon and leave what it runs; `ensure_daemon` brings it back. For tests of what is gone and returns."""
    pid = pid_of(_pid_file(node))
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 10)


def wait_ready(node: Node) -> None:
    """Wait until the daemon answers, and give it the images that it has not."""
    if not wait_until(lambda: state(node) == "up", _START_SECONDS):
        lines = _log(node).read_text(encoding="utf-8", errors="replace").splitlines()
        raise BedError("\n".join([f"dockerd of {node.name} does not answer; its log, {_log(node)}:", *lines[-8:]]))
    for image in images.IMAGES:
        _ensure_image(node, image)


def state(node: Node) -> str:
    """Whether the daemon answers: up, starting, or down."""
    try:
        if _call(node, "GET", "/_ping") == (200, b"OK"):
            return "up"
    except OSError:
        pass
    return "down" if pid_of(_pid_file(node)) is None else "starting"


def describe(node: Node) -> dict[str, Any]:
    """The part of the env file."""
    tls = certificates.directory(node.bed)
    return {
        "url": f"unix://{socket_path(node)}",
        "tls_url": f"tcp://{node.address}:{TLS_PORT}",
        "ca_file": str(tls / "ca.pem"),
        "certificate_file": str(tls / "client.pem"),
        "key_file": str(tls / "client.key"),
        "pid_file": str(_pid_file(node)),
    }


def socket_path(node: Node) -> Path:
    """The socket on which the daemon listens."""
    return node.directory / "docker.sock"


def call(node: Node, method: str, path: str, body: Any = None) -> Any:
    """Ask the daemon; return the JSON that it answers, None where that is nothing. BedError where it refuses."""
    content = b"" if body is None else json.dumps(body).encode()
    code, answer = _call(node, method, path, content, "application/json")
    if code >= 400:
        raise BedError(f"{node.name}: {method} {path}: {code}: {answer.decode(errors='replace').strip()}")
    return json.loads(answer) if answer.strip() else None


def _configuration(node: Node) -> dict[str, Any]:
    tls = certificates.directory(node.bed)
    configuration = {
        "hosts": [f"unix://{socket_path(node)}", f"tcp://{node.address}:{TLS_PORT}"],
        "tlsverify": True,
        "tlscacert": str(tls / "ca.pem"),
        "tlscert": str(tls / f"{node.name}.pem"),
        "tlskey": str(tls / f"{node.name}.key"),
        "data-root": str(node.directory / "data"),
        "exec-root": str(node.directory / "exec"),
        "pidfile": str(_pid_file(node)),
        "storage-driver": "overlay2",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{node.group}",
        "bip": "172.30.0.1/24",
        "default-address-pools": [{"base": "172.31.0.0/16", "size": 24}],
        "ip6tables": False,
        "experimental": True,
        "insecure-registries": [registry.address(node.bed)],
        "live-restore": True,
        "shutdown-timeout": 2,
    }
    if _lacks_sys_resource():
        configuration |= {"runtimes": {"testbed": {"path": str(_runtime(node.bed))}}, "default-runtime": "testbed"}
    return configuration


def _runtime(bed: Bed) -> Path:
    """The runtime in the bed. All daemons there share it, so it is never written to: nothing starts by an open file."""
    source = Path(__file__).parent / "image" / "runc-without-sys-resource"
    runtime = bed.directory / source.name
    if not runtime.exists() or runtime.read_bytes() != source.read_bytes():
        copied = shutil.copy(source, runtime.with_name(f"{runtime.name}.new"))
        os.replace(copied, runtime)
    return runtime


def _lacks_sys_resource() -> bool:
    """Whether no process of this machine may have CAP_SYS_RESOURCE; then no privileged container starts with it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1
    return False


def _ensure_image(node: Node, image: images.Image) -> None:
    digest = images.digest(node.bed, image)
    code, answer = _call(node, "GET", f"/images/{image.reference}/json")
    if code == 200 and (json.loads(answer)["Config"].get("Labels") or {}).get(images.DIGEST_LABEL) == digest:
        return
    changes = (*image.changes, f"LABEL {images.DIGEST_LABEL}={digest}")
    query = urllib.parse.urlencode(
        [("fromSrc", "-"), ("repo", image.repository), ("tag", image.tag), *(("changes", line) for line in changes)]
    )
    content = images.archive(node.bed, image).read_bytes()
    code, answer = _call(node, "POST", f"/images/create?{query}", content, "application/x-tar")
    if code != 200:
        raise BedError(f"{node.name}: import of {image.reference}: {answer.decode(errors='replace').strip()}")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _call(node: Node, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
    """Status and content of an answer; OSError where there is none."""
    connection = _UnixConnection(socket_path(node))
    try:
        connection.request(method, path, body=body or None, headers={"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from None
    finally:
        connection.close()


def _pid_file(node: Node) -> Path:
    return node.directory / "docker.pid"


def _log(node: Node) -> Path:
    return node.bed.directory / "log" / f"dockerd-{node.number}.log"
