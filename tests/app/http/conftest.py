"""A client and API keys, for the tests of several files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from api_keys import key_for_each_scope
from app_fakes import FakeModel, app_of, client_of

from app.http.auth.scopes import Scope


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that the tests of one file share."""
    async with client_of(app_of(FakeModel())) as client:
        yield client


@pytest.fixture
def secrets_of(tmp_path: Path) -> dict[Scope, str]:
    """A file with a key for each scope; the secrets by scope."""
    return key_for_each_scope(tmp_path / "keys.toml")
