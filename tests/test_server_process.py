"""The server as processes: several workers, a port for the operator, a worker that dies, a drain at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from server_process import free_port, served, status, wait_for

from app.access.keys import new_key, write_keys
from app.access.scopes import Scope


def workers_of(process: subprocess.Popen[bytes]) -> set[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_workers_share_both_ports_and_one_that_dies_is_replaced(model_path: Path, tmp_path: Path) -> None:
    secret, key = new_key("operator", [Scope.ADMIN, Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    admin, log = free_port(), tmp_path / "log"
    settings = {"workers": 2, "admin_port": admin, "api_keys_file": tmp_path / "keys.toml", "state_dir": tmp_path}
    with served(model_path, log, **settings) as (process, url):
        operator = {"x-api-key": secret}
        assert status(f"{url}/metrics", headers=operator) == 404
        assert status(f"http://127.0.0.1:{admin}/metrics") == 401
        assert status(f"http://127.0.0.1:{admin}/metrics", headers=operator) == 200
        first = workers_of(process)
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        answers: list[int] = []

        def asked_until_repaired() -> bool:
            answers.extend(status(f"{url}/v1/search?q=a", headers=operator) for _ in range(10))
            return log.read_text().count("is live with") >= 3

        wait_for(asked_until_repaired)
        assert asked_until_repaired()
        assert set(answers) == {200}
        assert len(workers_of(process) - first) == 1
    assert process.returncode == 0
    assert secret not in log.read_text()
    assert not re.search(r"Traceback|q=a", log.read_text()), log.read_text()
