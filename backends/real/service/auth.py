"""Who calls: user and password as Eru's clients send them, or a bearer token."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping

_RESERVED = ("authorization", "content-type", "host", "te", "user-agent")
_KEY = re.compile(r"[0-9a-z_.-]+")


class Authenticator:
    """Knows users with their passwords, and names of bearer tokens.

    Eru's clients send the user's name as a metadata key, with the password as its value; keys are lower case on the
    wire, and so user names compare in lower case. Every secret is compared in constant time, and all of them each time.
    Secrets are kept as keyed digests only.
    """

    def __init__(self, users: Mapping[str, str], tokens: Mapping[str, str]) -> None:
        """ValueError names a user or token that cannot be one."""
        self._key = secrets.token_bytes(32)
        self._users: dict[str, bytes] = {}
        for name, password in users.items():
            key = name.lower()
            is_key = _KEY.fullmatch(key) and not key.endswith("-bin") and not key.startswith("grpc-")
            if not is_key or key in _RESERVED:
                raise ValueError(f"users: {name!r} cannot be a metadata key; use letters, digits, '_', '-' and '.'")
            if not password:
                raise ValueError(f"users.{name}: the password is empty")
            self._users[key] = self._digest(password)
        for name, token in tokens.items():
            if not token:
                raise ValueError(f"tokens.{name}: the token is empty")
        self._tokens = {name: self._digest(token) for name, token in tokens.items()}

    @property
    def is_open(self) -> bool:
        """Whether there is nobody to tell apart: then every call is let in."""
        return not self._users and not self._tokens

    def identify(self, metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
        """The name of who sent this metadata: ``user:NAME`` or ``token:NAME``; None for a stranger."""
        found: str | None = None
        for key, value in metadata:
            password = self._digest(value)
            for user, expected in self._users.items():
                if hmac.compare_digest(password, expected) and key == user:
                    found = f"user:{user}"
            if key == "authorization":
                token = self._digest(_bearer(value))
                for name, expected in self._tokens.items():
                    if hmac.compare_digest(token, expected):
                        found = f"token:{name}"
        return found

    def _digest(self, secret: str | bytes) -> bytes:
        data = secret.encode(errors="surrogateescape") if isinstance(secret, str) else secret
        return hmac.digest(self._key, data, "sha256")


def _bearer(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
