"""An application with API keys, for the tests of several folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_fakes import FakeModel, app_of
from fastapi import FastAPI

from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope


@pytest.fixture
def keyed(tmp_path: Path) -> tuple[FastAPI, FakeModel, dict[str, str]]:
    """A service with keys, its model, and the header of a key with `rank`."""
    secret, key = new_key("shop", [Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    model = FakeModel()
    return app_of(model, api_keys_file=str(tmp_path / "keys.toml")), model, {"x-api-key": secret}
