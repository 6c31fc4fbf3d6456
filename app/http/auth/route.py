"""Routes that declare who may call them. The guard decides; nothing here reads a key.

The router matches a path once, and the matched route asks the guard first: there is no second set of path patterns that
could disagree. A route without a declaration cannot be created, and `check_declared` refuses an application with a
route of another class.
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
    """A route does not declare who may call it."""


def needs(scope: Scope) -> Callable[[Endpoint], Endpoint]:
    """Declare the scope that a route requires. Goes below the router's decorator.

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
    """The declared access of an endpoint. Raises `UndeclaredAccessError`."""
    access = getattr(endpoint, _DECLARED, None)
    if not isinstance(access, Access):
        name = getattr(endpoint, "__qualname__", repr(endpoint))
        raise UndeclaredAccessError(
            f"{name} does not declare who may call it: put @needs(…) or @open_to_all right above it"
        )
    return access


class GuardedRoute(APIRoute):
    """A route that asks the guard in `app.state.guard` first, also for a method that it does not support."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.access = declared_access(endpoint)
        super().__init__(path, endpoint, **options)
        self.path_regex = _match_whole_path(self.path_regex)

    async def handle(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Check access, then answer as any route does. Raises the errors of `Guard.check`."""
        guard: Guard = scope["app"].state.guard
        guard.check(scope, self.access)
        await super().handle(scope, receive, send)


def check_declared(routes: Sequence[BaseRoute]) -> None:
    """Raise `UndeclaredAccessError` where a route, mount or websocket does not ask the guard."""
    for context in iter_route_contexts(routes):
        if not isinstance(context.original_route, GuardedRoute):
            raise UndeclaredAccessError(f"{context.original_route!r} is no GuardedRoute: it would let everybody in")


def _declare(access: Access) -> Callable[[Endpoint], Endpoint]:
    def decorate(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DECLARED, access)
        return endpoint

    return decorate


def _match_whole_path(pattern: re.Pattern[str]) -> re.Pattern[str]:
    r"""The same pattern, matched against the whole path: `$` also matches before a final newline, and `.` no newline.

    >>> bool(_match_whole_path(re.compile("^/metrics$")).match("/metrics\n"))
    False
    """
    return re.compile(pattern.pattern.removesuffix("$") + r"\Z", pattern.flags | re.DOTALL)
