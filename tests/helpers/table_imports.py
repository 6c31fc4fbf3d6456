"""Imports a table that a test wrote beside a plain second one, and reads what was set aside. Tests nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from model.datasets.dataset import Dataset
from model.datasets.importers.table_batches import ReadOptions
from model.datasets.importers.tables import import_tables

ITEMS = "entity_id,display_name\n1,Lamp\n2,Chair\n3,Rug\n"
CLICKS = "entity_id,user_id\n1,ann\n2,bob\n"
SECOND = 1_700_000_000
DAY = 86_400_000

Import = Callable[..., Dataset]


def importer(tmp_path: Path) -> Import:
    """What imports texts, bytes or files into a folder; all that was warned of goes to `warned`."""

    def run(
        events: str | bytes | Path = CLICKS, entities: str | bytes | Path = ITEMS, suffix: str = ".csv",
        warned: list[str] | None = None, limit: float = 0.0, mapping: dict[str, str] | None = None,
        derive: bool = False, **options: object,
    ) -> Dataset:  # fmt: skip
        files = []
        for stem, content, end in (("items", entities, ".csv"), ("clicks", events, suffix)):
            file = content if isinstance(content, Path) else tmp_path / f"{stem}{end}"
            if not isinstance(content, Path):
                file.write_bytes(content.encode() if isinstance(content, str) else content)
            files.append(file)
        told = [] if warned is None else warned
        import_tables(
            tmp_path / "out",
            *files,
            mapping or {},
            limit,
            options=ReadOptions(**options),
            warn=told.append,
            derive=derive,
        )
        return Dataset.load(tmp_path / "out", max_rejected=0)

    return run


def rejected(dataset: Dataset) -> list[tuple[str, int, str]]:
    """File, line and reason of each row that was set aside."""
    rows = [json.loads(line) for line in (dataset.path / "rejected.jsonl").read_text().splitlines()]
    return [(row["file"], row["line"], row["reason"]) for row in rows]
