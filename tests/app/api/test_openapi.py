"""The OpenAPI document describes exactly what the service accepts and answers, with the limits of its settings."""

from __future__ import annotations

import json

import msgspec
import pytest
from app_fakes import app_of, client_of, settings

from app.api.v1 import schemas
from app.errors import UnirankError
from app.http.decoding import decode

pytestmark = pytest.mark.anyio


async def test_openapi_has_the_types_that_the_decoder_uses():
    async with client_of(app_of(max_candidates=123)) as client:
        document = (await client.get("/openapi.json")).json()
    made = document["components"]["schemas"]
    for kind in (schemas.RankBody, schemas.SearchBody, schemas.MoreLikeThisBody, schemas.HomepageBody):
        assert set(made[kind.__name__]["properties"]) == set(kind.__struct_encode_fields__)
        assert made[kind.__name__]["additionalProperties"] is False
    assert made["ContextBody"]["properties"]["query"]["anyOf"][0]["maxLength"] == 2000
    assert made["RankBody"]["properties"]["candidates"]["anyOf"][0]["maxItems"] == 123
    assert "x-limit" not in json.dumps(document)
    for path, method in [
        ("/v1/rank", "post"),
        ("/v1/homepage", "post"),
        ("/v1/more-like-this/{entity_id}", "post"),
    ]:
        operation = document["paths"][path][method]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1] in made
        assert {"200", "400", "413", "422", "503"} <= set(operation["responses"])


async def test_every_reference_of_openapi_resolves():
    async with client_of(app_of()) as client:
        text = (await client.get("/openapi.json")).text
        assert (await client.get("/docs")).status_code == 200
    names = set(json.loads(text)["components"]["schemas"])
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references
    assert references <= names


def _example(schema: dict, made: dict) -> object:
    """The smallest value that a schema of ours allows."""
    if "$ref" in schema:
        return _example(made[schema["$ref"].split("/")[-1]], made)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], made)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _example(part, made) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), made)] * schema.get("minItems", 0)
    plain = {"string": "x", "boolean": False, "number": schema.get("minimum", 0), "integer": 0}
    return plain.get(schema.get("type", "null"))


@pytest.mark.parametrize("kind", [schemas.RankBody, schemas.SearchBody, schemas.HomepageBody])
def test_the_decoder_accepts_what_openapi_allows_and_refuses_any_other_key(kind):
    from app.api.openapi import components

    made = components(settings())
    example = _example(made[kind.__name__], made)
    assert isinstance(example, dict)
    assert isinstance(decode(json.dumps(example).encode(), kind, 32), kind)
    with pytest.raises(UnirankError):
        decode(json.dumps({**example, "surprise": 1}).encode(), kind, 32)
    for name in made[kind.__name__].get("required", []):
        with pytest.raises(UnirankError):
            decode(json.dumps({**example, name: ["wrong"]}).encode(), kind, 32)


async def test_answers_match_their_types():
    async with client_of(app_of()) as client:
        answer = await client.post("/v1/search", json={"query": "toy", "return": ["year"]})
        msgspec.json.decode(answer.content, type=schemas.RankAnswer)
        answer = await client.post("/v1/homepage", json={"user_id": "u1"})
        msgspec.json.decode(answer.content, type=schemas.HomepageAnswer)


async def test_limits_are_those_of_the_settings():
    async with client_of(app_of(max_candidates=7)) as client:
        assert (await client.get("/v1/limits")).json()["max_candidates"] == 7
        body = {"context": {"task": "search"}, "candidates": ["f1"] * 8}
        assert (await client.post("/v1/rank", json=body)).status_code == 422
