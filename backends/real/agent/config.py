"""The agent's settings: one table of them, read from a YAML file, the environment and the command line.

A setting has a key of Eru's ``agent.yaml``, an environment variable and a flag. The flag counts more than the variable,
the variable more than the file, and the file more than the default. Every mistake is a `ConfigError` that names the
place, the value and the remedy.
"""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

DEFAULT_FILE = Path("/etc/eru/agent.yaml")
FILE_VARIABLE = "ERU_AGENT_CONFIG_PATH"
LEVELS = ("debug", "info", "warning", "error")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)?")
_BYTES = re.compile(r"(\d+)(Ki|Mi|Gi|k|M|G)?B?")
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ConfigError(ValueError):
    """A setting that cannot be; one line."""


class Setting(NamedTuple):
    """One setting. ``parse`` makes its value of what YAML gives, or of text, and raises ValueError with a remedy."""

    key: str
    flag: str
    default: Any
    parse: Callable[[Any], Any]
    meaning: str
    metavar: str = ""
    variable_name: str = ""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return self.variable_name or "ERU_AGENT_" + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def is_list(self) -> bool:
        """Whether the flag may be repeated."""
        return isinstance(self.default, tuple)

    @property
    def shown_default(self) -> str:
        """The default as the file has it; "" for none."""
        if self.is_switch:
            return "true" if self.default else "false"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default or "")

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return isinstance(self.default, bool)


class Config:
    """The settings by key: ``config["healthcheck.interval"]``."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def nanoseconds(self, key: str) -> int:
        """A time of the settings, in nanoseconds."""
        return round(float(self._values[key]) * 1e9)


def load(
    file: Path | None = None, *, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Config:
    """Read the settings. ``file`` None is Eru's own place, if there is one; ``flags`` are values by key."""
    environment = environment or {}
    values: dict[str, Any] = {setting.key: setting.default for setting in SETTINGS}
    path = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    if path is not None or DEFAULT_FILE.exists():
        values |= _read_file(path or DEFAULT_FILE)
    for setting in SETTINGS:
        if environment.get(setting.variable):
            values[setting.key] = _parse(setting, environment[setting.variable], setting.variable)
        if flags and flags.get(setting.key) is not None:
            values[setting.key] = _parse(setting, flags[setting.key], setting.flag)
    values["hostname"] = values["hostname"] or socket.gethostname()
    _check_together(values)
    return Config(values)


def _read_file(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path}: {reason}; name another file with --config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path}: not YAML{where}: {getattr(error, 'problem', None) or error}; correct it") from None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path}: {_shown(found)} is not a mapping; write e.g. 'heartbeat_interval: 60'")
    return {key: _parse(setting, value, f"{path}: {key}") for key, setting, value in _flat(found, path)}


def _flat(found: Mapping[Any, Any], path: Path) -> Iterable[tuple[str, Setting, Any]]:
    """Every value of the file with its setting; a key that there is not is an error, the closest one is named."""
    sections = {setting.key.partition(".")[0] for setting in SETTINGS if "." in setting.key}
    pending: list[tuple[str, Any]] = [(str(key), value) for key, value in found.items()]
    for key, value in pending:
        setting = _BY_KEY.get(key)
        is_section = key in sections or any(known.startswith(f"{key}.") for known in _BY_KEY)
        if setting is not None:
            if value is not None:
                yield key, setting, value
        elif is_section and isinstance(value, Mapping):
            pending += [(f"{key}.{name}", item) for name, item in value.items()]
        elif is_section and value is None:
            continue
        elif is_section:
            below = next(known for known in _BY_KEY if known.startswith(f"{key}."))
            raise ConfigError(f"{path}: {key}: {_shown(value)} is not a section; write '{below}' as a key below it")
        else:
            close = difflib.get_close_matches(key, _BY_KEY, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "the keys are in 'eru agent --help'"
            raise ConfigError(f"{path}: {key}: there is no such key; {hint}")


def _parse(setting: Setting, value: Any, place: str) -> Any:
    try:
        return setting.parse(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


def _check_together(values: Mapping[str, Any]) -> None:
    if not values["core"] and values["store"] == "grpc":
        raise ConfigError("core: no endpoint is set; write e.g. 'core: [127.0.0.1:5001]', or --core-endpoint")
    if bool(values["auth.username"]) != bool(values["auth.password"]):
        raise ConfigError("auth: username and password go together; set both or neither")
    if values["auth.token"] and values["auth.username"]:
        raise ConfigError("auth: there are a token and a username; keep one of them")
    if bool(values["tls.cert"]) != bool(values["tls.key"]) or (values["tls.cert"] and not values["tls.ca"]):
        raise ConfigError("tls: cert and key go together, and need ca; set all three, only ca, or none")
    if values["healthcheck.timeout"] > values["healthcheck.interval"]:
        raise ConfigError(
            f"healthcheck.timeout: {values['healthcheck.timeout']:g} s is longer than healthcheck.interval "
            f"({values['healthcheck.interval']:g} s); a check has to end before the next one"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# -- kinds of values ---------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is not a text; put it in quotes")
    return str(value)


def _path(value: Any) -> str:
    text = _text(value)
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute path; begin it with /")
    return text


def _needed_path(value: Any) -> str:
    text = _path(value)
    if not text:
        raise ValueError("'' is not a path; write e.g. /run/eru-agent.pid")
    return text


def _flagged(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _YES + _NO:
        raise ValueError(f"{_shown(value)} is neither yes nor no; write true or false")
    return text in _YES


def _duration(*, may_be_zero: bool = False) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
        if match is None:
            raise ValueError(f"{_shown(value)} is not a time; write seconds, such as 60, or 500ms, 5s, 2m")
        seconds = float(match[1]) * _UNITS[match[2] or "s"]
        if seconds == 0 and not may_be_zero:
            raise ValueError(f"{_shown(value)} is not a time that passes; write e.g. 10")
        return seconds

    return parse


def _size(value: Any) -> int:
    match = None if isinstance(value, bool) else _BYTES.fullmatch(str(value).strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{_shown(value)} is not a size; write bytes, such as 67108864, or 64Mi")
    return int(match[1]) * _FACTORS[match[2] or ""]


def _one_of(*choices: str, missing: Mapping[str, str] | None = None) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = str(value).strip().lower()
        if missing and text in missing:
            raise ValueError(f"{text!r} is not supported: {missing[text]}; write {' or '.join(choices)}")
        if text not in choices:
            raise ValueError(f"{_shown(value)} is unknown; write {' or '.join(choices)}")
        return text

    return parse


def _level(value: Any) -> str:
    text = str(value).strip().lower()
    return _one_of(*LEVELS)({"warn": "warning"}.get(text, text))


def _list_of(parse: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    def parse_all(value: Any) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        texts = [part.strip() for item in items for part in _text(item).split(",")]
        return tuple(parse(text) for text in texts if text)

    return parse_all


def _host_port(text: str) -> tuple[str, int]:
    """The parts of ``HOST:PORT``; an address of IPv6 stands in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536) or "/" in host:
        raise ValueError(f"{text!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:5001")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _endpoint(text: str) -> str:
    if not text.startswith("unix:") and not _host_port(text)[0]:
        raise ValueError(f"{text!r} names no host; write HOST:PORT, e.g. 127.0.0.1:5001")
    return text


def _destination(text: str) -> str:
    if not _host_port(text)[0]:
        raise ValueError(f"{text!r} names no host; write HOST:PORT, e.g. 127.0.0.1:8125")
    return text


def _listen(value: Any) -> str:
    text = _text(value)
    if text:
        _host_port(text)
    return text


def _sink(text: str) -> str:
    from backends.real.agent.logs.sinks import make_sink

    make_sink(text)
    return text


def _url(*schemes: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = _text(value)
        if urlsplit(text).scheme not in schemes:
            raise ValueError(f"{text!r} is not an endpoint; begin it with {' or '.join(f'{s}://' for s in schemes)}")
        return text

    return parse


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression ({error}); correct it") from None
    return text


def address_of(text: str) -> tuple[str, int]:
    """Host and port of a checked address; without a host it is loopback, because nobody asked for more."""
    host, port = _host_port(text)
    return host or "127.0.0.1", port


_NO_MOCKS = {"mocks": "mocks are for the tests of Eru's own agent"}
_NO_RUNTIMES = {**_NO_MOCKS, "yavirt": "there is no yavirtd to ask"}

SETTINGS = (
    Setting(
        "hostname",
        "--hostname",
        "",
        _text,
        "The node's name in the core; by default the machine's.",
        "NAME",
        "ERU_HOSTNAME",
    ),
    Setting(
        "log_level",
        "--log-level",
        "info",
        _level,
        "How much the agent tells of itself on stderr.",
        "|".join(LEVELS),
    ),
    Setting(
        "pid",
        "--pidfile",
        "/tmp/agent.pid",
        _needed_path,
        "The pid file; its lock keeps a second agent away.",
        "FILE",
    ),
    Setting(
        "core",
        "--core-endpoint",
        (),
        _list_of(_endpoint),
        "The core, HOST:PORT or unix:PATH; another one is tried when one does not answer.",
        "ADDRESS,...",
    ),
    Setting("auth.username", "--core-username", "", _text, "The user's name in the core.", "NAME"),
    Setting("auth.password", "--core-password", "", _text, "The user's password.", "TEXT"),
    Setting("auth.token", "--core-token", "", _text, "A bearer token, in place of user and password.", "TEXT"),
    Setting("tls.ca", "--core-ca", "", _path, "The authority of the core's certificate, PEM; for TLS.", "FILE"),
    Setting("tls.cert", "--core-cert", "", _path, "Our certificate for the core, PEM.", "FILE"),
    Setting("tls.key", "--core-key", "", _path, "Its key, PEM.", "FILE"),
    Setting(
        "heartbeat_interval",
        "--heartbeat-interval",
        60.0,
        _duration(may_be_zero=True),
        "How often the node's lease of three times as long is renewed; 0 is never.",
        "TIME",
    ),
    Setting(
        "check_only_mine",
        "--check-only-mine",
        False,
        _flagged,
        "Only workloads whose labels name this node and this core.",
    ),
    Setting("store", "--store", "grpc", _one_of("grpc", missing=_NO_MOCKS), "How the core is reached.", "grpc"),
    Setting("runtime", "--runtime", "docker", _one_of("docker", missing=_NO_RUNTIMES), "The node's engine.", "docker"),
    Setting(
        "docker.endpoint",
        "--docker-endpoint",
        "unix:///var/run/docker.sock",
        _url("unix", "tcp"),
        "Docker's daemon.",
        "URL",
    ),
    Setting(
        "yavirt.endpoint",
        "--yavirt-endpoint",
        "grpc://127.0.0.1:9697",
        _url("grpc"),
        "As in Eru's file; without effect.",
        "URL",
    ),
    Setting(
        "yavirt.skip_guest_report_regexps",
        "--yavirt-skip-guest-report-regexps",
        (),
        _list_of(_pattern),
        "As in Eru's file; without effect.",
        "REGEX,...",
    ),
    Setting("metrics.step", "--metrics-step", 10.0, _duration(), "How often usage is sampled.", "TIME"),
    Setting(
        "metrics.transfers",
        "--metrics-transfers",
        (),
        _list_of(_destination),
        "Statsd servers; each workload's gauges go to one of them.",
        "HOST:PORT,...",
    ),
    Setting(
        "api.addr",
        "--api-addr",
        "",
        _listen,
        "Where the HTTP API listens; :PORT is on loopback, by default there is none.",
        "HOST:PORT",
    ),
    Setting(
        "log.forwards",
        "--log-forwards",
        (),
        _list_of(_sink),
        "Sinks of output: tcp://, udp://, journal://, file://, discard://; a workload has one of them.",
        "URL,...",
    ),
    Setting("log.stdout", "--log-stdout", False, _flagged, "Print the output of workloads, too."),
    Setting(
        "log.spool.dir",
        "--log-spool-dir",
        "",
        _path,
        "Where lines wait for sinks, and what a new agent goes on from; by default memory.",
        "DIR",
    ),
    Setting(
        "log.spool.bytes",
        "--log-spool-bytes",
        64 << 20,
        _size,
        "How much may wait for one sink before the oldest lines are dropped.",
        "SIZE",
    ),
    Setting(
        "log.reconnect",
        "--log-reconnect",
        30.0,
        _duration(),
        "The pause before a sink that failed is tried again.",
        "TIME",
    ),
    Setting(
        "healthcheck.interval",
        "--health-check-interval",
        60.0,
        _duration(),
        "How often all workloads are checked.",
        "TIME",
    ),
    Setting("healthcheck.timeout", "--health-check-timeout", 10.0, _duration(), "How long one check may take.", "TIME"),
    Setting(
        "healthcheck.cache_ttl",
        "--health-check-cache-ttl",
        300.0,
        _duration(may_be_zero=True),
        "How long a status that has not changed is not reported again, give or take 1/8.",
        "TIME",
    ),
    Setting(
        "global_connection_timeout",
        "--global-connection-timeout",
        5.0,
        _duration(),
        "How long a call to the core may take; the pause before events are asked for again.",
        "TIME",
    ),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}
