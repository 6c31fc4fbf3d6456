"""The page at `/` is one file that loads nothing from elsewhere, escapes names, and hides users where keys are
required.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from app_fakes import FakeModel, app_of, client_of
from fastapi import FastAPI

pytestmark = pytest.mark.anyio
HOSTILE = ["</script><script>alert(1)</script>", "<!--", "\u2028", "'\"&", "\ud800", "u\n1", "]]>"]


def users_in(html: str) -> list[str] | None:
    """What the page gives its script."""
    text = html.split('<script type="application/json" id="users">')[1].split("</script>")[0]
    users: list[str] | None = json.loads(text)
    return users


async def test_with_keys_the_page_has_no_users_and_a_key_fetches_them(
    keyed: tuple[FastAPI, FakeModel, dict[str, str]],
) -> None:
    app, model, key = keyed
    model.sample_users = lambda count: ["first-user", *HOSTILE]  # type: ignore[method-assign]
    async with client_of(app) as client:
        for headers in ({}, key):
            page = await client.get("/", headers=headers)
            assert page.status_code == 200
            assert users_in(page.text) is None
            assert "first-user" not in page.text
        assert (await client.get("/page/users")).status_code == 401
        assert (await client.get("/page/users", headers=key)).json() == {"users": ["first-user", *HOSTILE]}


async def test_without_keys_the_page_has_users_whatever_their_names() -> None:
    model = FakeModel()
    model.sample_users = lambda count: HOSTILE  # type: ignore[method-assign]
    async with client_of(app_of(model)) as client:
        html = (await client.get("/")).text
    assert users_in(html) == HOSTILE
    assert "alert(1)</" not in html
    assert html.count("<!--") == 1, "the comment at its head"


async def test_users_are_drawn_once_for_each_model(keyed: tuple[FastAPI, FakeModel, dict[str, str]]) -> None:
    drawn: list[int] = []

    def sampled(number: int) -> FakeModel:
        model = FakeModel()
        model.sample_users = lambda count: drawn.append(number) or [f"user-{number}"]  # type: ignore
        return model

    app = app_of(sampled(1))
    async with client_of(app) as client:
        pages = await asyncio.gather(*(client.get("/") for _ in range(5)), client.get("/page/users"))
        assert drawn == [1]
        assert all("user-1" in page.text for page in pages)
        app.state.serving.install(sampled(2))
        for _ in range(3):
            assert users_in((await client.get("/")).text) == ["user-2"]
    assert drawn == [1, 2]


async def test_the_page_inserts_names_as_text_only() -> None:
    async with client_of(app_of()) as client:
        html = (await client.get("/")).text
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser", "srcdoc"):
        assert way not in html


async def test_the_page_is_one_file_with_users_and_nothing_from_other_hosts():
    model = FakeModel()
    model.sample_users = lambda count: ["u1", "</script><script>alert(1)"]
    async with client_of(app_of(model)) as client:
        response = await client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert '["u1", "\\u003c/script>\\u003cscript>alert(1)"]' in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "/v1/search?" in response.text
