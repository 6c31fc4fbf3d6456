"""Settings are read from the environment once, reach the worker processes unchanged, and are all documented."""

from __future__ import annotations

import pytest
from app_fakes import settings

from app.settings import Settings, settings_table


def test_settings_come_from_the_environment_once(monkeypatch):
    monkeypatch.setenv("UNIRANK_MAX_CANDIDATES", "9")
    read = Settings()
    assert read.max_candidates == 9
    with pytest.raises(ValueError, match="frozen"):
        read.max_candidates = 10


def test_settings_reach_worker_processes_unchanged(monkeypatch):
    for name, value in settings(max_rows=3, model_path="/m", cors_origins="a,b").environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings(max_rows=3, model_path="/m", cors_origins="a,b")


def test_the_table_of_settings_has_a_line_for_each():
    table = settings_table()
    for name, info in Settings.model_fields.items():
        assert f"| `UNIRANK_{name.upper()}` |" in table
        assert info.description
