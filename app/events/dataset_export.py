"""The whole log as a dataset (or one file of its rows), made anew each time and put in place in one step.

`model.datasets` checks entities and assigns parts; joining is done in `joined.py`. Never touches what it did not write.
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
from app.events.joined import LabelJoin
from app.events.reading import Damage, Position, read

SOURCE = "unirank events export"
_KEYS = {"ranking_id", "entity_id", "position", "label"}


@dataclass
class DatasetExport:
    """What an export did. `set_aside`: rows that name entities which the catalogue does not have."""

    events: int = 0
    rows: int = 0
    unusable: int = 0
    set_aside: int = 0
    damages: list[Damage] = field(default_factory=list)


def export_lines(folder: Path, stream: IO[bytes]) -> DatasetExport:
    """Write the stored events of the whole log to `stream`, as they were sent."""
    done = DatasetExport()
    for found in read(folder, Position()):
        for one in found:
            if isinstance(one, Damage):
                done.damages.append(one)
            else:
                stream.write(one.payload + b"\n")
                done.events += 1
    stream.flush()
    return done


def export_rows(folder: Path, stream: IO[bytes], say: Callable[[str], None] = lambda _: None) -> DatasetExport:
    """Write the whole log to `stream` as rows of a dataset's `events.jsonl`."""
    done, join = DatasetExport(), LabelJoin()
    for found in read(folder, Position()):
        for one in found:
            if isinstance(one, Damage):
                done.damages.append(one)
            else:
                join.add(one.payload)
        say(f"{join.events:,} events")
    done.rows = _write_rows(stream, join.rows())
    done.events, done.unusable = join.events, join.unusable
    return done


def export_file(folder: Path, out: Path, say: Callable[[str], None] = lambda _: None) -> DatasetExport:
    """Write the rows to a file, which is replaced when all are on disk.

    Raises ValueError for a file that holds something else.
    """
    _refuse_other_file(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _replaced(out) as stream:
        return export_rows(folder, stream, say)


def export_folder(
    folder: Path, out: Path, entities: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> DatasetExport:
    """Write `out/events.jsonl` and `out/dataset.json`; with `entities`, a whole dataset with parts, ready to train on.

    `entities` is a dataset or its file of entities. Raises ValueError for a folder that holds something else, and for
    entities that cannot be used.
    """
    _refuse_other_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    if entities is not None:
        return _whole_dataset(folder, out, entities, say)
    with _replaced(out / "events.jsonl") as stream:
        done = export_rows(folder, stream, say)
    with _replaced(out / "dataset.json") as stream:
        about = {"name": out.resolve().name, "source": SOURCE, "counts": {"events": done.rows}}
        stream.write(json.dumps(about, indent=2, ensure_ascii=False).encode() + b"\n")
    return done


def _whole_dataset(folder: Path, out: Path, entities: Path, say: Callable[[str], None]) -> DatasetExport:
    from model.datasets.dataset import Dataset, write_dataset
    from model.events.parts import assign_parts

    source = _entities_file(entities)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        draft = Path(name)
        shutil.copyfile(source, draft / f"entities{source.suffix}")
        _write_about(source, draft)
        with (draft / "events.jsonl").open("wb") as stream:
            done = export_rows(folder, stream, say)
        say("checking")
        checked = Dataset.load(draft, max_rejected=1.0)
        done.set_aside = sum(bad.file == "events.jsonl" for bad in checked.rejected)
        meta = {key: value for key, value in checked.about.items() if key != "counts"} | {"source": SOURCE}
        events = assign_parts(checked.events)
        write_dataset(out, out.resolve().name, checked.entities, events, meta, checked.rejected, checked.columns)
    return done


def _write_about(source: Path, draft: Path) -> None:
    """`dataset.json` makes the draft a dataset: that of the entities where they are of one, without its counts."""
    about = source.with_name("dataset.json")
    table = json.loads(about.read_text("utf-8")) if about.is_file() else {}
    kept = {key: value for key, value in table.items() if key != "counts"}
    (draft / "dataset.json").write_text(json.dumps(kept), encoding="utf-8")


def _entities_file(entities: Path) -> Path:
    found = [path for suffix in (".jsonl", ".parquet") if (path := entities / f"entities{suffix}").is_file()]
    source = found[0] if found else entities
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
def _replaced(out: Path) -> Iterator[IO[bytes]]:
    """A file beside `out` that takes its name when all of it is on disk; gone where that fails."""
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
