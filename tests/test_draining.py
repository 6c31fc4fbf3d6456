"""The end of a service: `/readyz` says so a moment before the listener closes, in every worker, while requests are
still answered; Ctrl-C does not wait.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from server_process import PATIENCE_S, served, status, wait_for


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_is_told_before_new_connections_end(model_path: Path, tmp_path: Path, workers: int) -> None:
    settings = {"workers": workers, "state_dir": tmp_path, "drain_notice_ms": 3_000}
    with served(model_path, tmp_path / "log", **settings) as (process, url):
        process.send_signal(signal.SIGTERM)
        ready: list[int] = []

        def told() -> bool:
            ready.append(status(f"{url}/readyz"))
            return ready[-1] != 200

        wait_for(told)
        for _ in range(4 * workers):  # a connection each, so that each worker is asked
            assert status(f"{url}/readyz") == 503
            assert status(f"{url}/v1/search?q=a") == 200
        assert status(f"{url}/livez") == 200
        assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_ctrl_c_ends_at_once_also_during_the_notice(model_path: Path, tmp_path: Path) -> None:
    settings = {"state_dir": tmp_path, "drain_notice_ms": 1_000 * int(PATIENCE_S) * 2}
    with served(model_path, tmp_path / "log", **settings) as (process, url):
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: status(f"{url}/readyz") == 503)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
