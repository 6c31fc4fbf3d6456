"""The access policy: allows or refuses a request by API key, scope, rate and port. Knows no path.

Routes declare what they require (`route.py`). A request that matches no route needs a key, too.
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
_CHECK_EVERY_S = 1.0
_WRITE_METHODS = ("PUT", "PATCH", "DELETE")


class KeyRing:
    """The keys of a file, reloaded within a second of a change. While the file is invalid, the last valid keys hold."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._current_stamp()
        self._checked_at = clock()
        self._keys: Sequence[Key] = read_keys(path)
        self._buckets: dict[str, TokenBucket] = {}
        self._last_logged = ""

    def find(self, secret: str) -> Key | None:
        """The key with this secret, or None. Compares with every key, each in constant time."""
        self._reload_if_changed()
        digest = hashed(secret)
        match = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                match = key
        return match

    def wait_s(self, key: Key) -> float:
        """Seconds until the key may call again; 0 = now, and this call counts."""
        now = self._clock()
        return self._buckets.setdefault(key.sha256, TokenBucket(key, now)).wait_s(now)

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now - self._checked_at < _CHECK_EVERY_S:
            return
        self._checked_at = now
        stamp = self._current_stamp()
        if stamp == self._stamp:
            return
        try:
            keys = read_keys(self._path)
        except KeysFileError as error:  # the stamp stays old, so that a file is retried that becomes readable
            self._log_once(str(error))
            return
        self._stamp, self._last_logged = stamp, ""
        unchanged = {key.sha256 for key in keys if key in self._keys}
        self._buckets = {digest: bucket for digest, bucket in self._buckets.items() if digest in unchanged}
        self._keys = keys
        _log.info("%d keys read", len(keys))

    def _log_once(self, message: str) -> None:
        if message != self._last_logged:
            self._last_logged = message
            _log.error("keys stay as they were: %s", message)

    def _current_stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class Guard:
    """The access policy of an application. `ring` None = no keys are required; `admin_port` 0 = no separate port."""

    def __init__(self, ring: KeyRing | None, admin_port: int) -> None:
        self._ring = ring
        self._admin_port = admin_port

    def check(self, scope: Asgi, access: Access) -> None:
        """Check a request to a route with `access`. Raises `NotFoundError`, `UnauthorizedError`, `ForbiddenError`,
        `RateError`.
        """
        required = access.scope
        if required is None:
            return
        key = None if self._ring is None else _authenticate(self._ring, scope["headers"])
        if self._admin_port and required is Scope.ADMIN and (scope.get("server") or ("", 0))[1] != self._admin_port:
            raise NotFoundError(f"{scope['path']} is served on another port")
        if self._ring is not None and key is not None:
            _check_scope_and_rate(self._ring, key, required)

    def check_unmatched(self, scope: Asgi) -> None:
        """The same for a request that matches no route: callers without a key must not learn which paths exist."""
        self.check(scope, Access(Scope.WRITE if scope["method"] in _WRITE_METHODS else Scope.RANK))


def _authenticate(ring: KeyRing, headers: Sequence[tuple[bytes, bytes]]) -> Key:
    secret = _secret(headers)
    if secret is None:
        raise UnauthorizedError("a key is needed, as 'Authorization: Bearer …' or 'X-API-Key: …'")
    key = ring.find(secret)
    if key is None:
        raise UnauthorizedError("this key is not known here")
    return key


def _check_scope_and_rate(ring: KeyRing, key: Key, required: Scope) -> None:
    if required not in key.scopes:
        raise ForbiddenError(f"the key '{key.name}' lacks the scope '{required}'")
    if seconds := ring.wait_s(key):
        raise RateError(
            f"the key '{key.name}' calls more often than {key.rate_per_s:g} times a second", math.ceil(seconds)
        )


def _secret(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The key of a request, or None. Repeated headers are an error: a proxy may have checked only one of them."""
    authorization, api_key = _single_header(headers, b"authorization"), _single_header(headers, b"x-api-key")
    scheme, _, token = authorization.partition(b" ")
    secret = token.strip() if scheme.lower() == b"bearer" else api_key
    return secret.decode("latin-1") or None


def _single_header(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    values = [value for name, value in headers if name == wanted]
    if len(values) > 1:
        raise UnauthorizedError(f"more than one header '{wanted.decode()}'")
    return values[0] if values else b""
