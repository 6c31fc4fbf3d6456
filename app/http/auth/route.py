"""Routes that say who may call them, where they are declared. The guard decides; nothing here reads a key.

The router matches a path once, and the route that it found asks the guard before anything else: there is no second
pattern over paths that could disagree. A route that says nothing cannot be made, and `check_declared` refuses an
application with a route of another class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Receive, Send
from starlette.types import Scope as Asgi

from app.http.auth.policy import Guard
from app.http.auth.scopes import Access, Scope

_DECLARED = "declared_access"  # attribute of an endpoint; `include_router` passes endpoints on as they are
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class UndeclaredAccessError(TypeError):
    """A route does not say who may call it."""


def needs(scope: Scope) -> Callable[[Endpoint], Endpoint]:
    """Declare the scope of a route, below the decorator of its router.

    >>> @needs(Scope.WRITE)
    ... async def forget(): ...
    >>> declared_access(forget)
    Access(scope=<Scope.WRITE: 'write'>)
    """
    return _declare(Access(scope))


def open_to_all(endpoint: Endpoint) -> Endpoint:
    """Declare that a route needs no key."""
    return _declare(Access(None))(endpoint)


def declared_access(endpoint: Callable[..., Any]) -> Access:
    """What an endpoint declared. Raises `UndeclaredAccessError`."""
    access = getattr(endpoint, _DECLARED, None)
    if not isinstance(access, Access):
        name = getattr(endpoint, "__qualname__", repr(endpoint))
        raise UndeclaredAccessError(f"{name} says not who may call it: put @needs(…) or @open_to_all right above it")
    return access


class GuardedRoute(APIRoute):
    """A route that asks the guard in `app.state.guard` first, also for a method that it does not take."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.access = declared_access(endpoint)
        super().__init__(path, endpoint, **options)
        self.path_regex = _whole(self.path_regex)

    async def handle(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Answer as any route. Raises `UnirankError` where the caller is not let in."""
        guard: Guard = scope["app"].state.guard
        guard.check(scope, self.access)
        await super().handle(scope, receive, send)


def check_declared(routes: Sequence[BaseRoute]) -> None:
    """Raise `UndeclaredAccessError` where a route, mount or websocket does not ask the guard."""
    for found in iter_route_contexts(routes):
        if not isinstance(found.original_route, GuardedRoute):
            raise UndeclaredAccessError(f"{found.original_route!r} is no GuardedRoute: it would let everybody in")


def _declare(access: Access) -> Callable[[Endpoint], Endpoint]:
    def declared(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DECLARED, access)
        return endpoint

    return declared


def _whole(pattern: re.Pattern[str]) -> re.Pattern[str]:
    r"""The same pattern over the whole path: `$` matches before a last newline too, and `.` no newline.

    >>> bool(_whole(re.compile("^/metrics$")).match("/metrics\n"))
    False
    """
    return re.compile(pattern.pattern.removesuffix("$") + r"\Z", pattern.flags | re.DOTALL)
