"""`GET /`: the demonstration page, one file, with some user ids put in."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi import APIRouter, Request, Response

from app.errors import NotReadyError
from app.routes.entrance import live_of

router = APIRouter(include_in_schema=False)

_PAGE = Path(__file__).parent.parent / "page" / "index.html"
_USERS_SLOT = "__USERS__"
_USERS = 24
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/")
async def page(request: Request) -> Response:
    """The page. Before a model is ready it comes without users."""
    try:
        users = live_of(request).ready().model.sample_users(_USERS)
    except NotReadyError:
        users = []
    html = _PAGE.read_text(encoding="utf-8").replace(_USERS_SLOT, _inline_json(users))
    return Response(html, media_type="text/html", headers={"content-security-policy": _POLICY})


def _inline_json(value: object) -> str:
    """JSON that cannot end the script element around it."""
    return json.dumps(value).replace("<", "\\u003c")
