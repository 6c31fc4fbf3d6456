"""`unirank train` and `unirank evaluate`: call `model`, show progress and results."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands import terminal
from app.execution.torch_threads import one_thread

if TYPE_CHECKING:
    from model.config import Config


def train(
    dataset: Path, out: Path, tasks: str, seed: str | None, config: Path | None, resume: bool, parts: str, device: str
) -> None:
    """Call `train_dataset` with the options of the command line."""
    if parts not in ("train", "all"):
        raise ValueError(f"--parts: expected 'train' or 'all', got '{parts}'")
    from model.config import Config

    settings = Config.from_toml(config) if config else Config()
    settings = settings if seed is None else replace(settings, seed=_parse_integer(seed))
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if tasks and not names:
        raise ValueError(f"--tasks: expected names of tasks by comma, got '{tasks}'")
    _check_device(device)
    with terminal.resumable("stopped: the same command with --resume goes on from the last checkpoint"):
        train_dataset(dataset, out, settings, names or None, parts == "all", resume, device)


def _check_device(device: str) -> None:
    """Raise ValueError where torch cannot compute on a device."""
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device: '{device}' cannot be used here: {reason}") from error


def _parse_integer(text: str) -> Any:
    """The integer in `text`; other texts are returned unchanged, and the configuration rejects them."""
    try:
        return int(text)
    except ValueError:
        return text


def train_dataset(
    dataset: Path,
    out: Path,
    config: Config,
    tasks: Sequence[str] | None = None,
    every_part: bool = False,
    resume: bool = False,
    device: str = "cpu",
) -> None:
    """Train on a dataset folder and write a model folder, with progress on the terminal."""
    one_thread()
    from model.artefact.build import build
    from model.artefact.output_folder import check_writable
    from model.datasets.dataset import Dataset

    check_writable(out)
    with terminal.spinner("reading"):
        loaded = Dataset.load(dataset)
    with terminal.bar("preparing") as report:
        manifest = build(
            loaded, out, config, tasks, every_part, resume, lambda text: report(0, 0, text), report, device
        )
    terminal.out.print(f"model {manifest.version} in {out}", soft_wrap=True)


def evaluate(
    model: Path,
    dataset: Path,
    history: Path | None,
    json_file: Path | None,
    run: Path | None,
    qrels: Path | None,
    curve: str,
    device: str,
) -> None:
    """Evaluate a model folder on a dataset folder; print tables and, if requested, write JSON, run and qrels."""
    one_thread()
    from model.artefact.model import Artefact
    from model.datasets.atomic_writes import write_file_atomically
    from model.datasets.dataset import Dataset
    from model.evaluation.reports import evaluate_artefact

    _check_device(device)
    limits = _parse_limits(curve)
    for file in (json_file, run, qrels):
        if file is not None:
            try_file(file)
    with terminal.spinner("reading"):
        loaded, past = Dataset.load(dataset), Dataset.load(history) if history else None
        artefact = Artefact.load(model, device)
    with terminal.bar("ranking") as report:
        result = evaluate_artefact(artefact, loaded, past, report, run, qrels, limits)
    for entry in result.get("warnings", ()):
        terminal.warning(entry["detail"])
    if json_file is not None:
        write_file_atomically(json_file, json.dumps(result, indent=1).encode())
    for task, metrics in result["tasks"].items():
        show_task(task, metrics)


def _parse_limits(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 1_000_000 for part in parts):
        raise ValueError(f"--curve: expected numbers from 1 on by comma, got '{text}'")
    return [int(part) for part in parts]


def try_file(path: Path) -> None:
    """Raise OSError if the file cannot be written, before the work instead of after it."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, found a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def show_task(title: str, metrics: dict[str, Any]) -> None:
    """Print one table per task; nested protocols and slices follow as separate tables."""
    from rich.table import Table

    table = Table("metric", "value", "95 % interval", title=f"{title} ({metrics.get('rankings', 0):,} rankings)")
    for name, entry in metrics.items():
        if isinstance(entry, dict) and "value" in entry:
            table.add_row(name, f"{entry['value']:.4f}", f"{entry['low']:.4f} – {entry['high']:.4f}")
    terminal.out.print(table)
    if "catalogue" in metrics:
        show_task(f"{title}, whole catalogue", metrics["catalogue"])
    if "served" in metrics:
        show_task(f"{title}, {metrics['served']['proposals']} proposals as served", metrics["served"])
    for name, part in metrics.get("slices", {}).items():
        show_task(f"{title}, slice {name}", part)
