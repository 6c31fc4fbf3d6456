"""At its end a service reports `/readyz` 503 in every worker before it stops listening, and still answers requests
meanwhile; Ctrl-C ends it at once.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from server_process import PATIENCE_S, served, status, wait_for

LONG_MS = 10_000 * int(PATIENCE_S)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_sigterm_readyz_is_503_while_requests_are_answered(
    model_path: Path, tmp_path: Path, workers: int
) -> None:
    settings = {"workers": workers, "state_dir": tmp_path, "drain_notice_ms": LONG_MS}
    with served(model_path, tmp_path / "log", **settings) as (process, url):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: status(f"{url}/readyz", timeout=60) != 200)
        for _ in range(4 * workers):  # a connection each, so that each worker is asked
            assert status(f"{url}/readyz", timeout=60) == 503
            assert status(f"{url}/v1/search?q=a", timeout=60) == 200
        assert status(f"{url}/livez", timeout=60) == 200
        for pid in [*map(int, children), process.pid]:  # as a terminal does at Ctrl-C
            os.kill(pid, signal.SIGINT)
        process.wait(PATIENCE_S)  # far less than the notice


def test_after_the_notice_the_service_drains_and_ends_well(model_path: Path, tmp_path: Path) -> None:
    with served(model_path, tmp_path / "log", state_dir=tmp_path, drain_notice_ms=300) as (process, _):
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert time.monotonic() - began >= 0.3
    assert "Traceback" not in (tmp_path / "log").read_text()
