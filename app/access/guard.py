"""ASGI middleware that lets a request in or not: by key and scope, by rate, by port, and by whether there is room.

Routes say nothing of access: what is not named in `_OPEN`, `_WRITE` or `_ADMIN` needs the scope `rank`, a route that
nobody thought of included.
"""

from __future__ import annotations

import hmac
import logging
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from app.access.bucket import Bucket
from app.access.keys import Key, KeysFileError, hashed, read_keys
from app.access.scopes import Scope
from app.errors import ForbiddenError, NotFoundError, RateError, UnauthorizedError, UnirankError, problem_response
from app.telemetry import Clock

_log = logging.getLogger("unirank")
_LOOK_EVERY_S = 1.0
_OPEN = re.compile(r"/|/livez|/readyz|/docs|/docs/oauth2-redirect|/openapi\.json")
_ADMIN = re.compile(r"/metrics|/v1/models(/.*)?")
_WRITE = re.compile(r"/v1/events|/v1/entities|/v1/users/[^/]+")
_SEARCH_BY_LINK = "/v1/search"
_READING = ("GET", "HEAD", "OPTIONS")


def scope_of(method: str, path: str) -> Scope | None:
    """What a request needs; None = it is open to everybody.

    >>> scope_of("POST", "/v1/search"), scope_of("POST", "/v1/events"), scope_of("GET", "/livez")
    (<Scope.RANK: 'rank'>, <Scope.WRITE: 'write'>, None)
    """
    if _OPEN.fullmatch(path):
        return None
    if _ADMIN.fullmatch(path):
        return Scope.ADMIN
    return Scope.WRITE if method not in _READING and _WRITE.fullmatch(path) else Scope.RANK


class KeyRing:
    """The keys of a file, read again within a second of a change. A file that went bad leaves the last good keys."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._stamp_now()
        self._looked = clock()
        self._keys: Sequence[Key] = read_keys(path)
        self._buckets: dict[str, Bucket] = {}

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
        return self._buckets.setdefault(key.sha256, Bucket(key, now)).wait_s(now)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            keys = read_keys(self._path)
        except KeysFileError as error:
            _log.error("keys stay as they were: %s", error)
            return
        unchanged = {key.sha256 for key in keys if key in self._keys}
        self._buckets = {digest: bucket for digest, bucket in self._buckets.items() if digest in unchanged}
        self._keys = keys
        _log.info("%d keys read", len(keys))

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Guard:
    """Behind the door, so that refusals are named, timed and counted like any answer."""

    def __init__(
        self, app: ASGIApp, ring: KeyRing | None, admin_port: int, check_room: Callable[[], None] = lambda: None
    ) -> None:
        self._app = app
        self._ring = ring
        self._admin_port = admin_port
        self._check_room = check_room

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except UnirankError as error:
            await problem_response(error, Request(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Asgi) -> None:
        needed = scope_of(scope["method"], scope["path"])
        if self._admin_port and needed is Scope.ADMIN and (scope.get("server") or ("", 0))[1] != self._admin_port:
            raise NotFoundError(f"{scope['path']} is served on another port")
        if self._ring is not None and needed is not None:
            self._check_key(self._ring, scope, needed)
        if needed is Scope.RANK and (scope["method"] == "POST" or scope["path"] == _SEARCH_BY_LINK):
            self._check_room()  # here and not in the routes: under load most of the work is to say no

    def _check_key(self, ring: KeyRing, scope: Asgi, needed: Scope) -> None:
        key = self._key(ring, scope)
        if needed not in key.scopes:
            raise ForbiddenError(f"the key '{key.name}' lacks the scope '{needed}'")
        if wait := ring.wait_s(key):
            raise RateError(
                f"the key '{key.name}' calls more often than {key.rate_per_s:g} times a second", math.ceil(wait)
            )

    def _key(self, ring: KeyRing, scope: Asgi) -> Key:
        secret = _secret(scope["headers"])
        if secret is None:
            raise UnauthorizedError("a key is needed, as 'Authorization: Bearer …' or 'X-API-Key: …'")
        key = ring.find(secret)
        if key is None:
            raise UnauthorizedError("this key is not known here")
        return key


def _secret(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The key that a request carries."""
    given = dict(headers)
    scheme, _, token = given.get(b"authorization", b"").partition(b" ")
    secret = token.strip() if scheme.lower() == b"bearer" else given.get(b"x-api-key", b"")
    return secret.decode("latin-1") or None
