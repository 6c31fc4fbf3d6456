"""Runs the command line in this process. Asserts nothing about its answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from app.cli import main


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Ended:
    """`unirank` with these arguments: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["unirank", *map(str, arguments)])
    code: object = 0
    capsys.readouterr()
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    captured = capsys.readouterr()
    assert isinstance(code, int)
    return Ended(code, captured.out, captured.err)
