"""Contexts: the file, which service is meant, secrets that stay where they are."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from eru_command import Eru

from eru_sim.cli.live import contexts
from eru_sim.cli.live.contexts import Flags, resolve
from eru_sim.errors import EruError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ERU", raising=False)
    monkeypatch.delenv("ERU_CONTEXT", raising=False)
    return tmp_path


def secret_file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_without_anything_it_is_the_service_of_this_machine() -> None:
    target = resolve(Flags(), {})
    assert (target.address, target.is_tls, target.metadata) == ("127.0.0.1:5001", False, ())


def test_add_use_and_remove(eru: Eru, home: Path) -> None:
    token = secret_file(home / "token", "s3cret\n")
    assert eru("context", "add", "prod", "--server", "core.example:6001", "--token-file", token).code == 0
    assert eru("context", "add", "lab", "--server", "127.0.0.1:7001").code == 0
    rows = json.loads(eru("context", "ls", "-o", "json").out)
    assert [(row["name"], row["is_current"]) for row in rows] == [("lab", False), ("prod", True)]
    assert eru("context", "use", "lab").out == "in use: lab (127.0.0.1:7001)\n"
    assert resolve(Flags(), {}).address == "127.0.0.1:7001"
    assert resolve(Flags(), {"ERU_CONTEXT": "prod"}).metadata == (("authorization", "Bearer s3cret"),)
    assert eru("context", "rm", "lab").code == 0
    assert resolve(Flags(), {}).address == "127.0.0.1:5001"
    change = ("add", "prod", "--server", "h:1", "--token-file", token)
    for arguments in (("ls", "-o", "wide"), ("ls", "-o", "yaml"), change):
        ran = eru("context", *arguments)
        assert ran.code == 0
        assert "s3cret" not in ran.out + ran.err


def test_the_file_is_for_its_owner(eru: Eru) -> None:
    eru("context", "add", "prod", "--server", "h:1")
    assert stat.S_IMODE(contexts.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(contexts.path().parent.stat().st_mode) == 0o700
    assert [path.name for path in contexts.path().parent.iterdir()] == ["contexts.yaml"]


def test_flags_go_before_the_environment_and_that_before_the_context_in_use(eru: Eru, home: Path) -> None:
    token = secret_file(home / "token", "s3cret")
    eru("context", "add", "prod", "--server", "core:6001", "--token-file", token, "--use")
    environment = {"ERU": "other:1"}
    assert resolve(Flags(), {}).address == "core:6001"
    assert resolve(Flags(), environment).address == "other:1"
    assert resolve(Flags(), environment).metadata == ()  # the token is for core:6001 only
    assert resolve(Flags(context="prod"), environment).address == "core:6001"
    assert resolve(Flags(server="third:1"), {"ERU_CONTEXT": "prod"}).metadata == ()
    assert resolve(Flags(server="third:1", context="prod"), {}).metadata == (("authorization", "Bearer s3cret"),)


def test_who_asks_over_plain_text_elsewhere_is_warned(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = secret_file(home / "password", "hunter2\nsecond line")
    flags = Flags(server="core:1", login="Ann", password_file=password)
    assert resolve(flags, {}).metadata == (("ann", "hunter2"),)
    assert capsys.readouterr().err == "warning: core:1: who asks is sent there without TLS; give --tls-ca\n"
    resolve(flags._replace(server="127.0.0.1:1"), {})
    assert capsys.readouterr().err == ""
    assert "hunter2" not in repr(resolve(flags, {}))


@pytest.mark.parametrize(
    ("server", "address", "is_tls"),
    [
        ("core", "core:5001", False),
        ("core:1", "core:1", False),
        ("grpc://core:1/", "core:1", False),
        ("https://core:1", "core:1", True),
        ("::1", "[::1]:5001", False),
        ("[::1]:7", "[::1]:7", False),
        ("unix:/run/eru.sock", "unix:/run/eru.sock", False),
    ],
)
def test_addresses(server: str, address: str, is_tls: bool) -> None:
    assert contexts.address(server) == (address, is_tls)


@pytest.mark.parametrize("server", ["", ":5001", "a:b", "a:0", "a:70000", "unix:", "ftp://a:1", "a b:1", "user@a:1"])
def test_what_is_no_address(server: str) -> None:
    with pytest.raises(EruError, match=r"--server: .* is no address"):
        contexts.address(server)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["add", "a/b", "--server", "h:1"], "'a/b' is no name"),
        (["add", "a", "--server", "h:x"], "'h:x' is no address"),
        (["add", "a", "--server", "h:1", "--login", "ann"], "--login: it needs --password-file"),
        (["add", "a", "--server", "h:1", "--tls-cert", "c"], "--tls-key"),
        (["add", "a", "--server", "h:1", "--login", "x", "--password-file", "p", "--token-file", "t"], "keep one"),
        (["use", "nowhere"], "there is no 'nowhere'; there are: none yet"),
        (["rm", "nowhere"], "there is no 'nowhere'"),
    ],
)
def test_bad_contexts_are_one_line(eru: Eru, arguments: list[str], part: str) -> None:
    ran = eru("context", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert part in ran.err
    assert not contexts.path().exists()


@pytest.mark.parametrize("text", ["[", "a: 1", "contexts: {a: {server: 'h:1', password: x}}", "\x00", "contexts: 5"])
def test_a_broken_file_is_named(eru: Eru, text: str) -> None:
    contexts.path().parent.mkdir(parents=True)
    contexts.path().write_text(text)
    ran = eru("context", "ls")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "contexts.yaml" in ran.err


def test_secrets_that_others_may_read_are_refused(home: Path) -> None:
    token = secret_file(home / "token", "s3cret", 0o644)
    with pytest.raises(EruError, match="chmod 600"):
        resolve(Flags(server="h:1", token_file=token), {})
    empty = secret_file(home / "empty", "\n")
    with pytest.raises(EruError, match="--token-file"):
        resolve(Flags(server="h:1", token_file=empty), {})


def test_a_service_that_is_not_there_is_one_line(eru: Eru) -> None:
    ran = eru("--server", "127.0.0.1:1", "pool", "ls")
    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
    assert ran.err.startswith("error: 127.0.0.1:1: no service answers there")
    assert eru("pool", "ls", "--server", "127.0.0.1:1").err == ran.err
    assert eru("lambda", "-e", "127.0.0.1:1").code == 2
