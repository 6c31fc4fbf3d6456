"""An importer of tables, for the tests of several files."""

from __future__ import annotations

from pathlib import Path

import pytest
from table_imports import Import, importer


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Imports into a folder of this test."""
    return importer(tmp_path)
