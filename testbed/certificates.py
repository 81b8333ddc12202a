"""Certificates for Docker over TCP: an authority of the bed, one certificate for each node, one for clients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from testbed.system import run

if TYPE_CHECKING:
    from testbed.beds import Bed, Node

_NEW = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-sha256", "-days", "3650")  # fmt: skip


def ensure_authority(bed: Bed) -> None:
    """The authority, and the certificate of clients."""
    directory(bed).mkdir(mode=0o700, exist_ok=True)
    if not (directory(bed) / "ca.pem").exists():
        _create(bed, "ca", [*_NEW, "-subj", "/CN=testbed authority",
                            "-addext", "keyUsage=critical,keyCertSign,cRLSign"])  # fmt: skip
    _ensure_signed(bed, "client", ["extendedKeyUsage=clientAuth"])


def ensure_node(node: Node) -> None:
    """The certificate of a node's daemon, for its address and its name."""
    names = f"IP:{node.address},IP:127.0.0.1,DNS:{node.name},DNS:localhost"
    _ensure_signed(node.bed, node.name, ["extendedKeyUsage=serverAuth", f"subjectAltName={names}"])


def directory(bed: Bed) -> Path:
    """Where they are, by name: ``NAME.pem`` and ``NAME.key``; names are ca, client, and those of nodes."""
    return bed.directory / "tls"


def _ensure_signed(bed: Bed, name: str, extensions: list[str]) -> None:
    place = directory(bed)
    if (place / f"{name}.pem").exists():
        return
    words = [*_NEW, "-CA", str(place / "ca.pem"), "-CAkey", str(place / "ca.key"), "-subj", f"/CN={name}"]
    for extension in ("basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", *extensions):
        words += ["-addext", extension]
    _create(bed, name, words)


def _create(bed: Bed, name: str, words: list[str]) -> None:
    """The key first, and the certificate under its name only when it is whole."""
    certificate = directory(bed) / f"{name}.pem"
    part = certificate.with_suffix(".part")
    run(*words, "-keyout", certificate.with_suffix(".key"), "-out", part)
    part.rename(certificate)
