"""`make chaos`: every fault in turn on a model of your own or a small one made for it; a table and a JSON file."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos import callers, event_damage, others
from chaos.deadlines import deadline_row
from chaos.redis_faults import redis_rows
from chaos.rows import Row
from chaos.slow_copy import slow_copy_row

out = Console()


async def rows_of(model: Path, work: Path, seconds: float, soak_minutes: float) -> AsyncIterator[Row]:
    """All rows, the quick ones first."""
    async for row in redis_rows(model, work, seconds):
        yield row
    yield await deadline_row(model, work, max(3, int(seconds)))
    yield await others.swap_row(model, work, max(seconds, 60.0))
    yield await others.bad_model_row(model, work, seconds)
    yield await slow_copy_row(model, work, seconds)
    yield await others.overload_row(model, work, seconds)
    yield await others.hostile_row(model, work, 20_000)
    yield await callers.stall_row(model, work, seconds)
    yield await callers.half_read_row(model, work, 1_000)
    yield await others.kill_row(work, 100)
    yield await event_damage.bit_flip_row(work, 200)
    yield await event_damage.full_disk_row(work)
    yield await others.drain_row(model, work)
    yield await others.soak_row(model, work, soak_minutes)


def small_model(folder: Path) -> Path:
    """A model of a simulated catalogue, trained for a few steps."""
    from dataclasses import replace

    from model.artefact.build import build
    from model.config import Config
    from model.datasets.dataset import Dataset
    from model.datasets.simulation import simulate

    out.print("training a small model of a simulated catalogue")
    simulate(folder / "world", seed=0)
    config = Config()
    short = replace(config.training, steps=60, evaluations=1, validation_rankings=20)
    build(Dataset.load(folder / "world"), folder / "model", replace(config, training=short))
    return folder / "model"


async def main(arguments: argparse.Namespace) -> int:
    """Run all rows, show each as it ends, write the report; 1 where a promise was broken."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model = arguments.model or small_model(work)
        async for row in rows_of(model, work, arguments.seconds, arguments.soak_minutes):
            rows.append(row)
            broken = [name for name, kept in row.promises.items() if not kept]
            out.print(f"{'kept  ' if row.kept else 'BROKEN'} {row.fault}: {row.note} {broken or ''}", highlight=False)
    show(rows)
    arguments.out.write_text(json.dumps([row.to_json() for row in rows], indent=1), "utf-8")
    out.print(f"report in {arguments.out}")
    return 0 if all(row.kept for row in rows) else 1


def show(rows: list[Row]) -> None:
    """The table."""
    table = Table("fault", "sent", "failed", "before", "during", "after", "lost", "", title="p50 / p99 in ms")
    for row in rows:
        phases = [f"{p.quantile_ms(0.5):.1f} / {p.quantile_ms(0.99):.1f}" if p.seconds else "" for p in
                  (row.before, row.during, row.after)]  # fmt: skip
        failed = str(row.failed.total()) if row.failed else "0"
        table.add_row(row.fault, str(row.sent), failed, *phases, row.lost, "" if row.kept else "[red]broken[/]")
    out.print(table)


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--model", type=Path, help="a model folder; without it a small one is trained")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each phase of a fault")
    parser.add_argument("--soak-minutes", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path("chaos.json"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
