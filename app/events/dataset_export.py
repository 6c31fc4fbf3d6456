"""Exports the whole log as a dataset, or as one file of its rows; each export replaces the previous one atomically.

`model.datasets` checks entities and assigns parts; `label_join.py` joins labels. Overwrites only its own files.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from app.events.export import CURSOR
from app.events.label_join import LabelJoin
from app.events.reading import Damage, Position, read

SOURCE = "unirank events export"
_KEYS = {"ranking_id", "entity_id", "position", "label"}


@dataclass
class DatasetExport:
    """The result of an export. `set_aside`: rows that name entities which are not in the catalogue."""

    events: int = 0
    rows: int = 0
    unusable: int = 0
    set_aside: int = 0
    damages: list[Damage] = field(default_factory=list)


def export_lines(folder: Path, stream: IO[bytes]) -> DatasetExport:
    """Write the stored events of the whole log to `stream`, as they were sent."""
    result = DatasetExport()
    for segment in read(folder, Position()):
        for entry in segment:
            if isinstance(entry, Damage):
                result.damages.append(entry)
            else:
                stream.write(entry.payload + b"\n")
                result.events += 1
    stream.flush()
    return result


def export_rows(folder: Path, stream: IO[bytes], say: Callable[[str], None] = lambda _: None) -> DatasetExport:
    """Write the whole log to `stream` as rows of a dataset's `events.jsonl`."""
    result, join = DatasetExport(), LabelJoin()
    for segment in read(folder, Position()):
        for entry in segment:
            if isinstance(entry, Damage):
                result.damages.append(entry)
            else:
                join.add(entry.payload)
        say(f"{join.events:,} events")
    result.rows = _write_rows(stream, join.rows())
    result.events, result.unusable = join.events, join.unusable
    return result


def export_file(folder: Path, out: Path, say: Callable[[str], None] = lambda _: None) -> DatasetExport:
    """Write the rows to a file, which is replaced once all rows are on disk.

    Raises ValueError for a file that is not an export.
    """
    _refuse_other_file(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _replace_on_success(out) as stream:
        return export_rows(folder, stream, say)


def export_folder(
    folder: Path, out: Path, entities: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> DatasetExport:
    """Write `out/events.jsonl` and `out/dataset.json`; with `entities`, a complete dataset, ready to train on.

    `entities` is a dataset or its file of entities. Raises ValueError for a folder that is not an export, and for
    entities that cannot be used.
    """
    _refuse_other_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    if entities is not None:
        return _export_dataset(folder, out, entities, say)
    with _replace_on_success(out / "events.jsonl") as stream:
        result = export_rows(folder, stream, say)
    with _replace_on_success(out / "dataset.json") as stream:
        about = {"name": out.resolve().name, "source": SOURCE, "counts": {"events": result.rows}}
        stream.write(json.dumps(about, indent=2, ensure_ascii=False).encode() + b"\n")
    return result


def _export_dataset(folder: Path, out: Path, entities: Path, say: Callable[[str], None]) -> DatasetExport:
    from model.datasets.dataset import Dataset, write_dataset
    from model.datasets.importers.derivation import with_derived
    from model.events.derived import derived_counts
    from model.events.parts import assign_parts

    source = _entities_file(entities)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        draft = Path(name)
        shutil.copyfile(source, draft / f"entities{source.suffix}")
        _write_draft_metadata(source, draft)
        with (draft / "events.jsonl").open("wb") as stream:
            result = export_rows(folder, stream, say)
        say("checking")
        checked = Dataset.load(draft, max_rejected=1.0)
        result.set_aside = sum(bad.file == "events.jsonl" for bad in checked.rejected)
        meta = {k: v for k, v in checked.about.items() if k not in ("counts", "derived")} | {"source": SOURCE}
        events = with_derived(assign_parts(checked.events), checked.entities, checked.columns)
        if derived := derived_counts(events):
            meta["derived"] = derived
        write_dataset(out, out.resolve().name, checked.entities, events, meta, checked.rejected, checked.columns)
    return result


def _write_draft_metadata(source: Path, draft: Path) -> None:
    """Write the `dataset.json` that makes the draft a dataset: that of the entities, if any, without counts."""
    about = source.with_name("dataset.json")
    table = json.loads(about.read_text("utf-8")) if about.is_file() else {}
    kept = {key: value for key, value in table.items() if key != "counts"}
    (draft / "dataset.json").write_text(json.dumps(kept), encoding="utf-8")


def _entities_file(entities: Path) -> Path:
    files = [path for suffix in (".jsonl", ".parquet") if (path := entities / f"entities{suffix}").is_file()]
    source = files[0] if files else entities
    if not source.is_file():
        raise ValueError(f"{entities}: expected a dataset or its file of entities")
    if source.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{entities}: expected entities as .jsonl or .parquet; make them with 'unirank data import'")
    return source


def _write_rows(stream: IO[bytes], rows: Iterable[dict[str, Any]]) -> int:
    encode, count = msgspec.json.Encoder().encode, 0
    for row in rows:
        stream.write(encode(row) + b"\n")
        count += 1
    stream.flush()
    return count


@contextmanager
def _replace_on_success(out: Path) -> Iterator[IO[bytes]]:
    """A temporary file that replaces `out` once it is completely on disk; removed if that fails."""
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(out)
    finally:
        new.unlink(missing_ok=True)


def _refuse_other_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: expected a folder, or a file whose name ends in .jsonl")
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        about = msgspec.json.decode((out / "dataset.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        about = {}
    if about.get("source") != SOURCE:
        raise ValueError(f"{out}: holds something that no export wrote; name another folder")


def _refuse_other_file(out: Path) -> None:
    if out.with_name(out.name + CURSOR).exists():
        raise ValueError(f"{out}: an export with --raw wrote it; add --raw, or name another file")
    if not out.exists() or out.stat().st_size == 0:
        return
    with out.open("rb") as stream:
        first = stream.readline()
    try:
        row = msgspec.json.decode(first, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        row = {}
    if not row.keys() >= _KEYS:
        raise ValueError(f"{out}: not a file that an export wrote; name another one")
