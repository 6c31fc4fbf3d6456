"""Decides whether a request comes in: by key and scope, by rate, and by port.

What is asked for is declared by the routes (`route.py`); this knows no path. What matches no route needs a key, too.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from starlette.types import Scope as Asgi

from app.errors import ForbiddenError, NotFoundError, RateError, UnauthorizedError
from app.http.auth.keys import Key, KeysFileError, hashed, read_keys
from app.http.auth.scopes import Access, Scope
from app.http.auth.token_bucket import TokenBucket
from app.observability.metrics import Clock

_log = logging.getLogger("unirank")
_LOOK_EVERY_S = 1.0
_CHANGING = ("PUT", "PATCH", "DELETE")


class KeyRing:
    """The keys of a file, read again within a second of a change. A file that went bad leaves the last good keys."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._stamp_now()
        self._looked = clock()
        self._keys: Sequence[Key] = read_keys(path)
        self._buckets: dict[str, TokenBucket] = {}
        self._complaint = ""

    def find(self, secret: str) -> Key | None:
        """The key of a secret. Every key is compared, each in constant time."""
        self._look()
        digest = hashed(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def wait_s(self, key: Key) -> float:
        """Seconds until the key may call again; 0 = now, and this call counts."""
        now = self._clock()
        return self._buckets.setdefault(key.sha256, TokenBucket(key, now)).wait_s(now)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        try:
            keys = read_keys(self._path)
        except KeysFileError as error:  # looked at again: a file becomes readable without a new stamp
            self._complain(str(error))
            return
        self._stamp, self._complaint = stamp, ""
        unchanged = {key.sha256 for key in keys if key in self._keys}
        self._buckets = {digest: bucket for digest, bucket in self._buckets.items() if digest in unchanged}
        self._keys = keys
        _log.info("%d keys read", len(keys))

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            self._complaint = complaint
            _log.error("keys stay as they were: %s", complaint)

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Guard:
    """The one policy of an application. `ring` None = there are no keys; `admin_port` 0 = no port of its own."""

    def __init__(self, ring: KeyRing | None, admin_port: int) -> None:
        self._ring = ring
        self._admin_port = admin_port

    def check(self, scope: Asgi, access: Access) -> None:
        """Let a request to a route with `access` in, or raise `NotFoundError`, `UnauthorizedError`, `ForbiddenError`,
        `RateError`.
        """
        needed = access.scope
        if needed is None:
            return
        key = None if self._ring is None else _known(self._ring, scope["headers"])
        if self._admin_port and needed is Scope.ADMIN and (scope.get("server") or ("", 0))[1] != self._admin_port:
            raise NotFoundError(f"{scope['path']} is served on another port")
        if self._ring is not None and key is not None:
            _check_key(self._ring, key, needed)

    def check_unmatched(self, scope: Asgi) -> None:
        """The same for what matches no route: who has no key shall not learn which paths there are."""
        self.check(scope, Access(Scope.WRITE if scope["method"] in _CHANGING else Scope.RANK))


def _known(ring: KeyRing, headers: Sequence[tuple[bytes, bytes]]) -> Key:
    secret = _secret(headers)
    if secret is None:
        raise UnauthorizedError("a key is needed, as 'Authorization: Bearer …' or 'X-API-Key: …'")
    key = ring.find(secret)
    if key is None:
        raise UnauthorizedError("this key is not known here")
    return key


def _check_key(ring: KeyRing, key: Key, needed: Scope) -> None:
    if needed not in key.scopes:
        raise ForbiddenError(f"the key '{key.name}' lacks the scope '{needed}'")
    if wait := ring.wait_s(key):
        raise RateError(
            f"the key '{key.name}' calls more often than {key.rate_per_s:g} times a second", math.ceil(wait)
        )


def _secret(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The key that a request carries. Two headers of one name are none: a proxy may have checked the other one."""
    authorization, named = _one(headers, b"authorization"), _one(headers, b"x-api-key")
    scheme, _, token = authorization.partition(b" ")
    secret = token.strip() if scheme.lower() == b"bearer" else named
    return secret.decode("latin-1") or None


def _one(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    found = [value for name, value in headers if name == wanted]
    if len(found) > 1:
        raise UnauthorizedError(f"more than one header '{wanted.decode()}'")
    return found[0] if found else b""
