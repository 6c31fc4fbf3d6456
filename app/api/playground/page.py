"""`GET /`: the demonstration page, one file, with some users of the training data to choose from.

If the service has no keys, the users are part of the page. Otherwise the page is public and holds no data: it asks for
a key and fetches `GET /page/users`.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request, Response

from app.api.common import serving_state
from app.errors import NotReadyError
from app.http.auth.route import GuardedRoute, needs, open_to_all
from app.http.auth.scopes import Scope
from app.ranking.model import RankingModel

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

_PAGE = Path(__file__).parent / "static" / "index.html"
_USERS_SLOT = "__USERS__"
_USERS = 24
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class UserSamples:
    """Some users of each model. Drawn once, in another thread, because drawing sorts all users."""

    def __init__(self) -> None:
        self._tasks: WeakKeyDictionary[RankingModel, asyncio.Task[list[str]]] = WeakKeyDictionary()

    async def of(self, model: RankingModel) -> list[str]:
        """At most 24 user ids."""
        task = self._tasks.get(model)
        if task is None:
            task = self._tasks[model] = asyncio.create_task(asyncio.to_thread(model.sample_users, _USERS))
        return await asyncio.shield(task)


@router.get("/")
@open_to_all
async def page(request: Request) -> Response:
    """The page, without users until a model is ready."""
    users = None if serving_state(request).settings.api_keys_file else await _users_if_ready(request)
    html = _template().replace(_USERS_SLOT, _inline_json(users))
    return Response(html, media_type="text/html", headers={"content-security-policy": _POLICY})


@router.get("/page/users")
@needs(Scope.RANK)
async def users(request: Request) -> Response:
    """The users that the page offers to callers with a key."""
    return Response(json.dumps({"users": await _users_if_ready(request)}), media_type="application/json")


async def _users_if_ready(request: Request) -> list[str]:
    try:
        model = serving_state(request).require_service().model
    except NotReadyError:
        return []
    samples: UserSamples = request.app.state.user_samples
    return await samples.of(model)


@cache
def _template() -> str:
    return _PAGE.read_text(encoding="utf-8")


def _inline_json(value: object) -> str:
    """JSON that is safe inside a script element."""
    return json.dumps(value).replace("<", "\\u003c")
