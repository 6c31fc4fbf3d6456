"""Batches come from a process of their own: the same to the last bit, without shared memory, and gone with the learner.

Whatever ends the one is known to the other: no process stays behind, and nobody waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_config import tiny_toml

from model.config import Config
from model.datasets.dataset import Dataset
from model.learning import batch_process, ranker_training
from model.learning.batch_process import BatchProcessError
from model.learning.ranker_training import TrainingResult, train
from model.learning.training_data import TrainingData, prepare

ROOT = Path(__file__).parents[3]
STEPS = 6
LONG = tiny_toml(steps=5000, evaluations=5000, validation_rankings=2)


@pytest.fixture(scope="module")
def short(world: Dataset, small_config: Config) -> TrainingData:
    """Ready for a run of a few steps."""
    few = replace(small_config.training, contexts_per_step=9, negatives=8, evaluations=2, validation_rankings=8)
    return prepare(world, replace(small_config, training=few))


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a few steps are worth a process."""
    monkeypatch.setattr(ranker_training, "WORTH_A_PROCESS", 1)


def children(parent: int) -> set[int]:
    """Processes that a process started and that are there."""
    return {int(child) for task in Path(f"/proc/{parent}/task").iterdir() for child in _started_by(task)}


def _started_by(task: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):  # a thread that has ended
        return (task / "children").read_text().split()
    return []


# ---- the same -----------------------------------------------------------------------------------------------


def test_weights_are_equal_to_the_last_bit(short: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    here = train(short, STEPS)
    monkeypatch.setattr(ranker_training, "WORTH_A_PROCESS", 1)
    before, helpers, shared = children(os.getpid()), set[int](), set[str]()

    def look(*_: object) -> None:
        helpers.update(children(os.getpid()) - before)
        shared.update(line for pid in helpers for line in _maps(pid) if "/dev/shm" in line)

    ahead = train(short, STEPS, report=look)
    assert_equal(here, ahead)
    assert len(helpers) == 1
    assert not shared
    assert children(os.getpid()) == before


def _maps(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/maps").read_text().splitlines()
    except (OSError, ProcessLookupError):  # it made its last batch and ended
        return []


def assert_equal(one: TrainingResult, two: TrainingResult) -> None:
    assert one.history == two.history
    assert one.calibration == two.calibration
    left, right = one.ranker.state_dict(), two.ranker.state_dict()
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


# ---- the process ends, stalls or fails ------------------------------------------------------------------------


def sends(what: signal.Signals) -> Callable[[int, int, str], None]:
    """A report that sends a signal to the process at the first step."""
    before = children(os.getpid())

    def report(step: int, of: int, note: str) -> None:
        if step == 1:
            for pid in children(os.getpid()) - before:
                os.kill(pid, what)

    return report


@pytest.mark.usefixtures("apart")
def test_a_process_that_is_killed_is_one_clear_error(short: TrainingData) -> None:
    before = children(os.getpid())
    with pytest.raises(BatchProcessError, match=r"ended before step \d+ \(signal 9, which may mean that memory ran"):
        train(short, 200, report=sends(signal.SIGKILL))
    assert children(os.getpid()) == before


@pytest.mark.usefixtures("apart")
def test_a_process_that_stalls_is_one_clear_error(short: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children(os.getpid())
    stop = sends(signal.SIGSTOP)

    def report(step: int, of: int, note: str) -> None:
        stop(step, of, note)
        monkeypatch.setattr(batch_process, "STALLED_S", 1)  # the start may take longer

    with pytest.raises(BatchProcessError, match="made none for 1 s"):
        train(short, 200, report=report)
    assert children(os.getpid()) == before


@pytest.mark.usefixtures("apart")
def test_an_error_in_the_process_is_told_in_words(short: TrainingData) -> None:
    broken = replace(short, rows={entity: row for entity, row in short.rows.items() if row})
    steps = ranker_training.StepBatches(short, short.rankings)
    steps.data = broken
    with (
        pytest.raises(BatchProcessError, match="making the batches of step 1: KeyError") as caught,
        batch_process.batches_ahead(steps, 0, 3) as batches,
    ):
        list(batches)
    assert "Traceback" in caught.value.__notes__[0]


# ---- the learner ends ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learners(world_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, tuple[Path, Learner]]]:
    """A `unirank train` that has written a checkpoint, for each signal."""
    started = {}
    for sent in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        folder = tmp_path_factory.mktemp(sent.name)
        (folder / "long.toml").write_text(LONG)
        command = ["-m", "app.cli", "train", world_path, "--out", folder / "model", "--config", folder / "long.toml"]
        started[int(sent)] = (folder, _started([sys.executable, *map(str, command)]))
    for _, learner in started.values():
        _wait_for_a_checkpoint(learner)
    yield started
    for _, learner in started.values():
        learner.kill()
        learner.communicate()


Learner = subprocess.Popen[str]


def _started(command: list[str]) -> Learner:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _wait_for_a_checkpoint(learner: Learner) -> None:
    assert learner.stderr is not None
    seen = []
    for line in learner.stderr:
        seen.append(line)
        if line.startswith("step 2:"):
            return
    pytest.fail("".join(seen))


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=lambda value: str(value)
)
def test_a_learner_that_is_ended_takes_its_process_along(
    learners: dict[int, tuple[Path, Learner]], sent: signal.Signals, code: int
) -> None:
    folder, learner = learners[int(sent)]
    started = children(learner.pid)
    assert len(started) == 1
    learner.send_signal(sent)
    out, err = learner.communicate(timeout=20)  # returns once nobody holds the pipes
    assert learner.returncode == code
    assert "Traceback" not in out + err
    assert not any(Path(f"/proc/{pid}/maps").exists() and _maps(pid) for pid in started)
    assert (folder / ".model.training" / "training.safetensors").is_file()
    if sent != signal.SIGKILL:
        assert "--resume" in err.splitlines()[-1]
