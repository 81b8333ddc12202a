"""The command line against ``eru serve`` as processes, with certificates, passwords and tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ERU = [sys.executable, "-m", "eru_sim.cli.main"]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Files that only their owner can read: password, wrong, tokens (of the server), token (of the client)."""
    for name, text in {"password": "hunter2", "wrong": "hunter3", "tokens": "ann:s3cret", "token": "s3cret"}.items():
        path = tmp_path / name
        path.write_text(f"{text}\n")
        path.chmod(0o600)
    return tmp_path


@contextmanager
def served(directory: Path, *options: object) -> Iterator[str]:
    """A service over simulated nodes; its port."""
    command = [*ERU, "serve", "--data-dir", directory / "data", "--listen", "127.0.0.1:0", "--engines", "simulated"]
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(
            [*map(str, command), *map(str, options)], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("serving on "), (directory / "log").read_text()
            yield line.removeprefix("serving on ").split()[0].rpartition(":")[2]
        finally:
            process.terminate()
    text = (directory / "log").read_text()
    assert not any(secret in text for secret in ("hunter2", "hunter3", "s3cret")), text


def run(directory: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(directory / "config")}
    environment.pop("ERU", None)
    ran = subprocess.run([*ERU, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment)
    assert not any(secret in ran.stdout + ran.stderr for secret in ("hunter2", "hunter3", "s3cret"))
    return ran


def test_a_password_over_tls(certificates: Path, secrets: Path) -> None:
    server = ("--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key")
    login = ("--login", "ann", "--password-file")
    trust = ("--tls-ca", certificates / "ca.pem")
    with served(secrets, *server, "--user", "ann", "--password-file", secrets / "password") as port:
        for name, options in {
            "good": (*trust, *login, secrets / "password"),
            "wrong": (*trust, *login, secrets / "wrong"),
            "nobody": trust,
            "strange": ("--tls-ca", certificates / "client.pem", *login, secrets / "password"),
            "plain": (*login, secrets / "password"),
        }.items():
            added = run(secrets, "context", "add", name, "--server", f"localhost:{port}", *options)
            assert added.returncode == 0, added
        assert run(secrets, "--context", "good", "pool", "add", "pool").returncode == 0
        listed = run(secrets, "--context", "good", "pool", "ls", "-o", "name")
        assert (listed.returncode, listed.stdout) == (0, "pool\n")
        for name, code in {"wrong": 2, "nobody": 2, "strange": 3, "plain": 3}.items():
            ran = run(secrets, "--context", name, "pool", "ls")
            assert (ran.returncode, ran.stdout) == (code, ""), ran
            assert ran.stderr.startswith("error: "), ran
            assert ran.stderr.count("\n") == 1, ran


def test_a_token_and_a_certificate_of_the_client(certificates: Path, secrets: Path) -> None:
    server = ("--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key")
    both = ("--client-ca", certificates / "ca.pem", "--token-file", secrets / "tokens")
    trust = ("--tls-ca", certificates / "ca.pem", "--token-file", secrets / "token")
    mine = ("--tls-cert", certificates / "client.pem", "--tls-key", certificates / "client.key")
    with served(secrets, *server, *both) as port:
        for name, options in {"good": (*trust, *mine), "without": trust}.items():
            run(secrets, "context", "add", name, "--server", f"localhost:{port}", *options)
        assert run(secrets, "--context", "good", "pool", "ls").returncode == 0
        assert run(secrets, "--context", "without", "pool", "ls").returncode == 3
