"""The OpenAPI document, generated from the wire types that decode and encode. Checks no requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from app.api.v1 import event_schemas, schemas
from app.http.auth.route import GuardedRoute, check_declared
from app.http.auth.scopes import Scope
from app.http.problems import PROBLEM_JSON, Problem
from app.settings import Settings

_REF_TEMPLATE = "#/components/schemas/{name}"
_BOUNDS = {"array": "maxItems", "integer": "maximum"}
_BODY_PROBLEMS = {
    400: "Not JSON in UTF-8",
    408: "The body did not arrive in time",
    413: "Body too large",
    422: "JSON that breaks the contract",
    503: "Overloaded or not ready; see Retry-After",
}
_REFUSALS = {
    401: "No key, or an unknown one",
    403: "The key lacks the scope",
    429: "The key calls too often; see Retry-After",
}
_TYPES: list[type[msgspec.Struct]] = [
    schemas.RankBody,
    schemas.SearchBody,
    schemas.MoreLikeThisBody,
    schemas.HomepageBody,
    schemas.RankAnswer,
    schemas.HomepageAnswer,
    schemas.EntityAnswer,
    schemas.Limits,
    schemas.SplitBody,
    schemas.Ready,
    schemas.Alive,
    event_schemas.Engagement,
    event_schemas.Impression,
    event_schemas.Accepted,
    Problem,
]


def answers(kind: type[msgspec.Struct], *statuses: int, good: int = 200) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: the successful answer and its problems."""
    answer = {"description": kind.__doc__ or "", "content": {"application/json": {"schema": _ref(kind)}}}
    return {good: answer, **{status: _problem(status) for status in statuses}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that answers with a pydantic model: its problems."""
    return {status: _problem(status) for status in statuses}


def ranking_answers(kind: type[msgspec.Struct], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that reads a body and ranks."""
    return answers(kind, *_BODY_PROBLEMS, *statuses)


def takes(kind: type[msgspec.Struct], required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a body."""
    content = {"application/json": {"schema": _ref(kind)}}
    return {"requestBody": {"required": required, "content": content}}


def takes_events() -> dict[str, Any]:
    """`openapi_extra` of the events route: an array, or one event per line; an empty body is valid."""
    event = {"oneOf": [_ref(event_schemas.Engagement), _ref(event_schemas.Impression)]}
    content = {
        "application/json": {"schema": {"type": "array", "items": event}},
        "application/x-ndjson": {"schema": event},
    }
    return {"requestBody": {"required": False, "content": content}}


def parameters(**described: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a query string: name=JSON schema."""
    entries = [
        {"name": name.rstrip("_"), "in": "query", "required": False, "schema": schema}
        for name, schema in described.items()
    ]
    return {"parameters": entries}


class DocumentedAPI(FastAPI):
    """FastAPI whose document holds the service's wire types, with the limits of the settings in `state.serving`."""

    def build_middleware_stack(self) -> ASGIApp:
        """Unchanged; called before the first request. Raises `UndeclaredAccessError` for a route added later."""
        check_declared(self.routes)
        return super().build_middleware_stack()

    def openapi(self) -> dict[str, Any]:
        """The document; generated once."""
        if self.openapi_schema is None:
            document = get_openapi(title=self.title, version=self.version, summary=self.summary, routes=self.routes)
            settings = self.state.serving.settings
            document.setdefault("components", {}).setdefault("schemas", {}).update(_components())
            if settings.api_keys_file is not None:
                _add_access(document, self.routes)
            self.openapi_schema = _with_limits(document, settings)
        return self.openapi_schema


def _add_access(document: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    """Add how to send an API key, and the refusals."""
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for context in iter_route_contexts(routes):
        route = context.original_route
        operations = document["paths"].get(context.path_format, {})
        if isinstance(route, GuardedRoute) and route.access.scope is not None:
            for method in operations.keys() & {method.lower() for method in route.methods or ()}:
                _add_scope(operations[method], route.access.scope)


def _add_scope(operation: dict[str, Any], scope: Scope) -> None:
    operation["security"] = [{"bearer": []}, {"header": []}]
    operation["x-scope"] = str(scope)
    operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scope}`.".strip()
    operation["responses"] |= {str(status): _problem(status) for status in _REFUSALS}


def components(settings: Settings) -> dict[str, Any]:
    """JSON schemas of all wire types, by name."""
    return {name: _with_limits(schema, settings) for name, schema in _components().items()}


def _components() -> dict[str, Any]:
    return msgspec.json.schema_components(_TYPES, ref_template=_REF_TEMPLATE)[1]


def _with_limits(schema: Any, settings: Settings) -> Any:
    """`x-limit: setting` becomes maxLength, maxItems or maximum with the value of the setting."""
    if isinstance(schema, list):
        return [_with_limits(part, settings) for part in schema]
    if not isinstance(schema, dict):
        return schema
    limited = {key: _with_limits(part, settings) for key, part in schema.items() if key != "x-limit"}
    if isinstance(schema.get("x-limit"), str):
        limited[_BOUNDS.get(schema.get("type", ""), "maxLength")] = getattr(settings, schema["x-limit"])
    return limited


def _ref(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REF_TEMPLATE.format(name=kind.__name__)}


def _problem(status: int) -> dict[str, Any]:
    text = (_BODY_PROBLEMS | _REFUSALS).get(status, "No such id")
    return {"description": text, "content": {PROBLEM_JSON: {"schema": _ref(Problem)}}}
